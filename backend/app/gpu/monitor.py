"""GPUMonitor: samples GPUs and machine off the event loop, remembers five minutes of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from backend.app.gpu.probe import Reading

log = logging.getLogger(__name__)

INTERVAL_S = 2.0
HISTORY_S = 300
STALE_S = 10.0
"""A driver that hangs keeps the last sample on the screen: after so long it is marked."""


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
    """One look at everything. `at` is Unix time."""

    at: float
    reading: Reading
    system: System


def look(read: Callable[[], Reading], disk: Path) -> Sample:
    """Take a sample. Blocking."""
    memory = psutil.virtual_memory()
    usage = None
    with contextlib.suppress(OSError):
        usage = psutil.disk_usage(str(disk))
    system = System(
        cpu_percent=psutil.cpu_percent(),
        memory_total=memory.total,
        memory_used=memory.total - memory.available,
        disk_total=usage.total if usage else None,
        disk_free=usage.free if usage else None,
    )
    return Sample(time.time(), read(), system)


class GPUMonitor:
    """Shared by status, placement and dashboard. `on_sample` is called in the event loop."""

    def __init__(
        self,
        read: Callable[[], Reading],
        disk: Path,
        on_sample: Callable[[Sample], None] = lambda sample: None,
    ) -> None:
        self._read = read
        self._disk = disk
        self._on_sample = on_sample
        self._said: set[str] = set()
        self._task: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        self.history: deque[Sample] = deque(maxlen=int(HISTORY_S / INTERVAL_S))

    @property
    def latest(self) -> Sample | None:
        return self.history[-1] if self.history else None

    @property
    def stale(self) -> bool:
        """The newest sample is so old that the driver is most likely hanging."""
        return self.latest is None or time.time() - self.latest.at > STALE_S

    def begin(self) -> None:
        """Start sampling. Needs a running loop."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="gpu monitor")

    async def close(self) -> None:
        """Stop sampling."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def sample(self) -> Sample:
        """A fresh look, at most one at a time. As slow as the driver."""
        async with self._turn:
            taken = await asyncio.to_thread(look, self._read, self._disk)
        self._say_once(taken.reading)
        self.history.append(taken)
        self._on_sample(taken)
        return taken

    async def _run(self) -> None:
        while True:
            try:
                await self.sample()
            except Exception:
                log.exception("the machine could not be sampled")
            await asyncio.sleep(INTERVAL_S)

    def _say_once(self, reading: Reading) -> None:
        for problem in reading.problems:
            if problem not in self._said:
                self._said.add(problem)
                log.warning("GPU probe unavailable: %s", problem)
        used = f"GPUs are read by {reading.probe}: {len(reading.gpus)} visible"
        if used not in self._said:
            self._said.add(used)
            log.info("%s", used)
