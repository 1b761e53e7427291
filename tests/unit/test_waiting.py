"""A cancellation is never lost, in whichever moment it comes."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from backend.app.engines.launcher import Engine, Exit
from backend.app.engines.ready import wait_ready
from backend.app.waiting import end, within
from tests.support.loops import run_clean, turns
from tests.support.models import fake_model

MOMENTS = range(8)
"""So many turns of the event loop lie between what is awaited and the cancellation."""


async def cancel_after(moment: int, happen: Callable[[], None], work: Awaitable[Any]) -> None:
    """Cancel `work` so soon after `happen()`: either it had ended by then, or this ends it."""
    task = asyncio.ensure_future(work)
    await turns(5)
    happen()
    await turns(moment)
    ended = task.done()
    task.cancel()
    _, pending = await asyncio.wait({task}, timeout=2)
    assert not pending, "the cancellation was lost"
    assert ended or task.cancelled()


@pytest.mark.parametrize("moment", MOMENTS)
def test_within(moment: int) -> None:
    async def body() -> None:
        event = asyncio.Event()
        await cancel_after(moment, event.set, within(5, event.wait()))

    run_clean("asyncio", body)


@pytest.mark.parametrize("moment", MOMENTS)
def test_an_error_that_nobody_waits_for_any_more(moment: int) -> None:
    async def body() -> None:
        event = asyncio.Event()

        async def work() -> None:
            await event.wait()
            raise KeyError("unheard")

        async def wait() -> None:
            with contextlib.suppress(KeyError):
                await within(5, work())

        await cancel_after(moment, event.set, wait())
        gc.collect()  # this is when asyncio complains

    run_clean("asyncio", body)


@pytest.mark.parametrize("moment", MOMENTS)
def test_an_engine_that_is_awaited(moment: int) -> None:
    async def body() -> None:
        event = asyncio.Event()
        loop = asyncio.get_running_loop()
        exited: asyncio.Future[Exit] = loop.create_future()
        engine = cast(Engine, SimpleNamespace(exited=exited))

        async def not_yet() -> bool:
            return not await event.wait()

        await cancel_after(moment, event.set, wait_ready(engine, not_yet, 60))

    run_clean("asyncio", body)


def test_a_request_that_waits_for_a_model(tmp_path: Path) -> None:
    async def body() -> None:
        async with fake_model(tmp_path) as model:

            def change() -> None:
                model.update_runtime("changed")

            for moment in MOMENTS:
                await cancel_after(moment, change, model.until(lambda: False, 60))

    run_clean("asyncio", body)


def test_what_comes_in_time_comes_through() -> None:
    async def body() -> None:
        async def value() -> int:
            await turns(3)
            return 7

        async def error() -> int:
            await turns(3)
            raise KeyError("x")

        assert await within(5, value()) == 7
        assert await within(None, value()) == 7
        with pytest.raises(KeyError):
            await within(5, error())

    run_clean("asyncio", body)


def test_what_takes_too_long_is_cancelled_and_over() -> None:
    async def body() -> None:
        over: list[bool] = []

        async def stubborn() -> None:
            try:
                await asyncio.sleep(60)
            finally:
                await turns(3)
                over.append(True)

        with pytest.raises(asyncio.TimeoutError):
            await within(0.01, stubborn())
        assert over

    run_clean("asyncio", body)


def test_a_cancelled_work_cancels_who_waits_for_it() -> None:
    async def body() -> None:
        async def given_up() -> None:
            raise asyncio.CancelledError

        with pytest.raises(asyncio.CancelledError):
            await within(5, given_up())

    run_clean("asyncio", body)


@pytest.mark.parametrize("moment", MOMENTS[1:])  # after its first turn: it has begun
def test_end_waits_for_the_end_and_then_tells_of_its_own_cancellation(moment: int) -> None:
    async def body() -> None:
        held = True

        async def work() -> None:
            nonlocal held
            try:
                await asyncio.Event().wait()
            finally:
                await turns(4)
                held = False

        tasks = [asyncio.ensure_future(work()) for _ in range(2)]
        await turns(1)
        ending = asyncio.ensure_future(end(*tasks))
        await turns(moment)
        ended = ending.done()
        ending.cancel()
        await asyncio.wait({ending}, timeout=2)
        assert not held
        assert all(task.cancelled() for task in tasks)
        assert ending.cancelled() is not ended

    run_clean("asyncio", body)
