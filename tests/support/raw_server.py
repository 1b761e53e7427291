"""A Unix-socket server that does on each connection exactly what a script says, right or wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Request:
    line: bytes
    headers: dict[bytes, bytes]
    body: bytes


class Peer:
    """One connection, seen from the server."""

    def __init__(
        self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.number = number
        """0 for the first connection."""
        self.reader = reader
        self.writer = writer

    async def head(self) -> tuple[bytes, dict[bytes, bytes]]:
        lines = (await self.reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
        pairs = (line.split(b": ", 1) for line in lines[1:] if line)
        return lines[0], {name.lower(): value for name, value in pairs}

    async def request(self) -> Request:
        line, headers = await self.head()
        body = b""
        if b"content-length" in headers:
            body = await self.reader.readexactly(int(headers[b"content-length"]))
        elif b"transfer-encoding" in headers:
            while piece := await self.piece():
                body += piece
        return Request(line, headers, body)

    async def piece(self) -> bytes:
        """One chunk of a chunked body; empty at its end."""
        size = int(await self.reader.readuntil(b"\r\n"), 16)
        return (await self.reader.readexactly(size + 2))[:-2]

    async def send(self, data: bytes) -> None:
        if self.writer.transport.is_closing():
            raise ConnectionResetError
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, body: bytes, status: int = 200, headers: bytes = b"") -> None:
        length = b"content-length: %d\r\n" % len(body)
        await self.send(b"HTTP/1.1 %d X\r\n" % status + headers + length + b"\r\n" + body)

    def unlink(self) -> None:
        """Remove the server's socket: nobody can connect any more."""
        Path(self.writer.get_extra_info("sockname")).unlink()

    async def gone(self) -> None:
        """Returns when the client has cut this connection."""
        with suppress(ConnectionError):
            while await self.reader.read(1 << 16):
                pass


Script = Callable[[Peer], Awaitable[None]]


@dataclass
class RawServer:
    path: str
    script: Script
    accepted: int = 0
    open: set[asyncio.Task[None]] = field(default_factory=set)
    """One per connection that is not over yet, on our side or the client's."""
    failures: list[BaseException] = field(default_factory=list)

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.open.add(task)
        self.accepted += 1
        try:
            await self.script(Peer(self.accepted - 1, reader, writer))
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client left
        except BaseException as exc:
            self.failures.append(exc)
        finally:
            writer.transport.abort()
            self.open.discard(task)

    async def all_gone(self, but: int = 0) -> None:
        """Returns when so many connections are open at most. The test has a timeout."""
        while len(self.open) > but:
            await asyncio.wait(tuple(self.open), return_when=asyncio.FIRST_COMPLETED)


@asynccontextmanager
async def raw_server(path: str, script: Script) -> AsyncIterator[RawServer]:
    """Raises afterwards what the script raised, other than for a client that left."""
    server = RawServer(path, script)
    listener = await asyncio.start_unix_server(server.connected, path)
    try:
        yield server
    finally:
        listener.close()
        for task in tuple(server.open):
            task.cancel()
        await server.all_gone()
        await asyncio.sleep(0)  # aborted transports close in the next turn of the loop
    if server.failures:
        raise server.failures[0]
