"""GPUMonitor: samples GPUs and machine off the event loop, remembers five minutes of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from backend.app.gpu.probe import Reading
from backend.app.waiting import Bounded

log = logging.getLogger(__name__)

INTERVAL_S = 2.0
HISTORY_S = 300
STALE_S = 10.0
"""A driver that hangs keeps the last sample on the screen: after so long it is marked."""
DISK_S = 2.0
"""How long the disk of the cache may take; it may be a network's."""
SILENT = "The driver does not answer: GPUs are shown as they were"


@dataclass(frozen=True)
class System:
    """The machine beside its GPUs. Bytes and percent; the disk is the model cache's."""

    cpu_percent: float
    memory_total: int
    memory_used: int
    disk_total: int | None
    disk_free: int | None


@dataclass(frozen=True)
class Sample:
    """One look at everything. Times are Unix time."""

    at: float
    reading: Reading
    system: System
    read_at: float
    """When the GPUs were read: earlier than `at` while their driver hangs."""


class GPUMonitor:
    """Shared by status, placement and dashboard. `on_sample` is called in the event loop.

    `read` looks at the GPUs, blocking, and raises asyncio.TimeoutError when the driver hangs.
    """

    def __init__(
        self,
        read: Callable[[], Reading],
        disk: Path,
        on_sample: Callable[[Sample], None] = lambda sample: None,
    ) -> None:
        self._read = read
        self._disk_usage = Bounded(lambda: psutil.disk_usage(str(disk)), DISK_S)
        self._on_sample = on_sample
        self._problems: frozenset[str] = frozenset()
        self._probe = ""
        self._broken = False
        self._task: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        self.history: deque[Sample] = deque(maxlen=int(HISTORY_S / INTERVAL_S))

    @property
    def latest(self) -> Sample | None:
        return self.history[-1] if self.history else None

    @property
    def stale(self) -> bool:
        """The GPUs were read so long ago that their driver is most likely hanging."""
        return self.latest is None or time.time() - self.latest.read_at > STALE_S

    def begin(self) -> None:
        """Start sampling. Needs a running loop."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="gpu monitor")

    async def close(self) -> None:
        """Stop sampling."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def sample(self) -> Sample:
        """A fresh look, at most one at a time. A driver that hangs leaves the GPUs as they were."""
        async with self._turn:
            taken = await asyncio.to_thread(self._look)
        self._say_changes(taken.reading)
        self.history.append(taken)
        self._on_sample(taken)
        return taken

    def _look(self) -> Sample:
        """Blocking, for a bounded time."""
        try:
            reading, read_at = self._read(), time.time()
        except asyncio.TimeoutError:
            before = self.latest
            known = before.reading if before else Reading("none", ())
            read_at = before.read_at if before else 0.0
            others = tuple(problem for problem in known.problems if problem != SILENT)
            reading = replace(known, problems=(*others, SILENT))
        memory = psutil.virtual_memory()
        usage = None
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            usage = self._disk_usage()
        system = System(
            cpu_percent=psutil.cpu_percent(),
            memory_total=memory.total,
            memory_used=memory.total - memory.available,
            disk_total=usage.total if usage else None,
            disk_free=usage.free if usage else None,
        )
        return Sample(time.time(), reading, system, read_at)

    async def _run(self) -> None:
        while True:
            try:
                await self.sample()
                self._broken = False
            except Exception:
                if not self._broken:
                    log.exception("the machine could not be sampled")
                self._broken = True
            await asyncio.sleep(INTERVAL_S)

    def _say_changes(self, reading: Reading) -> None:
        """Each problem once while it lasts, and which probe is used."""
        problems = frozenset(reading.problems)
        for problem in reading.problems:
            if problem not in self._problems:
                log.warning("GPU probe: %s", problem)
        for problem in sorted(self._problems - problems):
            log.info("GPU probe: no longer: %s", problem)
        used = f"GPUs are read by {reading.probe}: {len(reading.gpus)} visible"
        if used != self._probe:
            log.info("%s", used)
        self._problems, self._probe = problems, used
