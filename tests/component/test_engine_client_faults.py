"""The engine client when things go wrong: slow, dead or lying engines, callers that leave."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from backend.app.engines.client import EngineClient
from backend.app.errors import DeadlineExceeded, EngineError, TooLarge
from tests.support.engine_client import CHUNKED, PART, SOON, WAIT, Listen, Run, post, runner
from tests.support.loops import LOOPS, run_clean, turns
from tests.support.raw_server import Peer, RawServer, Script

BIG = bytes(10_000_000)


@pytest.fixture(params=LOOPS)
def loop(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def run(loop: str, tmp_path: Path) -> Run:
    return runner(loop, tmp_path, keeps=0)


@pytest.fixture
def listen(tmp_path: Path) -> Iterator[Listen]:
    with Listen(tmp_path) as listening:
        yield listening


def sends(raw: bytes, *, closes: bool) -> Script:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(raw)
        if not closes:
            await peer.gone()

    return script


async def mute(peer: Peer) -> None:
    """Reads, and says nothing."""
    await peer.gone()


def test_closing_an_answer_in_its_middle_is_seen_by_the_engine(run: Run) -> None:
    async def test(client: EngineClient, server: RawServer) -> None:
        response = await post(client)
        assert await response.chunk(WAIT) == b"part"
        response.close()
        response.close()
        await server.all_gone()
        with pytest.raises(EngineError):
            await response.chunk(WAIT)

    run(sends(PART, closes=False), test)


@pytest.mark.parametrize(
    "raw",
    [
        PART,
        PART + b"0\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\npart",
    ],
)
def test_an_answer_that_stops_short_is_an_error_after_its_bytes(run: Run, raw: bytes) -> None:
    async def test(client: EngineClient, server: RawServer) -> None:
        response = await post(client)
        assert await response.chunk(WAIT) == b"part"
        for _ in range(2):
            with pytest.raises(EngineError, match="in the middle"):
                await response.chunk(WAIT)
        response.close()
        with pytest.raises(EngineError, match="in the middle"):
            await (await post(client)).read(timeout=WAIT)

    run(sends(raw, closes=True), test)


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\ncontent-length: 0\n\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        b"HTTP/1.1 101 Go\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n\0\0",
        b"HTTP/1.1 200 OK\r\nx: " + bytes(66 << 10),
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * (66 << 10) + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * (1 << 20),
    ],
)
def test_an_answer_that_is_not_http_is_an_error_at_once(run: Run, raw: bytes) -> None:
    async def test(client: EngineClient, server: RawServer) -> None:
        with pytest.raises(EngineError, match=r"not valid HTTP|has no end"):
            await post(client)

    run(sends(raw, closes=False), test)


def test_an_answer_that_turns_into_nonsense_is_an_error_after_its_bytes(run: Run) -> None:
    async def test(client: EngineClient, server: RawServer) -> None:
        response = await post(client)
        assert await response.chunk(WAIT) == b"part"
        with pytest.raises(EngineError, match="not valid HTTP"):
            await response.chunk(WAIT)

    run(sends(PART + b"zz\r\n", closes=False), test)


@pytest.mark.parametrize("body", [b"", bytes(100_000)])
def test_no_head_within_its_deadline(run: Run, body: bytes) -> None:
    async def test(client: EngineClient, server: RawServer) -> None:
        with pytest.raises(DeadlineExceeded, match="did not answer"):
            await post(client, body, head_timeout=SOON)

    run(mute, test)


def test_the_deadline_of_the_head_counts_from_the_end_of_the_body(run: Run) -> None:
    async def script(peer: Peer) -> None:
        await peer.answer((await peer.request()).body)

    async def body() -> AsyncIterator[bytes]:
        yield b"slow"
        await asyncio.sleep(10 * SOON)
        yield b"ly"

    async def test(client: EngineClient, server: RawServer) -> None:
        response = await post(client, body(), head_timeout=5 * SOON)
        assert await response.read(timeout=WAIT) == b"slowly"

    run(script, test)


@pytest.mark.parametrize("size", [1, 1 << 16])
def test_a_body_within_a_total_deadline_and_below_a_limit(run: Run, size: int) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED)
        while True:  # never silent for long, and never done
            await peer.send(b"%x\r\n%b\r\n" % (size, bytes(size)))
            await asyncio.sleep(0)

    async def test(client: EngineClient, server: RawServer) -> None:
        with pytest.raises(DeadlineExceeded):
            await (await post(client)).read(timeout=SOON, limit=512 << 20)
        with pytest.raises(EngineError, match="larger than 9 bytes"):
            await (await post(client)).read(timeout=WAIT, limit=9)

    run(script, test)


@pytest.mark.parametrize("whole", [True, False])
def test_an_engine_that_does_not_read_the_body(run: Run, whole: bool) -> None:
    over = asyncio.Event()
    closed: list[bool] = []

    async def deaf(peer: Peer) -> None:
        await over.wait()
        await peer.gone()

    async def body() -> AsyncIterator[bytes]:
        try:
            while True:
                yield BIG
        finally:
            closed.append(True)

    async def test(client: EngineClient, server: RawServer) -> None:
        with pytest.raises(DeadlineExceeded, match="took no input"):
            await post(client, BIG if whole else body(), write_timeout=SOON)
        over.set()
        await server.all_gone()
        assert closed == ([] if whole else [True])

    run(deaf, test)


def test_an_engine_may_answer_while_the_body_is_still_coming(run: Run) -> None:
    heard: asyncio.Queue[bytes] = asyncio.Queue()

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(CHUNKED)
        while piece := await peer.piece():
            await peer.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        await peer.send(b"0\r\n\r\n")
        await peer.gone()

    async def body() -> AsyncIterator[bytes]:
        while piece := await heard.get():
            yield piece

    async def test(client: EngineClient, server: RawServer) -> None:
        heard.put_nowait(b"one")
        response = await post(client, body())
        assert await response.chunk(WAIT) == b"one"
        heard.put_nowait(b"two")
        assert await response.chunk(WAIT) == b"two"
        heard.put_nowait(b"")
        assert await response.chunk(WAIT) is None
        await server.all_gone()  # no later one would use it: such bodies get a fresh connection

    run(script, test)


@pytest.mark.parametrize("closes", [True, False])
@pytest.mark.parametrize("read", [0, 3_000_000])
def test_an_engine_may_refuse_a_body_without_reading_it(run: Run, closes: bool, read: int) -> None:
    over = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.reader.readexactly(read)
        await peer.answer(b"too large", 413)
        if not closes:
            await over.wait()
            await peer.gone()

    async def test(client: EngineClient, server: RawServer) -> None:
        response = await post(client, BIG)
        assert response.status == 413
        assert await response.read(timeout=WAIT) == b"too large"
        over.set()

    run(script, test)


def test_a_refusal_is_read_even_when_writing_failed_first(loop: str, listen: Listen) -> None:
    def refuse() -> None:
        with listen.socket.accept()[0] as sock:
            sock.recv(1 << 16)
            sock.sendall(b"HTTP/1.1 413 No\r\ncontent-length: 9\r\n\r\ntoo large")

    async def body() -> AsyncIterator[bytes]:
        yield b"some"
        refuse()
        yield b"more"  # before the event loop has looked whether there is an answer

    async def main() -> None:
        client = EngineClient(listen.address)
        response = await post(client, body())
        assert response.status == 413
        assert await response.read(timeout=WAIT) == b"too large"
        await client.close()

    run_clean(loop, main)


def test_a_refusal_ends_where_the_engine_stops_sending(loop: str, listen: Listen) -> None:
    async def main() -> None:
        client = EngineClient(listen.address)
        waiting = asyncio.ensure_future(post(client, BIG))
        with await listen.accept() as sock:
            sock.sendall(b"HTTP/1.1 413 No\r\n\r\ntoo large")
            sock.shutdown(socket.SHUT_WR)  # but it stays, and reads nothing
            assert await (await waiting).read(timeout=WAIT) == b"too large"
        await client.close()

    run_clean(loop, main)


def test_a_reset_is_not_the_end_of_an_answer(loop: str, listen: Listen) -> None:
    async def main() -> None:
        client = EngineClient(listen.address)
        waiting = asyncio.ensure_future(post(client, b"unread"))
        with await listen.accept() as sock:
            sock.sendall(b"HTTP/1.1 200 OK\r\n\r\npart")
        response = await waiting
        assert await response.chunk(WAIT) == b"part"
        with pytest.raises(EngineError, match="in the middle"):
            await response.chunk(WAIT)
        response.close()
        await client.close()

    run_clean(loop, main)


def test_an_exception_of_the_body_reaches_the_caller(run: Run) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"some"
        raise TooLarge("more than we take")

    async def late() -> AsyncIterator[bytes]:
        yield b"some"
        await answered.wait()
        raise TooLarge("more than we take")

    async def script(peer: Peer) -> None:
        if peer.number:
            await peer.send(PART)
        await peer.gone()

    answered = asyncio.Event()

    async def test(client: EngineClient, server: RawServer) -> None:
        with pytest.raises(TooLarge):
            await post(client, body())
        response = await post(client, late())
        assert await response.chunk(WAIT) == b"part"
        answered.set()
        with pytest.raises(TooLarge):
            await response.chunk(WAIT)
        response.close()

    run(script, test)


def test_a_slow_reader_makes_the_engine_wait(run: Run) -> None:
    block = b"%x\r\n%b\r\n" % (1 << 16, bytes(1 << 16))
    written = 0

    async def script(peer: Peer) -> None:
        nonlocal written
        await peer.request()
        await peer.send(CHUNKED)
        for _ in range(512):
            await peer.send(block)
            written += 1 << 16
        await peer.send(b"0\r\n\r\n")
        await peer.gone()

    async def test(client: EngineClient, server: RawServer) -> None:
        response = await post(client)
        seen = -1
        while seen != written:  # until nothing moves any more
            seen = written
            await turns(50)
        assert 256 << 10 <= written <= 2 << 20
        body = await response.read(timeout=WAIT)
        assert len(body) == written == 32 << 20
        await client.close()

    run(script, test)
