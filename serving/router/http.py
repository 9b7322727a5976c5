"""Replies and refusals of the router, as plain values."""

from typing import NamedTuple, TypeAlias

import orjson

from trimtab.errors import TrimtabError

Headers: TypeAlias = list[tuple[bytes, bytes]]
JSON = (b"content-type", b"application/json")
RETRY_SECONDS = 1  # what a caller is told to wait when nobody could answer


class Reply(NamedTuple):
    """What a caller is sent.

    Attributes:
        status: HTTP status.
        headers: Without content-length, which follows from the body.
        body: The body.
    """

    status: int
    headers: Headers
    body: bytes


class Refused(TrimtabError):
    """A refusal with an HTTP status of its own.

    Args:
        status: HTTP status.
        message: The reason.
        remedy: What the caller can do.
    """

    def __init__(self, status: int, message: str, *, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.http_status = status

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Refused, (self.http_status, self.message)


def reply_json(body: object, *, status: int = 200) -> Reply:
    """A JSON reply.

    Args:
        body: What `orjson` can write.
        status: HTTP status.
    """
    return Reply(status, _headers(status), orjson.dumps(body, option=orjson.OPT_NON_STR_KEYS))


def reply_error(error: TrimtabError) -> Reply:
    """The one table of errors to HTTP: each error carries its status; the reason is the body."""
    headers = _headers(error.http_status)
    if error.http_status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    return Reply(error.http_status, headers, orjson.dumps({"error": str(error)}))


def _headers(status: int) -> Headers:
    return [JSON, (b"retry-after", str(RETRY_SECONDS).encode())] if status in {503, 504} else [JSON]


def header(headers: Headers, name: bytes) -> bytes:
    """Value of a header; empty where it is absent. Names are in lower case, as ASGI has them."""
    for key, value in headers:
        if key == name:
            return value
    return b""
