"""Logging: stdout, a rotating file and a ring for the dashboard, with request ids and no secrets.

The thread that logs only makes the line, without secrets, and puts it into the ring and a bounded
queue; another thread writes. A disk that hangs costs lines, which are counted, never time.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import json
import logging
import re
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from logging.handlers import QueueHandler, QueueListener, RotatingFileHandler
from pathlib import Path
from queue import Full, Queue
from typing import Any

from pydantic import SecretStr

from backend.app.config import ConfigError, Settings, is_explicit, user_dir
from backend.app.redact import Redactor

QUEUE_LINES = 10_000
RING_LINES = 2_000
CLOSE_S = 5.0
"""How long `close` waits for a slow disk."""
LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
log = logging.getLogger(__name__)

current_request_id: ContextVar[str | None] = ContextVar("current_request_id", default=None)
"""Set by the middleware for the time of a request; every line logged meanwhile carries it."""

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True)
class Entry:
    """One line of the log. `at` is Unix time, `id` rises by one with each line."""

    id: int
    at: float
    level: str
    logger: str
    message: str
    request_id: str | None
    exception: str | None


class LogRing:
    """The newest lines, for `GET /api/admin/logs`."""

    def __init__(self, size: int = RING_LINES) -> None:
        self._entries: deque[Entry] = deque(maxlen=size)
        # From the clock: a reader that knows the ids of the gateway's last life sees the new lines.
        self._ids = itertools.count(time.time_ns() // 1_000)

    def append(self, record: logging.LogRecord) -> None:
        self._entries.append(
            Entry(
                next(self._ids),
                record.created,
                record.levelname.lower(),
                record.name,
                record.getMessage(),
                _id_of(record),
                record.exc_text,
            )
        )

    def entries(
        self,
        limit: int = 200,
        *,
        after: int = 0,
        level: str = "debug",
        contains: str = "",
        request_id: str | None = None,
    ) -> list[Entry]:
        """The newest `limit` lines after id `after`, at least as grave as `level`, oldest first."""
        least, wanted = LEVELS[level], contains.lower()
        matching = [
            entry
            for entry in self._entries.copy()
            if entry.id > after
            and LEVELS.get(entry.level, least) >= least
            and wanted in f"{entry.logger} {entry.message} {entry.exception or ''}".lower()
            and request_id in (None, entry.request_id)
        ]
        return matching[-limit:] if limit > 0 else []


class _Text(logging.Formatter):
    """`2026-11-23T17:50:36.123+00:00 INFO    backend.app.main [req_1] message`"""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds")
        # A client's text must not be able to forge a line of its own.
        message = _CONTROL.sub(lambda c: repr(c[0])[1:-1], record.getMessage())
        line = f"{at} {record.levelname:<7} {record.name} [{_id_of(record) or '-'}] {message}"
        if not record.exc_text:
            return line
        return "\n    ".join([line, *record.exc_text.splitlines()])


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds")
        line: dict[str, Any] = {
            "time": at,
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "request_id": _id_of(record),
        }
        if record.exc_text:
            line["exception"] = record.exc_text
        return json.dumps(line, ensure_ascii=False)


def _id_of(record: logging.LogRecord) -> str | None:
    return getattr(record, "request_id", None)


def _encodable(text: str) -> str:
    """File names and broken clients bring halves of surrogate pairs, which no file accepts."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


class _Front(QueueHandler):
    """Runs in the thread that logs: request id on, secrets out, into the ring and the queue."""

    queue: Queue[Any]

    def __init__(self, lines: Queue[Any], ring: LogRing, redactor: Redactor) -> None:
        super().__init__(lines)
        self.ring = ring
        self.redactor = redactor
        self.dropped = 0

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        line = copy.copy(record)
        line.msg, line.args = self.redactor(_encodable(record.getMessage())), None
        if record.exc_info and record.exc_info[0] is not None:
            text = "".join(traceback.format_exception(*record.exc_info)).rstrip()
            line.exc_text = self.redactor(_encodable(text))
        line.exc_info = line.stack_info = None
        line.request_id = current_request_id.get()
        self.ring.append(line)
        return line

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self.queue.put_nowait(record)
        except Full:
            self.dropped += 1
            return
        if self.dropped:
            lost, self.dropped = self.dropped, 0
            log.warning("%d log lines were dropped because the disk was too slow.", lost)


