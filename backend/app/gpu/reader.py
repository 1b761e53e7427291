"""A fresh look at the GPUs, with a deadline whatever the driver does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from backend.app.gpu.probe import Reading


class Unreadable(Exception):
    """The GPUs could not be read; the message says why."""


class GPUReader:
    """One look at a time: what two callers see is never of the wrong order."""

    def __init__(self, read: Callable[[], Reading]) -> None:
        self._read = read
        self._running: asyncio.Future[Reading] | None = None

    async def fresh(self, timeout_s: float) -> Reading:
        """A reading that begins after this call. Raises Unreadable."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while (running := self._running) is not None and not running.done():
            await asyncio.wait({running}, timeout=max(0.0, deadline - loop.time()))
            if loop.time() >= deadline:
                raise Unreadable(f"The GPUs did not answer within {timeout_s:g} s.")
        self._running = running = asyncio.ensure_future(asyncio.to_thread(self._read))
        running.add_done_callback(_seen)
        await asyncio.wait({running}, timeout=max(0.0, deadline - loop.time()))
        if not running.done():
            raise Unreadable(f"The GPUs did not answer within {timeout_s:g} s.")
        try:
            return running.result()
        except asyncio.TimeoutError:
            raise Unreadable("The GPUs do not answer.") from None
        except Exception as exc:  # each library has error types of its own
            raise Unreadable(f"The GPUs cannot be read: {exc or type(exc).__name__}.") from exc


def _seen(reading: asyncio.Future[Reading]) -> None:
    """Whoever gave up does not look at an error; asyncio would complain."""
    if not reading.cancelled():
        reading.exception()
