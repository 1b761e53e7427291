"""HTTP/1.1 and nothing else: uvicorn's protocol with limits, deaf to offers of another one.

Limits: whoever connects has shown no key yet, and uvicorn would keep a head of any size and wait
for its end for ever. What the application never sees (heads, trailers, chunk extensions) ends
after MAX_SILENT bytes, and a head is awaited for HEAD_S seconds.

Offers: a client may offer to go on in another protocol (`Upgrade: h2c`, as the HttpClient of the
JDK does with every first request), and a server may ignore that (RFC 9110, 7.8). llhttp never
does: it ends such a request after its head, and takes the body for the beginning of the other
protocol.
"""

from __future__ import annotations

import asyncio
import json

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from backend.app.errors import Dialect, GatewayError, HeadTooLarge, InvalidRequest, render

MAX_SILENT = 64 << 10
"""Bytes that may come without a piece of a body, or the end of a head, among them."""
HEAD_S = 75.0
"""From connecting, or from the first byte after an answer, to the end of a head."""

_OFFER = frozenset({b"upgrade", b"http2-settings"})


class Http1Protocol(HttpToolsProtocol):
    """A request that offers an upgrade is parsed once more, without the offer."""

    _offer: bytes | None = None
    """The head of such a request, without the offer, until its end is reached."""
    _silent = 0
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._head_came()

    def on_headers_complete(self) -> None:
        self._silent = 0
        self._head_came()
        if self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT":
            self._offer = self._head()
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._silent = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._silent = 0
        if self._offer is None:
            super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        self._silent += len(data)
        if self._head_timer is None and (self.cycle is None or self.cycle.response_complete):
            self._await_head()
        while data:  # not by recursion: there may be thousands in one piece
            data = self._feed(data)
        if self._silent > MAX_SILENT and not self.transport.is_closing():
            self._refuse(HeadTooLarge(f"The head is larger than {MAX_SILENT} bytes."))

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
            self._refuse(InvalidRequest("This is no valid HTTP/1.1."))
        return b""

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_S, self.transport.close)

    def _head_came(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, error: GatewayError) -> None:
        """Answer what is no request, and close."""
        self.logger.warning("%s refused: %s", self.client and self.client[0], error.message)
        body = json.dumps(render(error, Dialect.OPENAI)).encode()
        fields = [
            *self.server_state.default_headers,
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
        ]
        lines = b"".join(b"%b: %b\r\n" % field for field in fields)
        self.transport.write(STATUS_LINE[error.status] + lines + b"\r\n" + body)
        self.transport.close()

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
