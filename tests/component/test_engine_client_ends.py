"""Ends of the engine client's connections: closing, cancelling, and not getting one at all."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from backend.app.engines.client import ConnectFailed, EngineClient
from backend.app.engines.launcher import Address
from backend.app.errors import EngineError
from tests.support.engine_client import PART, SOON, WAIT, Listen, Run, post, runner
from tests.support.loops import LOOPS, run_clean, turns
from tests.support.raw_server import Peer, RawServer

BIG = bytes(10_000_000)


@pytest.fixture(params=LOOPS)
def loop(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def run(loop: str, tmp_path: Path) -> Run:
    return runner(loop, tmp_path, keeps=1)


def test_close_ends_whatever_is_going_on(run: Run) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        if peer.number == 0:
            await peer.send(PART)
        await peer.gone()

    async def forever() -> AsyncIterator[bytes]:
        while True:
            yield b"more"
            await asyncio.sleep(0)

    async def test(client: EngineClient, server: RawServer) -> None:
        response = await post(client)
        assert await response.chunk(WAIT) == b"part"
        waiting = [
            asyncio.ensure_future(response.chunk(WAIT)),
            asyncio.ensure_future(post(client)),
            asyncio.ensure_future(post(client, BIG)),
            asyncio.ensure_future(post(client, forever())),
        ]
        while server.accepted < 4:
            await turns(1)
        await client.close()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(each) for each in results] == [EngineError] * 4
        with pytest.raises(ConnectFailed):
            await post(client)
        await client.close()

    run(script, test)


def test_a_request_that_begins_while_the_client_closes(run: Run) -> None:
    async def test(client: EngineClient, server: RawServer) -> None:
        for moment in range(8):
            closing = EngineClient(client.address)
            task = asyncio.ensure_future(post(closing))
            await turns(moment)
            await closing.close()
            with pytest.raises(EngineError):
                await task
            await server.all_gone()

    run(Peer.gone, test)


@pytest.mark.parametrize("kind", ["small", "large", "stream", "kept"])
def test_a_request_may_be_cancelled_at_any_moment(run: Run, kind: str) -> None:
    begun, ended = [0], [0]

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await turns(2)
            await peer.answer(b"ok", headers=b"" if kind == "kept" else b"connection: close\r\n")

    async def stream() -> AsyncIterator[bytes]:
        begun[0] += 1
        try:
            for _ in range(5):
                yield bytes(300_000)
                await asyncio.sleep(0)
        finally:
            ended[0] += 1

    async def test(client: EngineClient, server: RawServer) -> None:
        cancelled = 0
        for moment in range(60):
            if kind == "kept":
                await (await post(client)).read(timeout=WAIT)
            body = stream() if kind == "stream" else BIG if kind == "large" else b""
            task = asyncio.ensure_future(post(client, body))
            await turns(moment)
            task.cancel()
            try:
                response = await task
            except asyncio.CancelledError:
                cancelled += 1
            else:
                response.close()
        assert cancelled > 3
        await server.all_gone(but=1 if kind == "kept" else 0)
        assert begun == ended

    run(script, test)


@pytest.mark.parametrize("kind", ["missing", "refused", "too long"])
def test_an_engine_that_cannot_be_reached(tmp_path: Path, kind: str) -> None:
    path = tmp_path / ("s" * 200 if kind == "too long" else "s")
    with socket.socket(socket.AF_UNIX) as unheard:
        if kind == "refused":
            unheard.bind(str(path))

        async def main() -> None:
            with pytest.raises(ConnectFailed):
                await post(EngineClient(Address(socket=str(path))))

        for loop in LOOPS:
            run_clean(loop, main)


def test_an_engine_whose_backlog_is_full(loop: str, tmp_path: Path) -> None:
    with Listen(tmp_path, backlog=0) as listen:

        async def main() -> None:
            client = EngineClient(listen.address)
            first = asyncio.ensure_future(post(client))
            await turns(5)
            with pytest.raises(ConnectFailed):
                await post(client, head_timeout=SOON)
            second = asyncio.ensure_future(post(client))
            await turns(5)
            for waiting in (first, second):
                with await listen.accept() as sock:
                    sock.sendall(b"HTTP/1.1 204 None\r\n\r\n")
                    assert (await waiting).status == 204
            await client.close()

        run_clean(loop, main)


def test_a_connection_attempt_may_be_cancelled_or_time_out(loop: str) -> None:
    # A TCP listener whose backlog is full drops the first packet, so that connecting takes long.
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        for sock in (first, second):
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", port))

        async def main() -> None:
            client = EngineClient(Address(host="127.0.0.1", port=port, token="t"))
            with pytest.raises(ConnectFailed):
                await post(client, head_timeout=SOON)
            for moment in range(8):
                task = asyncio.ensure_future(post(client))
                await turns(moment)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            await client.close()

        run_clean(loop, main)
