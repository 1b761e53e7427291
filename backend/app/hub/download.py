"""Runs one download child under a guard and reads what it says.

The child dies with the gateway, whichever way that goes, and at once when its task is cancelled.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import shutil
import socket
import sys
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from backend.app.engines import guard
from backend.app.hub.errors import DownloadFailed
from backend.app.waiting import within
from backend.app.workers.hub_protocol import Done, Failed, Job, Message, Transfer, decode

log = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parents[3]
MODULE = "backend.app.workers.download"
SILENCE_S = 60.0
"""The child says something every two seconds; one that does not hangs, and is killed."""
KILL_S = 10.0
STDERR_LINES = 20
LINE_BYTES = 1 << 20


async def run(job: Job, env: Mapping[str, str], report: Callable[[Transfer], None]) -> Done:
    """Download what `job` wants. Raises DownloadFailed; cancelled, it kills the child first."""
    lines: deque[str] = deque(maxlen=STDERR_LINES)
    async with _child(job, env, lines) as child:
        while True:
            try:
                message = await within(SILENCE_S, anext(child.messages))
            except StopAsyncIteration:
                break
            except asyncio.TimeoutError:
                raise DownloadFailed(
                    "download_stalled",
                    f"The download said nothing for {SILENCE_S:.0f} s and was stopped. Does the"
                    f" disk of {job.cache_dir} answer?",
                ) from None
            if isinstance(message, Transfer):
                report(message)
            elif isinstance(message, Failed):
                _log(lines)
                raise DownloadFailed(message.code, message.message, message.url)
            else:
                return message
        how = await child.end()
    _log(lines)
    raise DownloadFailed(
        "download_failed",
        f"The download ended unexpectedly with {how}. Try again: it goes on from where it was.",
        last_words=tuple(lines),
    )


def environment(base: Mapping[str, str], cache_dir: str, *, xet: bool) -> dict[str, str]:
    """Of the child: proxies, HF_ENDPOINT and certificates pass; the token does not."""
    path = os.pathsep.join(part for part in (str(ROOT), base.get("PYTHONPATH")) if part)
    ours = {
        "PYTHONPATH": path,
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
        "HF_HUB_DISABLE_SHARED_BLOBS": "1",
        "HF_XET_CACHE": os.path.join(cache_dir, ".xet"),
    }
    return {**base, **ours} | ({} if xet else {"HF_HUB_DISABLE_XET": "1"})


class _Child(NamedTuple):
    messages: AsyncIterator[Message]
    guard: asyncio.subprocess.Process
    lifeline: socket.socket

    async def end(self) -> str:
        """How it ended, in words, once it says no more. Its guard's last line tells."""
        await asyncio.wait({asyncio.ensure_future(self.guard.wait())}, timeout=KILL_S)
        told = b""
        with contextlib.suppress(OSError):
            told = self.lifeline.recv(4096, socket.MSG_DONTWAIT)
        found = re.search(r"^exit (\S+) (\S+)$", told.decode(errors="replace"), re.MULTILINE)
        if found is None:
            return "its guard"
        code, number = found.groups()
        return f"exit code {code}" if number == "-" else f"signal {number}"


@contextlib.asynccontextmanager
async def _child(job: Job, env: Mapping[str, str], lines: deque[str]) -> AsyncIterator[_Child]:
    """The child. It is gone when the context ends."""
    scratch = tempfile.mkdtemp(prefix="stllm-download-")
    lifeline, theirs = socket.socketpair()
    try:
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", guard.__file__, str(theirs.fileno()), scratch),
                *("--", sys.executable, "-m", MODULE),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={**env, "TMPDIR": scratch, "HF_HOME": scratch},
                cwd=scratch,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                limit=LINE_BYTES,
            )
        assert process.stdin
        assert process.stdout
        assert process.stderr
        complaints = asyncio.ensure_future(_keep(process.stderr, lines))
        try:
            with contextlib.suppress(ConnectionError):
                process.stdin.write(msgspec.json.encode(job))
                await process.stdin.drain()
            process.stdin.close()
            yield _Child(_messages(process.stdout), process, lifeline)
        finally:
            lifeline.close()  # its guard kills it and all that it started
            await _gone(process)
            await asyncio.wait({complaints}, timeout=KILL_S)
            complaints.cancel()
    finally:
        lifeline.close()
        shutil.rmtree(scratch, ignore_errors=True)


async def _gone(process: asyncio.subprocess.Process) -> None:
    """Wait until a child is dead, through a second cancellation too."""
    waiting = asyncio.ensure_future(process.wait())
    deadline = asyncio.get_running_loop().time() + KILL_S
    cancelled = False
    while not waiting.done():
        left = deadline - asyncio.get_running_loop().time()
        if left <= 0:
            log.error("a download child does not end: it hangs inside the kernel")
            waiting.cancel()
            break
        try:
            await asyncio.wait({waiting}, timeout=left)
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        raise asyncio.CancelledError


async def _messages(stream: asyncio.StreamReader) -> AsyncIterator[Message]:
    async for line in stream:
        try:
            yield decode(line)
        except msgspec.DecodeError:
            log.warning("a download child said something else: %r", line[:200])


async def _keep(stream: asyncio.StreamReader, lines: deque[str]) -> None:
    async for line in stream:
        lines.append(line.decode(errors="replace").rstrip())


def _log(lines: deque[str]) -> None:
    if lines:
        log.warning("the download's last words:\n%s", "\n".join(lines))
