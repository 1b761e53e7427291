"""Waiting for a real process to become ready: the first of its exit, a passed check, a deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path

import pytest

from backend.app.config import child_environment
from backend.app.engines import ready
from backend.app.engines.child import LocalLauncher
from backend.app.engines.launcher import Engine, EngineSpec
from backend.app.engines.ready import EngineExited, ReadyTimeout, wait_ready
from backend.app.errors import EngineError
from tests.support.processes import PYTHON, STUBBORN, short_directory

LISTENER = """
import socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
while True:
    listener.accept()
"""
NEVER = 1000.0
AT_ONCE = 0.05


async def refused() -> bool:
    raise ConnectionRefusedError


def play(
    argv: Callable[[str], Sequence[str]], scenario: Callable[[Engine], Awaitable[None]]
) -> None:
    """Run `scenario` with an engine whose arguments come from its socket."""

    async def main(base: Path) -> None:
        launcher = LocalLauncher(None, base, child_environment())
        try:
            spec = EngineSpec("test-0", lambda address: argv(address.socket or ""))
            await scenario(await launcher.launch(spec))
        finally:
            await launcher.close()

    with short_directory() as base:
        asyncio.run(main(base))


def test_a_socket_that_appears_bound_and_then_listens() -> None:
    async def scenario(engine: Engine) -> None:
        refusals: list[str] = []

        async def connects() -> bool:
            try:
                _, writer = await asyncio.open_unix_connection(engine.address.socket)
            except OSError as exc:
                refusals.append(type(exc).__name__)
                raise
            writer.close()
            return True

        await wait_ready(engine, connects, NEVER, 0.001)
        assert set(refusals) <= {"FileNotFoundError", "ConnectionRefusedError"}
        assert not engine.exited.done()

    play(lambda socket: (*PYTHON, LISTENER, socket), scenario)


def test_a_check_that_turns_true() -> None:
    async def scenario(engine: Engine) -> None:
        answers: Iterator[bool | Exception] = iter(
            [False, OSError(), EngineError("no"), asyncio.TimeoutError(), False, True]
        )

        async def check() -> bool:
            answer = next(answers)
            if isinstance(answer, Exception):
                raise answer
            return answer

        await wait_ready(engine, check, NEVER, 0)
        assert next(answers, None) is None

    play(lambda _: STUBBORN, scenario)


def test_an_exit_is_noticed_at_once() -> None:
    async def scenario(engine: Engine) -> None:
        with pytest.raises(EngineExited, match=r"before it was ready \(exit code 3\)") as caught:
            await wait_ready(engine, refused, NEVER, NEVER)
        assert caught.value.exit.log_tail == ("out of luck",)
        assert not caught.value.exit.asked

    play(lambda _: ("sh", "-c", "echo out of luck; exit 3"), scenario)


def test_an_exit_counts_more_than_a_check() -> None:
    async def scenario(engine: Engine) -> None:
        async def check() -> bool:
            return True

        await asyncio.wait({engine.exited})
        with pytest.raises(EngineExited, match="exit code 0"):
            await wait_ready(engine, check, NEVER)

    play(lambda _: ("true",), scenario)


def test_a_deadline_leaves_the_engine_alone() -> None:
    async def scenario(engine: Engine) -> None:
        with pytest.raises(ReadyTimeout, match=r"not ready after 0\.05 s"):
            await wait_ready(engine, refused, AT_ONCE)
        assert not engine.exited.done()

    play(lambda _: STUBBORN, scenario)


def test_a_check_that_hangs_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ready, "CHECK_S", 0.01)

    async def scenario(engine: Engine) -> None:
        hung = 0

        async def check() -> bool:
            nonlocal hung
            if hung < 2:
                hung += 1
                await asyncio.sleep(NEVER)
            return True

        await wait_ready(engine, check, NEVER, 0)
        assert hung == 2

    play(lambda _: STUBBORN, scenario)


def test_a_mistake_in_the_check_is_passed_on() -> None:
    async def scenario(engine: Engine) -> None:
        async def check() -> bool:
            raise KeyError("oops")

        with pytest.raises(KeyError, match="oops"):
            await wait_ready(engine, check, NEVER)

    play(lambda _: STUBBORN, scenario)


def test_a_cancelled_wait_ends_its_check() -> None:
    async def scenario(engine: Engine) -> None:
        asked, ended = asyncio.Event(), asyncio.Event()

        async def check() -> bool:
            asked.set()
            try:
                await asyncio.sleep(NEVER)
            finally:
                ended.set()
            return True

        waiting = asyncio.ensure_future(wait_ready(engine, check, NEVER))
        await asked.wait()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert ended.is_set()
        assert not engine.exited.cancelled()

    play(lambda _: STUBBORN, scenario)
