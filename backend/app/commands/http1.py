"""HTTP/1.1 and nothing else: uvicorn's protocol, deaf to offers of another one.

A client may offer to go on in another protocol (`Upgrade: h2c`, as the HttpClient of the JDK does
with every first request), and a server may ignore that (RFC 9110, 7.8). llhttp never does: it
ends such a request after its head, and takes the body for the beginning of the other protocol.
"""

from __future__ import annotations

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_OFFER = frozenset({b"upgrade", b"http2-settings"})


class Http1Protocol(HttpToolsProtocol):
    """A request that offers an upgrade is parsed once more, without the offer."""

    _offer: bytes | None = None
    """The head of such a request, without the offer, until its end is reached."""

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT":
            self._offer = self._head()
        else:
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        if self._offer is None:
            super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        while data:  # not by recursion: there may be thousands in one piece
            data = self._feed(data)

    def _feed(self, data: bytes) -> bytes:
        """What is to be parsed next: nothing, or the rest that begins with a head of ours."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as exc:
            head, self._offer = self._offer, None
            if head is not None:  # else CONNECT, which the application has seen
                # a new one: the old one may regard the connection as closed
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
                return head + data[exc.args[0] :]
        except httptools.HttpParserError:
            self.logger.warning("Invalid HTTP request received.")
            self.send_400_response("Invalid HTTP request received.")
        return b""

    def _head(self) -> bytes:
        version = self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, version)]
        for name, value in self.headers:
            if name == b"connection":
                options = (option.strip() for option in value.split(b","))
                kept = [each for each in options if each.lower() not in _OFFER]
                lines += [b"connection: %b" % option for option in kept]
            elif name not in _OFFER:
                lines.append(b"%b: %b" % (name, value))
        return b"\r\n".join([*lines, b"", b""])
