"""Waiting with a deadline, without losing a cancellation."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def within(seconds: float | None, work: Awaitable[T]) -> T:
    """What `work` gives. Raises asyncio.TimeoutError after `seconds`; then `work` is cancelled.

    Instead of `asyncio.wait_for`, which before Python 3.12 ignores a cancellation that comes in
    the moment in which the work ends: a loop around it then goes on for ever, and whoever
    cancelled it waits for ever. Here the cancellation wins and the result is lost.
    """
    task = asyncio.ensure_future(work)
    task.add_done_callback(_seen)
    try:
        await asyncio.wait({task}, timeout=seconds)
        if task.done():
            return task.result()
        raise asyncio.TimeoutError
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})


def _seen(task: asyncio.Future[T]) -> None:
    """Whoever was cancelled meanwhile does not look at an error; asyncio would complain."""
    if not task.cancelled():
        task.exception()
