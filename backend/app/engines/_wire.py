"""HTTP/1.1 without I/O: how a request's head is written, and how an answer is read."""

from __future__ import annotations

from collections.abc import Iterable

import httptools

from backend.app.engines.launcher import Address
from backend.app.errors import EngineError

MAX_HEAD = 64 << 10
"""Longest header section of an answer, interim answers and trailers included, in bytes."""

HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)
_OURS = HOP_BY_HOP | {b"host", b"content-length", b"expect", b"authorization"}
"""Request headers that this side writes itself; a caller's key is for the gateway only."""


def request_head(
    method: str,
    target: str,
    headers: Iterable[tuple[bytes, bytes]],
    address: Address,
    length: int | None,
) -> bytes:
    """The request line and headers. `length` in bytes; None: the body comes in chunks.

    Raises ValueError for a target or header that would break out of its line.
    """
    if not (method.isalpha() and target.isascii() and target.isprintable() and " " not in target):
        raise ValueError(f"not a request line: {method!r} {target!r}")
    host = "engine" if address.socket else str(address)
    lines = [f"{method} {target} HTTP/1.1\r\nhost: {host}".encode()]
    if address.token is not None:
        lines.append(b"authorization: Bearer " + address.token.encode())
    if length is None:
        lines.append(b"transfer-encoding: chunked")
    elif length or method not in {"GET", "HEAD"}:
        lines.append(b"content-length: %d" % length)
    for name, value in headers:
        if name.lower() not in _OURS:
            line = name + b": " + value
            if b"\n" in line or b"\r" in line:
                raise ValueError(f"not a header: {line!r}")
            lines.append(line)
    lines.append(b"\r\n")
    return b"\r\n".join(lines)


class Answer:
    """One answer, from whatever pieces its bytes arrive in."""

    def __init__(self, *, head_only: bool) -> None:
        """`head_only`: the request was a HEAD, whose answer describes a body but has none."""
        self.status = 0
        """0 until the head is complete. Interim (1xx) answers are skipped."""
        self.headers: list[tuple[bytes, bytes]] = []
        """Lower-cased names, without what concerns the connection only."""
        self.untouched = True
        """Not one byte has come yet."""
        self.complete = False
        self.keep_alive = False
        self.unread = 0
        self._body: list[bytes] = []
        self._head_only = head_only
        self._head_bytes = 0
        self._silent_bytes = 0
        self._until_close = True
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        """Raises EngineError when this cannot be an answer, or goes on after its end."""
        self.untouched = False
        unread = self.unread
        try:
            if self.complete:
                raise ValueError("bytes after the end")
            self._parser.feed_data(data)
        except (ValueError, httptools.HttpParserError, httptools.HttpParserUpgrade) as exc:
            self.keep_alive = False
            raise EngineError("The engine's answer is not valid HTTP.") from exc
        if self.unread > unread:
            self._silent_bytes = 0
            return
        # Names and values, of trailers too, collect in the parser, which knows no limit.
        self._silent_bytes += len(data)
        if self._silent_bytes > MAX_HEAD and not self.complete:
            raise EngineError("The header section of the engine's answer has no end.")

    def feed_eof(self) -> None:
        """The engine closed the connection in an orderly way, which may be the end it meant."""
        self.keep_alive = False
        if self.status and self._until_close:
            self.complete = True

    def take(self) -> bytes:
        """All of the body that has arrived and was not taken yet."""
        body = self._body
        data = body[0] if len(body) == 1 else b"".join(body)
        body.clear()
        self.unread = 0
        return data

    def release(self) -> None:
        """Nothing more will be fed. Breaks the reference cycle with the parser."""
        self._parser = None

    # called by the parser

    def on_message_begin(self) -> None:
        if self.complete:
            raise ValueError("a second answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value) + 4
        if self._head_bytes > MAX_HEAD:
            raise ValueError("header section too large")
        if not self.status:  # else it is a trailer
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        status: int = self._parser.get_status_code()
        if status < 200:
            self.headers.clear()
            return
        drop = HOP_BY_HOP
        for name, value in self.headers:
            if name == b"content-length":
                self._until_close = False
            elif name == b"transfer-encoding":
                self._until_close = not value.lower().endswith(b"chunked")
            elif name == b"connection":
                drop = drop.union(token.strip() for token in value.lower().split(b","))
        self.headers = [header for header in self.headers if header[0] not in drop]
        self.status = status
        # The parser cannot know of HEAD: it waits for the body, so it is not asked any further.
        self.complete = self._head_only

    def on_body(self, data: bytes) -> None:
        if not self.complete:
            self._body.append(data)
            self.unread += len(data)

    def on_message_complete(self) -> None:
        if self.status and not self.complete:
            self.keep_alive = bool(self._parser.should_keep_alive())
            self.complete = True
