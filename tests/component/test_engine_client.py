"""The engine client against a real server on a real socket: requests, answers, reuse."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import weakref
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from backend.app.engines.client import ConnectFailed, EngineClient
from backend.app.engines.launcher import Address
from backend.app.errors import DeadlineExceeded, EngineError
from tests.support.engine_client import CHUNKED, WAIT, Run, post, runner
from tests.support.loops import LOOPS, run_clean, turns
from tests.support.raw_server import Peer, RawServer, raw_server


@pytest.fixture(params=LOOPS)
def loop(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def run(loop: str, tmp_path: Path) -> Run:
    return runner(loop, tmp_path, keeps=20)


async def echo(peer: Peer) -> None:
    while True:
        await peer.answer((await peer.request()).body)


def frame(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def test_requests_one_after_the_other_share_a_connection(run: Run) -> None:
    async def test(client: EngineClient, server: RawServer) -> None:
        assert client.last_byte_at == 0.0
        for body in (b"one", b"", b"three" * 1000):
            response = await post(client, body)
            assert response.status == 200
            assert response.header(b"content-length") == b"%d" % len(body)
            assert response.header(b"x-none") is None
            assert await response.read(timeout=WAIT) == body
            response.close()
        assert server.accepted == 1
        assert 0 < client.last_byte_at <= asyncio.get_running_loop().time()

    run(echo, test)


def test_requests_at_the_same_time_do_not_share_but_are_kept(run: Run) -> None:
    async def test(client: EngineClient, server: RawServer) -> None:
        for _ in range(3):
            bodies = [b"%d" % n for n in range(20)]
            answers = await asyncio.gather(*(post(client, body) for body in bodies))
            assert [await each.read(timeout=WAIT) for each in answers] == bodies
        assert server.accepted == 20

    run(echo, test)


@pytest.mark.parametrize("size", [64 << 10, (64 << 10) + 1, 10_000_000])
def test_large_bodies_arrive_whole(run: Run, size: int) -> None:
    async def digest(peer: Peer) -> None:
        while True:
            request = await peer.request()
            await peer.answer(hashlib.sha256(request.body).hexdigest().encode())

    async def test(client: EngineClient, server: RawServer) -> None:
        body = hashlib.shake_128(b"seed").digest(size)

        async def pieces() -> AsyncIterator[bytes]:
            for start in range(0, size, 700_001):
                yield body[start : start + 700_001]
                yield b""

        for each in (body, pieces(), body):
            response = await post(client, each)
            answer = await response.read(timeout=WAIT)
            assert answer.decode() == hashlib.sha256(body).hexdigest()
        assert server.accepted == 2  # a body that cannot be repeated gets a fresh connection

    run(digest, test)


def test_a_stream_is_handed_on_as_it_comes(run: Run) -> None:
    parts: asyncio.Queue[bytes] = asyncio.Queue()

    async def test(client: EngineClient, server: RawServer) -> None:
        response = await post(client)
        for n in range(3):
            parts.put_nowait(b"event %d" % n)
            assert await response.chunk(WAIT) == b"event %d" % n
        with pytest.raises(DeadlineExceeded):
            await response.chunk(0.01)
        parts.put_nowait(b"late")  # a deadline that passed does not spoil the answer
        assert await response.chunk(WAIT) == b"late"
        parts.put_nowait(b"")
        assert await response.chunk(None) is None
        assert await response.chunk(None) is None

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED)
        while part := await parts.get():
            await peer.send(frame(part))
        await peer.send(frame(b""))
        await peer.gone()

    run(script, test)


def test_a_deadline_counts_anew_from_each_chunk(run: Run) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED)
        await turns(3)
        await peer.send(frame(b"one"))
        await asyncio.sleep(0.6)
        await peer.send(frame(b"two"))
        await peer.gone()

    async def test(client: EngineClient, server: RawServer) -> None:
        response = await post(client)
        assert await response.chunk(0.5) == b"one"
        assert await response.chunk(WAIT) == b"two"
        response.close()

    run(script, test)


def test_nothing_is_left_in_memory_of_what_is_over(run: Run) -> None:
    idle = asyncio.Queue[None]()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.answer(b"ok")
        await idle.get()

    async def test(client: EngineClient, server: RawServer) -> None:
        gc.collect()
        gc.disable()  # reference counts alone have to do it
        try:
            for body in (b"small", bytes(100_000)):
                response = await post(client, body)
                await response.read(timeout=WAIT)
                connection = weakref.ref(client._idle[0])
                over = weakref.ref(response._answer)
                idle.put_nowait(None)
                del response
                assert over() is None
                while connection() is not None:
                    await turns(1)
        finally:
            gc.enable()

    run(script, test)


def test_an_answer_that_comes_byte_by_byte(run: Run) -> None:
    raw = (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Made\r\nX-A: b\r\n"
        b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nX-T: 1\r\n\r\n"
    )

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            for i in range(len(raw)):
                await peer.send(raw[i : i + 1])
                await turns(3)

    async def test(client: EngineClient, server: RawServer) -> None:
        for _ in range(2):
            response = await post(client)
            assert (response.status, response.headers) == (201, [(b"x-a", b"b")])
            assert await response.read(timeout=WAIT) == b"hello world"
        assert server.accepted == 1

    run(script, test)


@pytest.mark.parametrize(
    ("raw", "method", "status", "body", "kept"),
    [
        (b"HTTP/1.1 204 None\r\n\r\n", "GET", 204, b"", True),
        (b"HTTP/1.1 404 No\r\ncontent-length: 2\r\n\r\nno", "GET", 404, b"no", True),
        (b"HTTP/1.1 500 No\r\ncontent-length: 2\r\n\r\nno", "GET", 500, b"no", False),
        (b"HTTP/1.1 503 No\r\ncontent-length: 2\r\n\r\nno", "GET", 503, b"no", False),
        (
            b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
            "GET",
            200,
            b"ok",
            False,
        ),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", "GET", 200, b"ok", False),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok and more", "GET", 200, b"ok", False),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n", "HEAD", 200, b"", False),
    ],
)
def test_what_is_kept_and_what_is_not(
    run: Run, raw: bytes, method: str, status: int, body: bytes, kept: bool
) -> None:
    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(raw)

    async def test(client: EngineClient, server: RawServer) -> None:
        for _ in range(3):
            response = await client.request(method, "/", head_timeout=WAIT)
            assert response.status == status
            assert await response.read(timeout=WAIT) == body
        assert server.accepted == (1 if kept else 3)
        if not kept:
            await server.all_gone()

    run(script, test)


@pytest.mark.parametrize("body", [b"", b"until the end"])
def test_an_answer_that_ends_with_its_connection(run: Run, body: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\n" + body)

    async def test(client: EngineClient, server: RawServer) -> None:
        assert await (await post(client)).read(timeout=WAIT) == body

    run(script, test)


def test_a_request_on_a_connection_that_died_while_idle_is_repeated_once(run: Run) -> None:
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        while True:
            seen.append((await peer.request()).body)
            if peer.number == 0 and len(seen) == 2:
                return  # closes without a byte, as a server whose keep-alive ran out
            await peer.answer(b"ok")

    async def test(client: EngineClient, server: RawServer) -> None:
        for body in (b"first", b"second" * 100_000):
            assert await (await post(client, body)).read(timeout=WAIT) == b"ok"
        assert seen == [b"first", b"second" * 100_000, b"second" * 100_000]
        assert server.accepted == 2

    run(script, test)


def test_a_request_that_dies_on_a_fresh_connection_is_not_repeated(run: Run) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()

    async def test(client: EngineClient, server: RawServer) -> None:
        with pytest.raises(EngineError, match="without an answer") as caught:
            await post(client)
        assert not isinstance(caught.value, ConnectFailed)
        assert server.accepted == 1

    run(script, test)


def test_a_repeat_that_dies_too_is_not_repeated_again(run: Run) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        if peer.number == 0:
            await peer.answer(b"ok")
            await peer.request()

    async def test(client: EngineClient, server: RawServer) -> None:
        await (await post(client)).read(timeout=WAIT)
        with pytest.raises(EngineError, match="without an answer"):
            await post(client)
        assert server.accepted == 2

    run(script, test)


def test_a_repeat_that_cannot_connect_does_not_claim_that_nothing_was_sent(run: Run) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.answer(b"ok")
        await peer.request()
        peer.unlink()

    async def test(client: EngineClient, server: RawServer) -> None:
        await (await post(client)).read(timeout=WAIT)
        with pytest.raises(EngineError) as caught:
            await post(client)
        assert not isinstance(caught.value, ConnectFailed)
        with pytest.raises(ConnectFailed):
            await post(client)

    run(script, test)


def test_an_idle_connection_is_dropped_when_the_engine_closes_or_babbles(run: Run) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.answer(b"ok")
        await turns(5)
        if peer.number == 0:
            return
        await peer.send(b"HTTP/1.1 408 Timeout\r\n\r\n")
        await peer.gone()

    async def test(client: EngineClient, server: RawServer) -> None:
        for number in range(2):
            response = await post(client)
            assert await response.read(timeout=WAIT) == b"ok"
            await server.all_gone()
            await turns(5)
            assert server.accepted == number + 1

    run(script, test)


def test_a_connection_unused_for_too_long_is_not_used_again(tmp_path: Path) -> None:
    async def main() -> None:
        cut = asyncio.Event()

        async def script(peer: Peer) -> None:
            await peer.request()
            await peer.answer(b"ok")
            await peer.gone()
            cut.set()

        async with raw_server(str(tmp_path / "s"), script) as server:
            client = EngineClient(Address(socket=server.path), idle_s=0.01)
            await (await post(client)).read(timeout=WAIT)
            await asyncio.sleep(0.02)  # longer than idle_s
            await (await post(client)).read(timeout=WAIT)
            await cut.wait()
            assert server.accepted == 2
            await client.close()

    run_clean("asyncio", main)


def test_an_engine_on_another_host_is_reached_with_its_token(loop: str) -> None:
    async def main() -> None:
        seen: list[dict[bytes, bytes]] = []

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            peer = Peer(0, reader, writer)
            seen.append((await peer.request()).headers)
            await peer.answer(b"ok")
            await peer.gone()
            writer.transport.abort()

        listener = await asyncio.start_server(connected, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        client = EngineClient(Address(host="127.0.0.1", port=port, token="t0ken"))
        assert await (await post(client)).read(timeout=WAIT) == b"ok"
        assert seen[0][b"authorization"] == b"Bearer t0ken"
        await client.close()
        listener.close()
        await listener.wait_closed()
        with pytest.raises(ConnectFailed):
            await post(client)
        with pytest.raises(ConnectFailed):
            await post(EngineClient(Address(host="127.0.0.1", port=port)))

    run_clean(loop, main)
