"""What an engine prints: cut into lines, the last of them kept, all of it in a bounded file."""

from __future__ import annotations

import contextlib
import logging
import re
import threading
from collections import deque
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from queue import Full, Queue
from typing import BinaryIO

MAX_LINE = 8192
"""Bytes. What a line has beyond is dropped."""
MOST_WAITING = 200
"""Pieces of output, of at most 64 KiB, that wait for the disk."""
CLOSE_S = 1.0
"""How long the end of an engine's output waits for the disk."""

_BREAK = re.compile(rb"\r\n|\r|\n")

logger = logging.getLogger(__name__)


class LineSplitter:
    """Bytes in, lines out. Never holds more than one line of `MAX_LINE` bytes.

    A carriage return ends a line too, so each step of a progress bar is one. What follows a
    carriage return is handed out at the end of its chunk: a bar is drawn in one write, and the
    return that would end it comes only with the next step.
    """

    def __init__(self) -> None:
        self._partial = b""
        self._in_bar = False

    def feed(self, chunk: bytes) -> list[str]:
        lines: list[str] = []
        start = 0
        for match in _BREAK.finditer(chunk):
            self._extend(chunk[start : match.start()])
            # Neither a return on an empty line nor the end of a line handed out already is one.
            if self._partial or (match.group() != b"\r" and not self._in_bar):
                lines.append(self._take())
            self._in_bar = match.group() == b"\r"
            start = match.end()
        self._extend(chunk[start:])
        if self._in_bar:
            lines += self.flush()
        return lines

    def flush(self) -> list[str]:
        """The last line, when it had no end."""
        return [self._take()] if self._partial else []

    def _extend(self, part: bytes) -> None:
        self._partial += part[: MAX_LINE - len(self._partial)]

    def _take(self) -> str:
        line = self._partial.decode("utf-8", "replace")
        self._partial = b""
        return line


class LogFile:
    """A file of at most `max_bytes`, continued by later engines of the same name; one backup.

    A thread of its own writes it. A disk that refuses costs the file, one that hangs costs lines;
    neither costs the engine or the event loop anything, and both are logged.
    """

    def __init__(self, path: Path, max_bytes: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._size = 0
        self._waiting: Queue[list[str] | None] = Queue(MOST_WAITING)
        self._lost = 0
        self._closed = False
        self._writer = threading.Thread(target=self._run, name=f"log {path.name}", daemon=True)
        self._writer.start()

    def write(self, lines: list[str]) -> None:
        if not lines or self._closed:
            return
        try:
            self._waiting.put_nowait(lines)
        except Full:
            self._lost += len(lines)

    def close(self) -> None:
        """No more will come."""
        self._closed = True
        with contextlib.suppress(Full):  # then the writer sees that it is closed
            self._waiting.put_nowait(None)

    def written(self) -> None:
        """Blocking: returns when all of it is written, or the disk is too slow for that."""
        self._writer.join(CLOSE_S)

    def _run(self) -> None:
        try:
            with contextlib.ExitStack() as files:
                file = self._open(files)
                while (lines := self._waiting.get()) is not None:
                    file = self._write(files, file, lines)
                    self._say_lost()
                    if self._closed and self._waiting.empty():
                        return
        except OSError as exc:
            self._closed = True
            logger.warning("Engine output is no longer written to %s: %s", self._path, exc)

    def _open(self, files: contextlib.ExitStack) -> BinaryIO:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = files.enter_context(self._path.open("ab", buffering=0))
        self._size = self._path.stat().st_size
        return file

    def _write(self, files: contextlib.ExitStack, file: BinaryIO, lines: list[str]) -> BinaryIO:
        data = "".join(line + "\n" for line in lines).encode("utf-8", "replace")
        if self._size and self._size + len(data) > self._max_bytes:
            files.close()
            self._path.replace(self._path.with_name(self._path.name + ".1"))
            file = self._open(files)
        self._size += file.write(data)
        return file

    def _say_lost(self) -> None:
        if self._lost:
            lost, self._lost = self._lost, 0
            logger.warning("%d lines are missing in %s: the disk is too slow", lost, self._path)


class EngineLog:
    """Takes an engine's raw output: keeps its last `size` lines, files all, tells `on_line`.

    `redact` takes the secrets out of each line before anyone sees it.
    """

    def __init__(
        self,
        size: int,
        file: LogFile | None,
        on_line: Callable[[str], None] | None,
        redact: Callable[[str], str] = str,
    ) -> None:
        self._redact = redact
        self._lines: deque[str] = deque(maxlen=size)
        self._splitter = LineSplitter()
        self._file = file
        self._on_line = on_line

    def feed(self, chunk: bytes) -> None:
        self._take(self._splitter.feed(chunk))

    def close(self) -> None:
        """No more output will come; what was kept stays."""
        self._take(self._splitter.flush())
        if self._file is not None:
            self._file.close()

    def written(self) -> None:
        """Blocking: returns when the file has all of it, or its disk is too slow for that."""
        if self._file is not None:
            self._file.written()

    def tail(self, lines: int) -> list[str]:
        return list(islice(self._lines, max(0, len(self._lines) - max(0, lines)), None))

    def _take(self, lines: list[str]) -> None:
        lines = [self._redact(line) for line in lines]
        self._lines.extend(lines)
        if self._file is not None:
            self._file.write(lines)
        if self._on_line is None:
            return
        for line in lines:
            try:
                self._on_line(line)
            except Exception:
                logger.exception("A listener failed on a line of an engine's output")
