"""The shell around an engine: phases, streaming both ways, cancellation, a clean end."""

from __future__ import annotations

import asyncio
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from backend.app.workers import protocol as p

REPOSITORY = Path(__file__).parents[2]
DEADLINE_S = 20.0


class Worker:
    """A shell in a process of its own, loading until `go`."""

    def __init__(self, *flags: str, address: Sequence[str] | None = None) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="shell-")
        self.socket = Path(self._directory.name) / "s"
        where = ["--uds", str(self.socket)] if address is None else address
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.shell_service", *where, *flags],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def lines(self) -> list[str]:
        """What it printed, once it has ended."""
        out, _ = self.process.communicate(timeout=DEADLINE_S)
        return out.splitlines()

    def terminate(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE_S)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate(timeout=DEADLINE_S)
        self._directory.cleanup()

    def session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            "http://worker",
            connector=aiohttp.UnixConnector(str(self.socket)),
            timeout=aiohttp.ClientTimeout(DEADLINE_S),
        )


@pytest.fixture
def start() -> Iterator[Callable[..., Worker]]:
    workers: list[Worker] = []

    def starter(*flags: str, address: Sequence[str] | None = None) -> Worker:
        workers.append(Worker(*flags, address=address))
        return workers[-1]

    yield starter
    for worker in workers:
        worker.close()


@pytest.fixture
def worker(start: Callable[..., Worker]) -> Worker:
    ready = start()
    ready.go()
    run(ready, until_ready)
    return ready


def run(worker: Worker, work: Callable[[aiohttp.ClientSession], Awaitable[None]]) -> None:
    async def main() -> None:
        async with worker.session() as session:
            await asyncio.wait_for(work(session), DEADLINE_S)

    asyncio.run(main())


async def health(session: aiohttp.ClientSession) -> tuple[int, p.Health]:
    async with session.get("/health") as answer:
        return answer.status, p.decode_health(await answer.read())


async def until(session: aiohttp.ClientSession, wanted: Callable[[int, p.Health], bool]) -> None:
    while True:
        try:
            if wanted(*await health(session)):
                return
        except aiohttp.ClientConnectionError:
            pass
        await asyncio.sleep(0.01)


async def until_ready(session: aiohttp.ClientSession) -> None:
    await until(session, lambda status, _: status == 200)


async def ask(
    session: aiohttp.ClientSession, params: str = "{}", body: Any = b""
) -> tuple[int, list[p.Message]]:
    headers = {p.PARAMS_HEADER: params}
    async with session.post("/transcribe", data=body, headers=headers) as answer:
        return answer.status, list(p.Lines().feed(await answer.read()))


def abort(answer: aiohttp.ClientResponse) -> None:
    """Leave at once: a polite goodbye would first have what was written be taken."""
    assert answer.connection is not None
    assert answer.connection.transport is not None
    answer.connection.transport.abort()


def test_while_loading_it_says_what_it_does_and_refuses(start: Callable[..., Worker]) -> None:
    worker = start()

    async def loading(session: aiohttp.ClientSession) -> None:
        await until(session, lambda status, found: (status, found.phase) == (503, "weights"))
        status, messages = await ask(session)
        (failed,) = messages
        assert status == 503
        assert isinstance(failed, p.Failed)
        assert (failed.code, failed.retryable) == ("loading", True)
        worker.go()
        await until_ready(session)

    run(worker, loading)
    assert worker.terminate() == 0
    phases = [line.split()[1] for line in worker.lines() if line.startswith("PHASE")]
    assert phases == ["starting", "weights", "ready"]


def test_the_socket_is_private(worker: Worker) -> None:
    assert stat.S_IMODE(worker.socket.stat().st_mode) & 0o077 == 0


def test_a_failed_load_ends_it_with_the_reason_on_the_last_line(
    start: Callable[..., Worker],
) -> None:
    worker = start("--fail", "the file is broken")
    worker.go()
    lines = worker.lines()
    assert worker.process.returncode == 1
    assert lines[-1] == "Loading failed: ValueError: the file is broken"
    assert "PHASE ready" not in lines


def test_it_can_be_stopped_while_loading(start: Callable[..., Worker]) -> None:
    worker = start()
    run(worker, lambda session: until(session, lambda _, found: found.phase == "weights"))
    assert worker.terminate() == 0


def test_the_answer_begins_before_the_body_ends(worker: Worker) -> None:
    async def both_ways(session: aiohttp.ClientSession) -> None:
        answered = asyncio.Event()

        async def body() -> AsyncIterator[bytes]:
            yield bytes(1000)
            await answered.wait()
            yield bytes(500)

        headers = {p.PARAMS_HEADER: '{"every": 1000}'}
        async with session.post("/transcribe", data=body(), headers=headers) as answer:
            assert answer.content_type == p.NDJSON
            first = p.decode(await answer.content.readline())
            assert first == p.Progress(phase="reading", done=1000)
            answered.set()
            assert p.decode(await answer.content.readline()) == p.Done(duration=1500)
            assert await answer.content.readline() == b""

    run(worker, both_ways)


