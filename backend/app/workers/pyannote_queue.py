"""The one thread in which the model is called, and those who wait for it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from .pyannote_types import Hook

Result = TypeVar("Result")

QUEUED = "queued"


class Left(Exception):
    """Whoever asked has gone."""


@dataclass(frozen=True)
class Called(Generic[Result]):
    """A result and what it took, in seconds."""

    result: Result
    queue_s: float
    model_s: float


class ModelThread:
    """Calls in the order in which they were asked for, never two at a time. For one event loop."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._waiting: dict[object, Hook] = {}

    @property
    def queued(self) -> int:
        return len(self._waiting)

    async def call(self, work: Callable[[Hook], Result], tell: Hook) -> Called[Result]:
        """`work` in the model's thread; cancelled, it ends at its next report.

        `tell` is called in the event loop with each report, and before, while others are served,
        with QUEUED. Others' reports are what it is told of: a model that hangs makes all silent.
        """
        loop = asyncio.get_running_loop()
        place = object()
        gone = threading.Event()
        asked = time.monotonic()

        def report(step: str, share: float) -> None:
            if gone.is_set():
                raise Left
            loop.call_soon_threadsafe(self._moved, tell, step, share)

        def run() -> Called[Result]:
            loop.call_soon_threadsafe(self._waiting.pop, place, None)
            began = time.monotonic()
            result = work(report)
            return Called(result, began - asked, time.monotonic() - began)

        self._waiting[place] = tell
        try:
            return await loop.run_in_executor(self._pool, run)
        finally:
            gone.set()
            self._waiting.pop(place, None)

    def _moved(self, tell: Hook, step: str, share: float) -> None:
        tell(step, share)
        for waiting in self._waiting.values():
            waiting(QUEUED, 0.0)
