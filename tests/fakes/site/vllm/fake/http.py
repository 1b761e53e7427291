"""Just enough HTTP/1.1 on httptools: keep-alive, chunked answers, disconnects, back-pressure."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

import httptools


@dataclass
class Request:
    method: str = ""
    path: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


Handler = Callable[[Request, "Connection"], Awaitable[None]]


class Connection(asyncio.Protocol):
    """One client. Requests are handled in turn; a disconnect cancels the one being handled."""

    def __init__(self, handler: Handler, live: set[Connection]) -> None:
        self._handler = handler
        self._live = live
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: deque[Request] = deque()
        self._task: asyncio.Task[None] | None = None
        self.closed = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        self._live.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._live.discard(self)
        self.closed.set()
        self._waiting.clear()
        if self._task:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.transport.close()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # httptools

    def on_message_begin(self) -> None:
        self._request = Request()
        self._url = b""
        self._body: list[bytes] = []

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._request.headers[name.decode().lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._request.method = self._parser.get_method().decode()
        self._request.path = self._url.decode().partition("?")[0]
        if self._request.headers.get("expect") == "100-continue":
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        self._request.body = b"".join(self._body)
        self._waiting.append(self._request)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._serve())

    async def _serve(self) -> None:
        try:
            while self._waiting:
                await self._handler(self._waiting.popleft(), self)
        finally:
            self._task = None

    # answers

    def _head(self, status: int, content_type: str | None, framing: str) -> bytes:
        kind = f"content-type: {content_type}\r\n" if content_type else ""
        return (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
            f"date: {formatdate(usegmt=True)}\r\nserver: uvicorn\r\n{kind}{framing}\r\n\r\n"
        ).encode()

    def send(self, status: int, body: bytes = b"", content_type: str | None = None) -> None:
        head = self._head(status, content_type, f"content-length: {len(body)}")
        self.transport.write(head + body)

    def send_json(self, status: int, value: Any) -> None:
        self.send(status, json.dumps(value, separators=(",", ":")).encode(), "application/json")

    def begin_stream(self) -> None:
        kind = "text/event-stream; charset=utf-8"
        self.transport.write(self._head(200, kind, "transfer-encoding: chunked"))

    async def chunk(self, data: bytes) -> None:
        """One HTTP chunk in one write; waits while the reader is slow."""
        await self._writable.wait()
        self.transport.write(b"%x\r\n%b\r\n" % (len(data), data))

    def end_stream(self) -> None:
        self.transport.write(b"0\r\n\r\n")

    def close(self) -> None:
        self.transport.close()
