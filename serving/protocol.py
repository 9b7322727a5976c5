"""uvicorn's HTTP protocol as both servers need it: HTTP/1.1 alone, and no line of the log for what strangers send.

Some clients (Java's `HttpClient` among them) ask in the head of their first request to go on in another protocol, as
`Upgrade: h2c`. A server may ignore that, but the parser takes the bytes behind such a head for the other protocol's, so
the body would be lost. Here the head is parsed once more without the wish.
"""

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_MALFORMED = "Invalid HTTP request received."
_NO_TUNNELS = "CONNECT is not supported."


class PlainProtocol(HttpToolsProtocol):
    """Answers over HTTP/1.1 whatever protocol a request wishes for."""

    parser: httptools.HttpRequestParser

    def data_received(self, data: bytes) -> None:
        """Parse what came.

        Args:
            data: Next bytes of the connection.
        """
        self._unset_keepalive_if_required()
        rest = memoryview(data)
        try:
            while True:
                try:
                    self.parser.feed_data(rest)
                except httptools.HttpParserUpgrade as upgrade:
                    rest = rest[upgrade.args[0] :]
                    if not self._begin_again():
                        return
                else:
                    return
        except httptools.HttpParserError:
            self.send_400_response(_MALFORMED)  # uvicorn would log a warning for each

    def on_headers_complete(self) -> None:
        """Begin the request, unless it comes again without its wish."""
        if not self.parser.should_upgrade():
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        """End the request, unless it comes again without its wish."""
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def _begin_again(self) -> bool:
        """Parse the head that was just read once more, without its wish; False for a tunnel, which is refused."""
        method = self.parser.get_method()
        if method == b"CONNECT":
            self.send_400_response(_NO_TUNNELS)
            return False
        lines = [b"%b %b HTTP/%b" % (method, self.url, self.parser.get_http_version().encode())]
        lines += [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.feed_data(b"\r\n".join([*lines, b"", b""]))
        return True
