"""Small programs that play an engine, and a look at which processes are left of them."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PYTHON = (sys.executable, "-I", "-S", "-c")

SLEEPER = (*PYTHON, "import os, time; print('engine', os.getpid(), flush=True); time.sleep(1000)")
"""Obeys SIGTERM."""

STUBBORN = (
    *PYTHON,
    """
import os, signal, time
signal.signal(signal.SIGTERM, lambda *_: os.write(1, b"term\\n"))
print("engine", os.getpid(), flush=True)
while True:
    time.sleep(1000)
""",
)
"""Prints `term` for each SIGTERM and stays."""

DAEMON = (
    *PYTHON,
    """
import os, signal, time
signal.signal(signal.SIGTERM, lambda *_: os.write(1, b"term\\n"))
here, there = os.pipe()
if os.fork() == 0:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.setsid()
    if os.fork() == 0:
        print("daemon", os.getpid(), flush=True)
        os.write(there, b"!")
        time.sleep(1000)
    os._exit(0)
os.wait()
os.read(here, 1)
print("engine", os.getpid(), flush=True)
while True:
    time.sleep(1000)
""",
)
"""Like STUBBORN, with a grandchild that left the session and the process tree.

Prints `daemon`, then `engine`, each with its process id.
"""


@contextmanager
def short_directory() -> Iterator[Path]:
    """A directory with a path short enough for sockets. Must be left empty."""
    path = Path(tempfile.mkdtemp(prefix="t-", dir="/tmp"))
    try:
        yield path
        wait_until(lambda: not list(path.iterdir()), f"{path} to be empty")
    finally:
        shutil.rmtree(path, ignore_errors=True)


def wait_until(condition: Callable[[], bool], what: str, timeout: float = 5) -> None:
    """Poll; AssertionError when it takes longer than `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout} s for {what}"
        time.sleep(0.01)


def state(process: int) -> str:
    """The letter of /proc, `Z` for a zombie; `-` when there is no such process."""
    try:
        with open(f"/proc/{process}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0].decode()
    except OSError:
        return "-"


def alive(process: int) -> bool:
    return state(process) not in "-ZX"


def mentioning(text: Path) -> list[int]:
    """Living processes whose environment holds `text`: all that was started for a directory."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and alive(int(entry)):
            with contextlib.suppress(OSError), open(f"/proc/{entry}/environ", "rb") as file:
                if os.fsencode(text) in file.read():
                    found.append(int(entry))
    return found


def parent(process: int) -> int:
    with open(f"/proc/{process}/stat", "rb") as file:
        return int(file.read().rpartition(b")")[2].split()[1])