@pytest.mark.parametrize(
    ("params", "status", "code"),
    [
        ('{"refuse": "bad_request"}', 400, "bad_request"),
        ('{"refuse": "out_of_memory", "retryable": true}', 503, "out_of_memory"),
        ('{"raise": true}', 500, "engine_error"),
        ("nonsense", 500, "engine_error"),
    ],
)
def test_a_bad_request_is_refused_and_the_next_one_works(
    worker: Worker, params: str, status: int, code: str
) -> None:
    async def refused(session: aiohttp.ClientSession) -> None:
        found, (failed,) = await ask(session, params, bytes(300_000))
        assert isinstance(failed, p.Failed)
        assert (found, failed.code) == (status, code)
        assert "secret" not in failed.message
        assert await ask(session, "{}", b"12") == (200, [p.Done(duration=2)])

    run(worker, refused)


def test_a_failure_in_mid_answer_is_its_last_message(worker: Worker) -> None:
    async def broken(session: aiohttp.ClientSession) -> None:
        status, messages = await ask(session, '{"every": 1, "raise": true}', b"1")
        assert status == 200
        assert isinstance(messages[0], p.Progress)
        assert isinstance(messages[-1], p.Failed)

    run(worker, broken)


def test_leaving_cancels_while_working_and_while_sending(worker: Worker) -> None:
    async def leave(session: aiohttp.ClientSession) -> None:
        headers = {p.PARAMS_HEADER: '{"wait": 1000}'}
        async with session.post("/transcribe", data=b"1", headers=headers) as answer:
            await answer.content.readline()
            assert (await health(session))[1].in_flight == 1
        await until(session, lambda _, found: (found.queued, found.in_flight) == (1, 0))

        async def endless() -> AsyncIterator[bytes]:
            while True:
                yield bytes(4096)
                await asyncio.sleep(0)

        headers = {p.PARAMS_HEADER: '{"every": 1}'}
        async with session.post("/transcribe", data=endless(), headers=headers) as answer:
            await answer.content.readline()
            abort(answer)
        await until(session, lambda _, found: (found.queued, found.in_flight) == (2, 0))

    run(worker, leave)


def test_a_body_that_nobody_reads_is_not_taken_in(worker: Worker) -> None:
    async def stall(session: aiohttp.ClientSession) -> None:
        sent = 0

        async def endless() -> AsyncIterator[bytes]:
            nonlocal sent
            while True:
                yield bytes(1 << 16)
                sent += 1

        headers = {p.PARAMS_HEADER: '{"every": 1, "stall": 1000}'}
        async with session.post("/transcribe", data=endless(), headers=headers) as answer:
            await answer.content.readline()
            before, rounds = -1, 0
            while rounds < 20:
                rounds = rounds + 1 if before == sent else 0
                before = sent
                await health(session)
                assert sent < 500  # 32 MB, far more than sockets hold
            abort(answer)

    run(worker, stall)


def test_sigterm_lets_a_request_finish(worker: Worker) -> None:
    async def finish(session: aiohttp.ClientSession) -> None:
        headers = {p.PARAMS_HEADER: '{"wait": 1}'}
        async with session.post("/transcribe", data=b"1", headers=headers) as answer:
            await answer.content.readline()
            worker.process.send_signal(signal.SIGTERM)
            assert p.decode(await answer.content.readline()) == p.Done(duration=1)

    run(worker, finish)
    assert worker.process.wait(DEADLINE_S) == 0


def test_after_the_grace_it_ends_anyway(start: Callable[..., Worker]) -> None:
    worker = start("--grace-s", "1")
    worker.go()

    async def linger(session: aiohttp.ClientSession) -> None:
        await until_ready(session)
        headers = {p.PARAMS_HEADER: '{"wait": 1000}'}
        async with session.post("/transcribe", data=b"1", headers=headers) as answer:
            await answer.content.readline()
            worker.process.send_signal(signal.SIGTERM)
            with pytest.raises(aiohttp.ClientPayloadError):
                await answer.content.readline()

    run(worker, linger)
    assert worker.process.wait(DEADLINE_S) == 0


def test_over_tcp_a_token_is_wanted(start: Callable[..., Worker]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    worker = start(f"--port={port}", "--token=t0", address=())
    worker.go()

    async def knock() -> None:
        base, timeout = f"http://127.0.0.1:{port}", aiohttp.ClientTimeout(DEADLINE_S)
        known = {"authorization": "Bearer t0"}
        async with aiohttp.ClientSession(base, headers=known, timeout=timeout) as session:
            await until_ready(session)
            assert await ask(session) == (200, [p.Done(duration=0)])
        for headers in ({}, {"authorization": "Bearer t"}):
            async with aiohttp.ClientSession(base, headers=headers, timeout=timeout) as session:
                assert (await ask(session))[0] == 401
                async with session.get("/health") as answer:
                    assert answer.status == 401

    asyncio.run(knock())
