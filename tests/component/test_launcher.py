"""The life of an engine under the local launcher, on both event loops."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

from backend.app.config import child_environment
from backend.app.engines import child
from backend.app.engines.child import LocalLauncher
from backend.app.engines.launcher import Exit, LaunchError
from tests.support.launching import Launched, Launchers, Play, play_on
from tests.support.loops import LOOPS
from tests.support.processes import (
    DAEMON,
    PYTHON,
    SLEEPER,
    STUBBORN,
    alive,
    mentioning,
    parent,
    short_directory,
    wait_until,
)

GRACE = 60.0


@pytest.fixture(params=LOOPS)
def play(request: pytest.FixtureRequest) -> Play:
    return play_on(request.param)


@pytest.fixture
def base() -> Iterator[Path]:
    with short_directory() as path:
        yield path


def test_sigterm_is_enough_for_an_obedient_engine(play: Play) -> None:
    async def scenario(launchers: Launchers) -> None:
        launched = await launchers.start(SLEEPER)
        process = await launched.printed("engine")
        receipt = await launched.engine.stop(GRACE)
        assert not receipt.escalated
        assert receipt.seconds < GRACE
        assert not alive(process)
        assert launched.engine.exited.result() == Exit(None, 15, True, (f"engine {process}",))

    play(scenario)


def test_sigterm_ignored_is_escalated_also_for_daemons(play: Play) -> None:
    async def scenario(launchers: Launchers) -> None:
        launched = await launchers.start(DAEMON)
        daemon, process = await launched.printed("daemon"), await launched.printed("engine")
        receipt = await launched.engine.stop(0.05)
        assert receipt.escalated
        assert not alive(daemon)
        assert not alive(process)
        assert launched.engine.exited.result().signal == signal.SIGKILL

    play(scenario)


def test_daemons_of_an_obedient_engine_go_with_it(play: Play) -> None:
    async def scenario(launchers: Launchers) -> None:
        obedient = DAEMON[-1].replace('lambda *_: os.write(1, b"term\\n")', "signal.SIG_DFL")
        launched = await launchers.start((*PYTHON, obedient))
        daemon = await launched.printed("daemon")
        await launched.printed("engine")
        assert not (await launched.engine.stop(GRACE)).escalated
        assert not alive(daemon)

    play(scenario)


def test_a_stopped_process_is_killed(play: Play) -> None:
    async def scenario(launchers: Launchers) -> None:
        polite = STUBBORN[-1].replace('os.write(1, b"term\\n")', "os._exit(0)")
        launched = await launchers.start((*PYTHON, polite))
        os.kill(await launched.printed("engine"), signal.SIGSTOP)
        assert (await launched.engine.stop(0.05)).escalated

    play(scenario)


def test_stop_is_shared_and_the_least_patient_caller_decides(play: Play) -> None:
    async def scenario(launchers: Launchers) -> None:
        launched = await launchers.start(STUBBORN)
        await launched.printed("engine")
        patient = asyncio.ensure_future(launched.engine.stop(GRACE))
        await launched.printed("term")
        receipts = await asyncio.gather(launched.engine.stop(0.05), patient)
        assert receipts[0] == receipts[1]
        assert receipts[0].escalated
        assert await launched.engine.stop(GRACE) == receipts[0]
        assert launched.engine.log_tail().count("term") == 1  # one SIGTERM for both

    play(scenario)


def test_a_cancelled_stop_leaves_the_next_one_to_finish(play: Play) -> None:
    async def scenario(launchers: Launchers) -> None:
        launched = await launchers.start(STUBBORN)
        await launched.printed("engine")
        stopping = asyncio.ensure_future(launched.engine.stop(GRACE))
        await launched.printed("term")
        stopping.cancel()
        await asyncio.wait({stopping})
        assert not launched.engine.exited.done()
        assert (await launched.engine.stop(0)).escalated

    play(scenario)


@pytest.mark.parametrize("code", [0, 3])
def test_an_exit_nobody_asked_for(play: Play, code: int) -> None:
    async def scenario(launchers: Launchers) -> None:
        launched = await launchers.start(("sh", "-c", f"echo one; echo two >&2; exit {code}"))
        assert await launched.exit() == Exit(code, None, False, ("one", "two"))
        receipt = await launched.engine.stop(GRACE)
        assert (receipt.seconds, receipt.escalated) == (0, False)
        assert not launched.engine.exited.result().asked

    play(scenario)


def test_an_engine_killed_from_outside(play: Play) -> None:
    async def scenario(launchers: Launchers) -> None:
        launched = await launchers.start(DAEMON)
        daemon, process = await launched.printed("daemon"), await launched.printed("engine")
        os.kill(process, signal.SIGKILL)
        exit = await launched.exit()
        assert (exit.code, exit.signal, exit.asked) == (None, 9, False)
        assert not alive(daemon)

    play(scenario)


def test_a_killed_guard_is_an_exit(play: Play) -> None:
    async def scenario(launchers: Launchers) -> None:
        launched = await launchers.start(DAEMON)
        daemon, process = await launched.printed("daemon"), await launched.printed("engine")
        os.kill(parent(process), signal.SIGKILL)
        exit = await launched.exit()
        assert (exit.code, exit.signal, exit.asked) == (None, 9, False)
        assert not alive(daemon)
        assert not alive(process)

    play(scenario)


def test_a_guard_that_hangs_is_replaced(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "KILL_S", 0.1)

    async def scenario(launchers: Launchers) -> None:
        launched = await launchers.start(STUBBORN)
        process = await launched.printed("engine")
        os.kill(parent(process), signal.SIGSTOP)
        monkeypatch.setattr(child, "KILL_S", 0.5)
        try:
            await launched.engine.stop(0.05)
        except TimeoutError:  # slow machine: what was begun still completes
            await launched.exit()
        assert not alive(process)

    play(scenario)


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("/proc/missing/python", "No such file"),
        ("/etc/passwd", "Permission denied"),
        ("a\0b", "null"),
    ],
)
def test_what_cannot_be_executed(play: Play, program: str, reason: str) -> None:
    async def scenario(launchers: Launchers) -> None:
        with pytest.raises(LaunchError, match=f"test-0 could not be started.*{reason}"):
            await launchers.start((program,))

    play(scenario)


def test_a_python_that_cannot_run_the_guard(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(launchers: Launchers) -> None:
        monkeypatch.setattr(sys, "executable", "/bin/false")
        with pytest.raises(LaunchError, match="the guard could not run"):
            await launchers.start(SLEEPER)
        monkeypatch.setattr(sys, "executable", "/proc/missing")
        with pytest.raises(LaunchError, match="No such file"):
            await launchers.start(SLEEPER)

    play(scenario)


def test_a_cancelled_launch_leaves_nothing(play: Play) -> None:
    async def scenario(launchers: Launchers) -> None:
        launching = asyncio.ensure_future(launchers.start(STUBBORN))
        await asyncio.sleep(0)
        # Blocks the loop, so that the launch cannot get any further.
        wait_until(lambda: bool(mentioning(launchers.base)), "the guard to run")
        launching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await launching
        await asyncio.to_thread(
            wait_until, lambda: not mentioning(launchers.base), "nothing to be left"
        )

    play(scenario)


def test_close_ends_what_runs_and_what_starts(play: Play) -> None:
    async def scenario(launchers: Launchers) -> None:
        launcher = launchers.launcher()
        running = await Launched(launcher, STUBBORN).start()
        starting = asyncio.ensure_future(Launched(launcher, STUBBORN, "test-1").start())
        await asyncio.sleep(0)
        await launcher.close()
        assert running.engine.exited.result().asked
        assert not mentioning(launchers.base)
        assert not os.listdir(launchers.base)
        for result in await asyncio.gather(starting, return_exceptions=True):
            assert isinstance(result, (LaunchError, Launched))
        with pytest.raises(LaunchError, match="shutting down"):
            await Launched(launcher, SLEEPER).start()

    play(scenario)


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=LOOPS)
def test_a_loop_that_ends_without_close_kills_the_engines(
    base: Path, run: Callable[[Coroutine[Any, Any, None]], None]
) -> None:
    async def main() -> None:
        launcher = LocalLauncher(None, base, child_environment())
        await (await Launched(launcher, STUBBORN).start()).printed("engine")

    run(main())
    assert not mentioning(base)


GATEWAY = """
import asyncio, os, signal, sys
from pathlib import Path
from typing import Any
import uvloop
from backend.app.config import child_environment
from backend.app.engines.child import LocalLauncher
from backend.app.engines.launcher import EngineSpec
from tests.support.processes import DAEMON

