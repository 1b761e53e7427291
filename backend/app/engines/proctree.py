"""Looking at an engine's processes from outside: what they use, what of them is left."""

from __future__ import annotations

import contextlib
import os
import signal

import psutil

MARKER = "SERVERTESTLLM_ENGINE"
"""Environment variable that every process of an engine inherits; its value names that engine."""


def members(process: int) -> frozenset[int]:
    """A process and all its descendants; empty when it is gone. Blocks for a few milliseconds."""
    try:
        root = psutil.Process(process)
        return frozenset({process, *(child.pid for child in root.children(recursive=True))})
    except psutil.NoSuchProcess:
        return frozenset()


def memory(process: int) -> int | None:
    """Bytes of a process and all its descendants, shared pages counted once; None when gone.

    Blocks for some milliseconds per process.
    """
    try:
        root = psutil.Process(process)
        tree = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return None
    total = 0
    for member in tree:
        with contextlib.suppress(psutil.NoSuchProcess):
            try:
                total += member.memory_full_info().pss
            except psutil.AccessDenied:
                total += member.memory_info().rss
    return total


def kill_leftovers(session: int, engine: str) -> bool:
    """SIGKILL what belongs to a session or carries an engine's marker. True if any was alive."""
    marker = f"{MARKER}={engine}".encode()
    found = False
    for entry in os.listdir("/proc"):
        if entry.isdigit() and _belongs(int(entry), session, marker):
            found = True
            with contextlib.suppress(OSError):
                os.kill(int(entry), signal.SIGKILL)
    return found


def _belongs(process: int, session: int, marker: bytes) -> bool:
    try:
        with open(f"/proc/{process}/stat", "rb") as file:
            # The name, in parentheses, may itself hold spaces and parentheses.
            fields = file.read().rpartition(b")")[2].split()
        if fields[0] in (b"Z", b"X"):  # dead, only not yet collected
            return False
        if int(fields[3]) == session:
            return True
        with open(f"/proc/{process}/environ", "rb") as file:
            return marker in file.read().split(b"\0")
    except OSError:  # it ended meanwhile, or is another user's
        return False
