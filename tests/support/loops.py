"""Run a coroutine on asyncio's own loop or on uvloop, and fail when it leaves anything behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import uvloop

LOOPS = ("asyncio", "uvloop")
DEADLINE_S = 60.0
"""pytest's own timeout is a signal, which does not end a coroutine that hangs on uvloop."""


def run_clean(loop: str, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Fails on an exception in a callback of the loop and on a task that is still there."""

    async def checked() -> None:
        escaped: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, what: escaped.append(what))
        await asyncio.wait_for(main(), DEADLINE_S)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if others:
            await asyncio.wait(others, timeout=5)
        assert not [task for task in others if not task.done()]
        assert not escaped

    if loop == "uvloop":
        uvloop.run(checked())
    else:
        asyncio.run(checked())


async def turns(count: int) -> None:
    """Let the event loop turn so often."""
    for _ in range(count):
        await asyncio.sleep(0)
