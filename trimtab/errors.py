"""The one error root, and a subclass only where some caller acts differently.

| class | who acts on it | CLI exit code | HTTP status |
|---|---|---|---|
| `BadInput` | the user mends a file, a spec or an argument | 2 | 400 |
| `NotFound` | the caller names something that exists | 2 | 404 |
| `Unavailable` | the operator: a service cannot be reached; try again | 3 | 503 |
| `TrimtabError` | anything else that stops a command | 1 | 500 |
"""


class TrimtabError(Exception):
    """Anything that Trimtab raises on purpose.

    Args:
        message: What went wrong and where: the file, column, argument or service by name.
        remedy: What the reader can do about it, as one sentence.
    """

    exit_code = 1
    http_status = 500

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        """Keep the remedy when the error crosses a process border."""
        return _rebuild, (type(self), self.message, self.remedy)

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".strip()


class BadInput(TrimtabError):
    """The input is wrong; the same call will fail again until somebody mends it."""

    exit_code = 2
    http_status = 400


class NotFound(BadInput):
    """A named thing (model, version, alias, snapshot, run) does not exist."""

    http_status = 404


class Unavailable(TrimtabError):
    """A backing service did not answer; the same call may succeed later."""

    exit_code = 3
    http_status = 503


def _rebuild(kind: type[TrimtabError], message: str, remedy: str) -> TrimtabError:
    return kind(message, remedy=remedy)
