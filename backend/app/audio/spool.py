"""Temporary files for uploads and decoded audio, under one budget for all requests.

A file here never has a name on disk for longer than it takes to remove it, so nothing survives,
not even a SIGKILL of the gateway. Its bytes are counted while it is open and given back on close.
What stays smaller than a slice waits in memory, and takes no descriptor until it is flushed.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from backend.app.config import ConfigError
from backend.app.errors import SpoolFull, too_many_files

SLICE_BYTES = 256 * 1024
"""Disk is touched in a thread, and in slices that are worth the thread's cost."""
RETRY_S = 30
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_T = TypeVar("_T")


def default_directory() -> Path:
    """Where recordings wait without SPOOL_DIR."""
    usual = Path("/var/tmp")
    return usual if os.access(usual, os.W_OK) else Path(tempfile.gettempdir())


class Spool:
    """A directory and a budget in bytes. For use by one event loop."""

    def __init__(self, directory: Path | None, budget: int) -> None:
        """`directory` None: /var/tmp, which is disk where /tmp is often memory.

        Raises ConfigError when no file can be made there.
        """
        self.directory = directory or default_directory()
        self.budget = budget
        self.used = 0
        try:
            os.close(_unnamed(self.directory))
        except OSError as exc:
            raise ConfigError(
                f"SPOOL_DIR={self.directory}: no file can be made there ({exc.strerror})."
            ) from None

    @contextlib.contextmanager
    def file(self) -> Iterator[SpoolFile]:
        """A new, empty file."""
        file = SpoolFile(self)
        try:
            yield file
        finally:
            file.close()

    @property
    def room_there_is(self) -> str:
        """The budget, for messages."""
        return f"{self.budget / (1 << 20):.4g} MiB"

    def take(self, size: int) -> None:
        if self.used + size > self.budget:
            raise SpoolFull(
                f"The room for uploads ({self.room_there_is} for all requests) is in use."
                " Try again later.",
                retry_after=RETRY_S,
            )
        self.used += size

    def give_back(self, size: int) -> None:
        self.used -= size


class SpoolFile:
    """Written by one task from front to back, then read by any."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._pending = bytearray()
        self._threads = 0
        self._closed = False
        self._fd: int | None = None
        self.size = 0

    @property
    def fd(self) -> int:
        """Of the file on disk, made when first asked for. Raises SpoolFull, NoRoom."""
        if self._fd is None:
            if self._closed:
                raise ValueError("the file is closed")
            with room():
                self._fd = _unnamed(self._spool.directory)
        return self._fd

    async def write(self, data: bytes | memoryview) -> None:
        """Append. Raises SpoolFull, NoRoom."""
        self.charge(self.size + len(data))
        self._pending += data
        if len(self._pending) >= SLICE_BYTES:
            await self.flush()

    async def flush(self) -> None:
        """Returns when everything written so far is in the file."""
        if self._pending:
            fd = self.fd
            data, self._pending = self._pending, bytearray()
            await self._in_thread(lambda: _write_all(fd, data))

    async def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from `offset`; empty at the end."""
        if self._fd is None:
            return bytes(self._pending[offset : offset + size])
        await self.flush()
        fd = self._fd
        return await self._in_thread(lambda: os.pread(fd, size, offset))

    async def slices(self, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """From `start` to `end` (default: the end of the file) in slices of SLICE_BYTES."""
        stop = self.size if end is None else end
        while start < stop:
            data = await self.read(start, min(SLICE_BYTES, stop - start))
            if not data:
                return
            start += len(data)
            yield data

    def charge(self, size: int) -> None:
        """Say that the file holds `size` bytes now, whoever wrote them. Raises SpoolFull."""
        if size > self._spool.budget:
            raise SpoolFull(
                "The file, or what it decodes to, is larger than all the room for uploads"
                f" ({self._spool.room_there_is}, SPOOL_MB).",
                permanent=True,
            )
        self._spool.take(size - self.size)
        self.size = size

    def close(self) -> None:
        """Idempotent."""
        if not self._closed:
            self._closed = True
            self._pending.clear()
            self._spool.give_back(self.size)
            self._close_when_idle()

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        """A thread goes on when its caller is cancelled, so the descriptor stays until it ends."""
        self._threads += 1
        future = asyncio.get_running_loop().run_in_executor(None, work)
        future.add_done_callback(self._thread_ended)
        with room():
            return await asyncio.shield(future)

    def _thread_ended(self, future: asyncio.Future[Any]) -> None:
        if not future.cancelled():
            future.exception()  # a cancelled caller will not look
        self._threads -= 1
        if self._closed:
            self._close_when_idle()

    def _close_when_idle(self) -> None:
        fd = self._fd
        if self._threads or fd is None:
            return
        self._fd = None
        if self.size > SLICE_BYTES:  # freeing its blocks takes a while
            with contextlib.suppress(RuntimeError):  # the loop is ending and takes no more work
                asyncio.get_running_loop().run_in_executor(None, os.close, fd)
                return
        os.close(fd)


@contextlib.contextmanager
def room() -> Iterator[None]:
    """A disk that is full becomes SpoolFull, and too many open files NoRoom."""
    try:
        yield
    except OSError as exc:
        if (refusal := too_many_files(exc)) is not None:
            raise refusal from None
        if exc.errno not in NO_ROOM:
            raise
        raise SpoolFull("The disk for uploads is full.", retry_after=RETRY_S) from None


def _unnamed(directory: Path) -> int:
    try:
        return os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        if exc.errno not in {errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL}:
            raise
    fd, name = tempfile.mkstemp(dir=directory)  # a file system that knows no nameless files
    os.unlink(name)
    return fd


def _write_all(fd: int, data: bytearray) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]
