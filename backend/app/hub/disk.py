"""Asking the disk of the models, which may be a network's and not answer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

from backend.app.errors import Unavailable
from backend.app.waiting import aside

T = TypeVar("T")

ANSWER_S = 30.0
"""How long it may take."""
RETRY_S = 30.0
MOST_AT_ONCE = 64
"""Questions; each of those that a silent disk does not answer keeps a thread."""

_room = threading.BoundedSemaphore(MOST_AT_ONCE)


async def on_disk(call: Callable[[], T], seconds: float = ANSWER_S) -> T:
    """What a blocking call gives. Raises Unavailable when the disk does not answer in time."""

    def ask() -> T:
        try:
            return call()
        finally:
            _room.release()

    if not _room.acquire(blocking=False):
        raise _silent("any of those who asked before")
    try:
        return await aside(seconds, ask)
    except asyncio.TimeoutError:
        raise _silent(f"within {seconds:g} s") from None


def _silent(how: str) -> Unavailable:
    return Unavailable(
        f"The disk of the models did not answer {how}. Is it a network's, and is that there?",
        code="disk_silent",
        retry_after=RETRY_S,
    )
