"""The model's thread: one call at a time, in order, and none for those who left."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from backend.app.workers.pyannote_queue import QUEUED, ModelThread
from backend.app.workers.pyannote_types import Hook

DEADLINE_S = 20.0


async def until(reached: Callable[[], bool]) -> None:
    async def poll() -> None:
        while True:
            if reached():
                return
            await asyncio.sleep(0.001)

    await asyncio.wait_for(poll(), DEADLINE_S)


def silent(step: str, share: float) -> None:
    pass


def test_calls_are_answered_in_order_and_never_overlap() -> None:
    thread = ModelThread()
    running = []
    order = []

    def work(number: int) -> Callable[[Hook], int]:
        def run(hook: Hook) -> int:
            running.append(number)
            hook("x", 0.5)
            assert running == [number]
            running.remove(number)
            order.append(number)
            return number

        return run

    async def main() -> list[int]:
        called = await asyncio.gather(*(thread.call(work(i), silent) for i in range(20)))
        return [answer.result for answer in called]

    assert asyncio.run(main()) == order == list(range(20))


def test_reports_come_in_the_loop_and_what_waits_is_told_that_it_waits() -> None:
    thread = ModelThread()
    go = threading.Event()
    heard: list[tuple[str, str, float]] = []

    def busy(hook: Hook) -> None:
        hook("x", 0.25)
        go.wait(DEADLINE_S)
        hook("x", 1.0)

    def listen(name: str) -> Hook:
        def tell(step: str, share: float) -> None:
            assert threading.current_thread() is threading.main_thread()
            heard.append((name, step, share))

        return tell

    async def main() -> None:
        first = asyncio.ensure_future(thread.call(busy, listen("first")))
        await until(lambda: len(heard) == 1)
        second = asyncio.ensure_future(thread.call(lambda hook: hook("y", 1.0), listen("second")))
        await until(lambda: thread.queued == 1)
        assert len(heard) == 1  # as long as the model says nothing, nobody does
        go.set()
        called = await first
        await second
        assert called.model_s >= 0
        assert thread.queued == 0

    asyncio.run(main())
    assert heard == [
        ("first", "x", 0.25),
        ("first", "x", 1.0),
        ("second", QUEUED, 0.0),
        ("second", "y", 1.0),
    ]


def test_who_leaves_frees_the_thread_at_the_next_report() -> None:
    thread = ModelThread()
    go = threading.Event()
    reports = []

    def work(hook: Hook) -> None:
        for i in range(1000):
            hook("x", i / 1000)
            reports.append(i)
            go.wait(DEADLINE_S)

    async def main() -> None:
        leaving = asyncio.ensure_future(thread.call(work, silent))
        await until(lambda: bool(reports))
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        go.set()
        assert (await thread.call(lambda hook: "next", silent)).result == "next"

    asyncio.run(main())
    assert reports == [0]


def test_who_leaves_the_queue_is_never_served() -> None:
    thread = ModelThread()
    go = threading.Event()
    served = []

    async def main() -> None:
        first = asyncio.ensure_future(thread.call(lambda hook: go.wait(DEADLINE_S), silent))
        second = asyncio.ensure_future(thread.call(lambda hook: served.append(2), silent))
        await until(lambda: thread.queued == 1)
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        assert thread.queued == 0
        go.set()
        await first
        await thread.call(lambda hook: served.append(3), silent)

    asyncio.run(main())
    assert served == [3]


def test_what_the_model_raises_is_raised_and_the_next_call_works() -> None:
    thread = ModelThread()

    def fail(hook: Hook) -> None:
        raise KeyError("x")

    async def main() -> None:
        with pytest.raises(KeyError):
            await thread.call(fail, silent)
        await thread.call(lambda hook: None, silent)

    asyncio.run(main())
