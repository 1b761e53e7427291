"""What an engine prints: cut into lines, the last of them kept, all of it in a bounded file."""

from __future__ import annotations

import logging
import re
from collections import deque
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import BinaryIO

MAX_LINE = 8192
"""Bytes. What a line has beyond is dropped."""

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

    A disk that refuses costs the file, never the engine: that is logged once.
    """

    def __init__(self, path: Path, max_bytes: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._file: BinaryIO | None = None
        self._size = 0
        self._try(self._open)

    def write(self, lines: list[str]) -> None:
        if self._file is None or not lines:
            return
        data = "".join(line + "\n" for line in lines).encode("utf-8", "replace")
        self._try(lambda: self._write(data))

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("ab", buffering=0)
        self._size = self._file.tell()

    def _write(self, data: bytes) -> None:
        if self._size and self._size + len(data) > self._max_bytes:
            self.close()
            self._path.replace(self._path.with_name(self._path.name + ".1"))
            self._open()
        if self._file is not None:
            self._size += self._file.write(data)

    def _try(self, action: Callable[[], None]) -> None:
        try:
            action()
        except OSError as exc:
            logger.warning("Engine output is no longer written to %s: %s", self._path, exc)
            self.close()


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
