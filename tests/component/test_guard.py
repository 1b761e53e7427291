"""The guard as a program of its own: what it says and does on its lifeline."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from backend.app.engines import guard
from tests.support.processes import (
    DAEMON,
    PYTHON,
    SLEEPER,
    STUBBORN,
    alive,
    parent,
    short_directory,
    wait_until,
)


class Guarded:
    """A running guard; `said` waits for its next line, `printed` for the engine's."""

    def __init__(self, argv: Sequence[str], directory: Path) -> None:
        self.lifeline, theirs = socket.socketpair()
        self.lifeline.settimeout(20)
        with theirs:
            fd = theirs.fileno()
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-S", guard.__file__, str(fd), str(directory), "--", *argv],
                pass_fds=(fd,),
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                text=True,
            )

    def said(self) -> str:
        line = b""
        while not line.endswith(b"\n"):
            byte = self.lifeline.recv(1)
            if not byte:
                break
            line += byte
        return line.decode().strip()

    def printed(self, word: str) -> int:
        """The number behind `word`, which must be what the engine prints next."""
        assert self.process.stdout
        found, _, number = self.process.stdout.readline().partition(" ")
        assert found.strip() == word
        return int(number or 0)

    def close(self) -> None:
        self.lifeline.close()
        self.process.wait(20)
        assert self.process.stdout
        self.process.stdout.close()


Launch = Callable[[Sequence[str]], Guarded]


@pytest.fixture
def directory() -> Iterator[Path]:
    with short_directory() as base:
        path = base / "engine"
        path.mkdir()
        (path / "api.sock").touch()
        yield path
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def launch(directory: Path) -> Iterator[Launch]:
    """Start a guard over `directory`; its lifeline ends with the test at the latest."""
    with ExitStack() as stack:

        def start(argv: Sequence[str]) -> Guarded:
            guarded = Guarded(argv, directory)
            stack.callback(guarded.close)
            return guarded

        yield start


@pytest.fixture
def started(launch: Launch) -> Launch:
    """The same, and the engine runs."""

    def start(argv: Sequence[str]) -> Guarded:
        guarded = launch(argv)
        assert guarded.said().startswith("started ")
        return guarded

    return start


def test_an_obedient_engine_ends_by_sigterm(started: Launch, directory: Path) -> None:
    guarded = started(SLEEPER)
    engine = guarded.printed("engine")
    guarded.lifeline.send(b"T")
    assert guarded.said() == "exit - 15"
    assert not alive(engine)
    assert not directory.exists()


def test_sigterm_reaches_only_the_main_process(started: Launch) -> None:
    guarded = started(DAEMON)
    daemon, engine = guarded.printed("daemon"), guarded.printed("engine")
    guarded.lifeline.send(b"T")
    guarded.printed("term")
    assert alive(daemon)
    assert parent(daemon) == guarded.process.pid
    guarded.lifeline.send(b"K")
    assert guarded.said() == "exit - 9"
    assert not alive(daemon)
    assert not alive(engine)


@pytest.mark.parametrize("code", [0, 3])
def test_the_end_of_the_main_process_ends_its_daemons(started: Launch, code: int) -> None:
    program = DAEMON[-1].rpartition("while True")[0] + f"raise SystemExit({code})"
    guarded = started((*PYTHON, program))
    daemon = guarded.printed("daemon")
    assert guarded.said() == f"exit {code} -"
    assert not alive(daemon)


def test_end_of_lifeline_kills_everything_and_removes_the_directory(
    started: Launch, directory: Path
) -> None:
    guarded = started(DAEMON)
    daemon, engine = guarded.printed("daemon"), guarded.printed("engine")
    guarded.close()
    assert not alive(daemon)
    assert not alive(engine)
    assert not directory.exists()


def test_a_lifeline_that_ended_before_the_start(launch: Launch, directory: Path) -> None:
    guarded = launch(STUBBORN)
    guarded.close()
    assert not directory.exists()


def test_a_killed_guard_takes_the_engine_along(started: Launch) -> None:
    guarded = started(STUBBORN)
    engine = guarded.printed("engine")
    guarded.process.kill()
    wait_until(lambda: not alive(engine), "the engine to die")
    assert guarded.said() == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_guard_ignores_what_is_meant_for_the_gateway(started: Launch, number: int) -> None:
    guarded = started(STUBBORN)
    engine = guarded.printed("engine")
    os.kill(guarded.process.pid, number)
    guarded.lifeline.send(b"T")
    guarded.printed("term")
    assert alive(engine)


def test_an_engine_that_signals_its_group_does_not_hit_the_guard(started: Launch) -> None:
    guarded = started((*PYTHON, "import os; os.killpg(0, 9)"))
    assert guarded.said() == "exit - 9"


@pytest.mark.parametrize(
    ("program", "reason"),
    [("/proc/missing/python", "No such file"), ("/etc/passwd", "Permission denied")],
)
def test_what_cannot_be_executed_is_said(launch: Launch, program: str, reason: str) -> None:
    guarded = launch((program,))
    assert guarded.said().startswith(f"error {program}: {reason}")
    assert guarded.said() == ""


def test_the_engine_starts_with_clean_signals_and_descriptors(started: Launch) -> None:
    script = "grep -E 'SigBlk|SigIgn' /proc/self/status; ls /proc/self/fd; readlink /proc/self/fd/0"
    blocked = {signal.SIGTERM, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
    before = signal.signal(signal.SIGQUIT, signal.SIG_IGN)  # as a shell does with `&`
    try:
        guarded = started(("sh", "-c", script))
    finally:
        signal.signal(signal.SIGQUIT, before)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, blocked)
    assert guarded.said() == "exit 0 -"
    assert guarded.process.stdout
    printed = guarded.process.stdout.read().split()
    # 3 is the directory that ls itself reads
    assert printed == ["SigBlk:", "0" * 16, "SigIgn:", printed[3], *"0123", "/dev/null"]
    # what the C library keeps for itself (signals 32 to 34) is inherited and cannot be reset
    assert int(printed[3], 16) & ~(0b111 << 31) == 0


def test_a_fork_storm_is_killed(started: Launch) -> None:
    """Processes that keep replacing themselves are still all found."""
    program = """
import os, time
print("engine", os.getpid(), flush=True)
for _ in range(3):
    if os.fork() == 0:
        while True:
            os.setsid() if os.getsid(0) != os.getpid() else None
            if os.fork():
                os._exit(0)
            time.sleep(0.002)
time.sleep(1000)
"""
    guarded = started((*PYTHON, program))
    guarded.printed("engine")
    guarded.lifeline.send(b"K")
    assert guarded.said() == "exit - 9"  # said only when the guard has no child left