base, loop, state = sys.argv[1:]

async def main():
    lines = asyncio.Queue()
    launcher = LocalLauncher(None, Path(base), child_environment())
    spec = EngineSpec("test-0", lambda _: DAEMON, {}, lines.put_nowait)
    launching = asyncio.ensure_future(launcher.launch(spec))
    await asyncio.sleep(0)
    if state == "launching":
        os.kill(os.getpid(), signal.SIGKILL)
    engine = await launching
    while state != "starting" and not (await lines.get()).startswith("engine"):
        pass
    if state == "stopping":
        stopping = asyncio.ensure_future(engine.stop(1000))
        while await lines.get() != "term":
            pass
    print("now", flush=True)
    await asyncio.sleep(1000)

(uvloop if loop == "uvloop" else asyncio).run(main())
"""


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("state", ["launching", "starting", "running", "stopping"])
def test_nothing_outlives_a_killed_gateway(base: Path, loop: str, state: str) -> None:
    command = [sys.executable, "-c", GATEWAY, str(base), loop, state]
    gateway = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert gateway.stdout
        assert gateway.stdout.readline() == (b"" if state == "launching" else b"now\n")
        if state in ("running", "stopping"):
            assert len(mentioning(base)) == 3  # guard, engine, daemon
    finally:
        gateway.kill()
        gateway.communicate()
    wait_until(lambda: not mentioning(base), "all processes to be gone", 5)
    wait_until(lambda: not os.listdir(base), "the directory to be gone", 5)