class _Listener(QueueListener):
    """Unlike its base, it stops within a deadline when a handler hangs or the queue is full."""

    queue: Queue[Any]
    _thread: threading.Thread | None

    def stop(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            with contextlib.suppress(Full):
                self.queue.put(None, timeout=CLOSE_S)
            thread.join(CLOSE_S)
            if thread.is_alive():
                return  # it holds the lock of a handler that hangs
        for handler in self.handlers:
            with contextlib.suppress(OSError):  # what a full disk did not take is lost
                handler.close()


class _SaysItOnce(logging.Handler):
    """A full disk or a closed pipe is told once on stderr, not with a traceback for each line."""

    complained = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the base's name
        if not self.complained:
            self.complained = True
            print(f"Log lines are lost, {self}: {sys.exc_info()[1]}", file=sys.stderr)


class _Stdout(_SaysItOnce, logging.StreamHandler):  # type: ignore[type-arg]
    pass


class _File(_SaysItOnce, RotatingFileHandler):
    pass


@dataclass
class LogSetup:
    """What `setup` made. `path` is the log file, or None when there is nowhere to write one."""

    ring: LogRing
    redactor: Redactor
    path: Path | None
    _front: _Front
    _listener: _Listener
    _level_before: int

    def close(self) -> None:
        """Write what is queued, then put the root logger back as it was. Idempotent."""
        root = logging.getLogger()
        if self._front not in root.handlers:
            return
        root.removeHandler(self._front)
        root.setLevel(self._level_before)
        self._listener.stop()


def setup(settings: Settings, *, ring_lines: int = RING_LINES) -> LogSetup:
    """Send everything logged in this process, uvicorn's lines too, where the settings say.

    Raises ConfigError when a directory that was set explicitly cannot be written; the default one
    gives way to a user directory, and that is logged.
    """
    path, remark = _log_file(settings)
    formatter = _Json() if settings.log_format == "json" else _Text()
    handlers: list[logging.Handler] = [_Stdout(sys.stdout)]
    if path is not None:
        handlers.append(
            _File(path, "a", settings.log_max_bytes, settings.log_backup_count, "utf-8", delay=True)
        )
    for handler in handlers:
        handler.setFormatter(formatter)

    lines: Queue[Any] = Queue(QUEUE_LINES)
    front = _Front(lines, LogRing(ring_lines), Redactor(_secrets(settings)))
    listener = _Listener(lines, *handlers)
    root = logging.getLogger()
    made = LogSetup(front.ring, front.redactor, path, front, listener, root.level)
    listener.start()
    root.addHandler(front)
    root.setLevel(LEVELS[settings.log_level])
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    if remark:
        log.warning("%s", remark)
    return made


def _secrets(settings: Settings) -> Iterable[str]:
    keys: tuple[SecretStr, ...] = (*settings.openai_api_keys, *settings.admin_api_keys)
    for key in keys:
        yield key.get_secret_value()
        yield key.get_secret_value().partition(":")[2]
    if settings.huggingface_token is not None:
        yield settings.huggingface_token.get_secret_value()


def _log_file(settings: Settings) -> tuple[Path | None, str]:
    """The file to log into, and what is to be said when it is not the one that was wanted."""
    wanted = settings.log_dir / settings.log_file_name
    problem = _problem(wanted)
    if problem is None:
        return wanted, ""
    if is_explicit(settings, "log_dir"):
        raise ConfigError(
            f"LOG_DIR={settings.log_dir}: {wanted} cannot be written ({problem}). "
            "Give the gateway's user the right to write there, or choose another directory."
        )
    fallback = user_dir("state") / settings.log_file_name
    second = _problem(fallback)
    if second is None:
        return fallback, f"{wanted} cannot be written ({problem}): logging to {fallback}."
    return None, (
        f"Logging to stdout only: neither {wanted} ({problem}) nor {fallback} ({second}) "
        "can be written."
    )


def _problem(path: Path) -> str | None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8"):
            return None
    except OSError as exc:
        return exc.strerror or str(exc)
