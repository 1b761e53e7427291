"""Waiting for a started engine: the first of its exit, a passed check, and a deadline."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from backend.app.engines.client import EngineClient
from backend.app.engines.launcher import Engine, Exit
from backend.app.errors import EngineError
from backend.app.waiting import within

CHECK_S = 5.0
"""How long one check may take; one that hangs is asked again."""


class EngineExited(Exception):
    """The engine ended before it was ready."""

    def __init__(self, exit: Exit) -> None:
        super().__init__(f"the engine ended before it was ready ({exit})")
        self.exit = exit


class ReadyTimeout(Exception):
    """The engine runs but did not become ready in time. It has not been stopped."""

    def __init__(self, deadline_s: float) -> None:
        super().__init__(f"the engine was not ready after {deadline_s:g} s")
        self.deadline_s = deadline_s


async def healthy(client: EngineClient) -> bool:
    """Whether the engine says that it is: every kind answers `GET /health`, with 200 when ready."""
    answer = await client.request("GET", "/health", head_timeout=CHECK_S)
    try:
        await answer.read(timeout=CHECK_S)
        return answer.status == 200
    finally:
        answer.close()


async def wait_ready(
    engine: Engine,
    check: Callable[[], Awaitable[bool]],
    deadline_s: float,
    interval_s: float = 0.1,
) -> None:
    """Return once `check` is true; it is asked again `interval_s` seconds after each answer.

    Raises EngineExited or ReadyTimeout. An OSError or EngineError from `check` means "not yet";
    any other exception is passed on.
    """
    polling = asyncio.ensure_future(_poll(check, interval_s))
    events: set[asyncio.Future[Any]] = {polling, engine.exited}
    try:
        await asyncio.wait(events, timeout=deadline_s, return_when=asyncio.FIRST_COMPLETED)
        if engine.exited.done():
            raise EngineExited(engine.exited.result())
        if not polling.done():
            raise ReadyTimeout(deadline_s)
        polling.result()
    finally:
        polling.cancel()
        await asyncio.gather(polling, return_exceptions=True)


async def _poll(check: Callable[[], Awaitable[bool]], interval_s: float) -> None:
    while True:
        with contextlib.suppress(OSError, asyncio.TimeoutError, EngineError):
            if await within(CHECK_S, check()):
                return
        await asyncio.sleep(interval_s)
