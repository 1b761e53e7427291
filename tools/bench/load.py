"""The load generator: raw asyncio protocols on uvloop, as cheap as Python allows."""

from __future__ import annotations

import asyncio
import json
import random
import re
import struct
import time
from base64 import b64encode
from dataclasses import dataclass
from zlib import compress, crc32

import uvloop

TAIL = 1024
"""Bytes kept of a stream: enough for its usage and its end."""
PROMPTS, IMAGE_PROMPTS = 16, 4
_TOKENS = re.compile(rb'"completion_tokens":\s?(\d+)')
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class LoadError(Exception):
    """An answer was not what was asked for; the message holds its beginning or its end."""


@dataclass(frozen=True)
class Target:
    """Where load goes: sockets taken in turn, or a port of this machine."""

    sockets: tuple[str, ...] = ()
    port: int = 0


@dataclass(frozen=True)
class Sample:
    """One round. Times in seconds."""

    seconds: float
    requests: int
    tokens: int
    events: int
    ttft: tuple[float, ...]
    total: tuple[float, ...]


def _png(size: int) -> bytes:
    """A valid picture of noise of about `size` bytes."""
    side = int((size / 3) ** 0.5)
    noise = random.Random(1)
    rows = b"".join(b"\0" + noise.randbytes(side * 3) for _ in range(side))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", compress(rows, 0)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@dataclass(frozen=True)
class Load:
    """Requests, sent in turn, each answered by exactly `tokens` tokens."""

    tokens: int
    bodies: tuple[bytes, ...]
    spread_s: float = 0
    """The first requests of a round come evenly over so many seconds; 0: all at once."""


def chats(tokens: int, *, image_bytes: int = 0, spread_s: float = 0) -> Load:
    """Streamed chats of `tokens` tokens that differ from their first word on.

    `image_bytes`: about the size of the PNG that each carries as a `data:` URL.
    """
    fields = {"model": "qwen", "max_tokens": tokens, "ignore_eos": True, "temperature": 0}
    stream = {"stream": True, "stream_options": {"include_usage": True}}
    images = []
    if image_bytes:
        url = "data:image/png;base64," + b64encode(_png(image_bytes)).decode()
        images = [{"type": "image_url", "image_url": {"url": url}}]
    found = []
    for number in range(IMAGE_PROMPTS if images else PROMPTS):
        text = f"{number}: tell me a story about a server."
        content = [{"type": "text", "text": text}, *images] if images else text
        messages = [{"role": "user", "content": content}]
        found.append(json.dumps({**fields, **stream, "messages": messages}).encode())
    return Load(tokens, tuple(found), spread_s)


class _Client(asyncio.Protocol):
    """One keep-alive connection with one request at a time."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._done: asyncio.Future[None] | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(f"connection lost: {exc}")

    async def ask(self, body: bytes) -> None:
        """Sets `ttft`, `total`, `events` and `tokens` of this answer. Raises LoadError."""
        self._head, self._tail, self._left = b"", b"", -1
        self.events, self.tokens, self.ttft = 0, 0, 0.0
        self._done = asyncio.get_running_loop().create_future()
        head = b"host: bench\r\ncontent-type: application/json\r\ncontent-length: %d" % len(body)
        self._start = time.perf_counter()
        self._transport.write(b"POST /v1/chat/completions HTTP/1.1\r\n%b\r\n\r\n%b" % (head, body))
        await self._done

    def close(self) -> None:
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        if not self._head.endswith(b"\r\n\r\n"):
            head, end, data = (self._head + data).partition(b"\r\n\r\n")
            self._head = head + end
            if not head.startswith(b"HTTP/1.1 200"):
                self._fail(f"{head!r} {data!r}")
                return
            if found := _LENGTH.search(head):
                self._left = int(found[1])
        if self._left >= 0:
            self._left -= len(data)
        else:
            self.events += (self._tail[-1:] + data).count(b"\n\n")
            if self.events and not self.ttft:
                self.ttft = time.perf_counter() - self._start
        self._tail = (self._tail + data)[-TAIL:]
        if self._left == 0 or (self._left < 0 and self._tail.endswith(b"\r\n0\r\n\r\n")):
            self._finish()

    def _finish(self) -> None:
        self.total = time.perf_counter() - self._start
        self.ttft = self.ttft or self.total
        counted = _TOKENS.search(self._tail)
        if not counted or (self._left < 0 and b"data: [DONE]\n\n" not in self._tail):
            self._fail(f"incomplete: …{self._tail!r}")
            return
        self.tokens = int(counted[1])
        if self._done and not self._done.done():
            self._done.set_result(None)

    def _fail(self, reason: str) -> None:
        if self._done and not self._done.done():
            self._done.set_exception(LoadError(reason[:2000]))


async def _connect(target: Target, number: int) -> _Client:
    loop = asyncio.get_running_loop()
    if target.sockets:
        path = target.sockets[number % len(target.sockets)]
        return (await loop.create_unix_connection(_Client, path))[1]
    return (await loop.create_connection(_Client, "127.0.0.1", target.port))[1]


async def _measure(target: Target, load: Load, concurrency: int, count: int) -> Sample:
    clients = [await _connect(target, number) for number in range(concurrency)]
    numbers = iter(range(count))
    done: list[tuple[float, float, int, int]] = []

    async def worker(place: int, client: _Client) -> None:
        await asyncio.sleep(load.spread_s * place / concurrency)
        for number in numbers:
            await client.ask(load.bodies[number % len(load.bodies)])
            if client.tokens != load.tokens:
                raise LoadError(f"{client.tokens} tokens, asked for {load.tokens}")
            done.append((client.ttft, client.total, client.events, client.tokens))

    start = time.perf_counter()
    try:
        await asyncio.gather(*(worker(place, client) for place, client in enumerate(clients)))
        seconds = time.perf_counter() - start
    finally:
        for client in clients:
            client.close()
    return Sample(
        seconds=seconds,
        requests=len(done),
        tokens=sum(one[3] for one in done),
        events=sum(one[2] for one in done),
        ttft=tuple(one[0] for one in done),
        total=tuple(one[1] for one in done),
    )


def measure(target: Target, load: Load, concurrency: int, count: int) -> Sample:
    """`count` requests, `concurrency` at a time. Raises LoadError at the first bad answer."""
    sample: Sample = uvloop.run(_measure(target, load, concurrency, count))
    return sample
