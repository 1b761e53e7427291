"""Run an `EngineClient` against a scripted server and check that neither leaves anything behind."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from backend.app.engines.client import EngineClient, EngineResponse
from backend.app.engines.launcher import Address
from tests.support.loops import run_clean
from tests.support.raw_server import RawServer, Script, raw_server

WAIT = 20.0
"""Deadline, in seconds, of what should happen at once."""
SOON = 0.02
"""Deadline, in seconds, of what should never happen."""
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
PART = CHUNKED + b"4\r\npart\r\n"

Test = Callable[[EngineClient, RawServer], Awaitable[None]]
Run = Callable[[Script, Test], None]


def runner(loop: str, tmp_path: Path, *, keeps: int) -> Run:
    """What runs a script and a test on the given kind of event loop, over a socket.

    `keeps`: so many connections may be left open at the end of the test, before `close`.
    """

    def run(script: Script, test: Test) -> None:
        async def main() -> None:
            async with raw_server(str(tmp_path / "s"), script) as server:
                client = EngineClient(Address(socket=server.path))
                await test(client, server)
                await server.all_gone(but=keeps)
                await client.close()
                await server.all_gone()

        run_clean(loop, main)

    return run


class Listen:
    """A listening socket without an event loop of its own behind it."""

    def __init__(self, folder: Path, backlog: int = 8) -> None:
        self.address = Address(socket=str(folder / "s"))
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(str(folder / "s"))
        self.socket.listen(backlog)
        self.socket.setblocking(False)

    def __enter__(self) -> Listen:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    async def accept(self) -> socket.socket:
        """A connection on which the first byte of a request has been read."""
        loop = asyncio.get_running_loop()
        accepted, _ = await loop.sock_accept(self.socket)
        accepted.setblocking(False)
        await loop.sock_recv(accepted, 1)
        return accepted


async def post(
    client: EngineClient,
    body: bytes | AsyncIterator[bytes] = b"",
    *,
    head_timeout: float = WAIT,
    write_timeout: float = WAIT,
) -> EngineResponse:
    return await client.request(
        "POST", "/", body=body, head_timeout=head_timeout, write_timeout=write_timeout
    )
