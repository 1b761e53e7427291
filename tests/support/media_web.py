"""A web server and a name server on loopback that answer remote media as a test wants it."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address
from types import TracebackType
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

from backend.app.services.media_fetch import IPAddress, MediaFetcher

MIB = 2**20
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 4, 3) + b"the rest"

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


class Web:
    """A web server on loopback that plays one answer; `hits` are the request heads it saw."""

    def __init__(self, answer: Answer, tls: ssl.SSLContext | None = None) -> None:
        self._answer = answer
        self._tls = tls
        self.hits: list[bytes] = []
        self.arrived = asyncio.Event()
        """Set by the first request."""
        self.connections = 0
        self._open: dict[asyncio.Task[Any], asyncio.StreamWriter] = {}
        self.left = asyncio.Event()
        """Set when a client closed the connection while the answer was unfinished."""

    async def __aenter__(self) -> Web:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.close()
        for writer in self._open.values():
            writer.transport.abort()
        await asyncio.gather(*self._open)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        this = asyncio.current_task()
        assert this is not None
        self._open[this] = writer
        tasks: list[asyncio.Future[Any]] = []
        try:
            self.hits.append(await reader.readuntil(b"\r\n\r\n"))
            self.arrived.set()
            tasks = [asyncio.ensure_future(each) for each in (self._answer(writer), reader.read())]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if not tasks[0].done():
                self.left.set()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            writer.close()
            del self._open[this]

    def url(self, path: str = "/a.png", host: str = "127.0.0.1", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"


def plays(
    body: bytes = PNG, *headers: str, status: str = "200 OK", length: int | None = None
) -> Answer:
    lines = [f"HTTP/1.1 {status}", *(headers or ("Content-Type: image/png",))]
    lines.append(f"Content-Length: {len(body) if length is None else length}")

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        await writer.drain()

    return answer


async def never(writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def drips(writer: asyncio.StreamWriter) -> None:
    await plays(PNG, length=99_999)(writer)
    while True:
        writer.write(b".")
        await asyncio.sleep(0.01)


async def pours(writer: asyncio.StreamWriter) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n"
    writer.write(head)
    while True:
        writer.write(b"10000\r\n" + PNG.ljust(65536, b".") + b"\r\n")
        await writer.drain()


class Names(AbstractResolver):
    """A name server that gives its answers in turn and then repeats the last one."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked.append(host)
        addresses = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        pass


def loopback(address: IPAddress) -> bool:
    """The test's idea of a public address."""
    return address == IPv4Address("127.0.0.1")


def fetcher(**changes: Any) -> MediaFetcher:
    settings: dict[str, Any] = {
        "max_bytes": MIB,
        "max_pixels": 1_000_000,
        "timeout_s": 20,
        "allow": loopback,
        "ports": range(65536),
    }
    return MediaFetcher(**{**settings, **changes})
