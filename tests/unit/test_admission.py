"""Places and queue: whatever comes together, the count stays right and nobody is overtaken."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.app.errors import QueueFull, Unavailable
from backend.app.models.admission import Admission
from tests.support.loops import turns

QUEUE = 3
LONG_S = 60.0
STEPS = ("enter", "enter", "enter", "leave", "leave", "cancel", "refuse", "grow", "shrink")
BURSTS = st.lists(
    st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 7)), min_size=1, max_size=5),
    max_size=25,
)
"""The steps of one burst happen before the event loop turns."""


class Crowd:
    """Callers of one Admission: who has a place, who waits, who was turned away."""

    def __init__(self, limit: int) -> None:
        self.admission = Admission(limit, QUEUE)
        self.tasks: list[asyncio.Task[None]] = []
        self.inside: list[int] = []
        self.turned_away: set[int] = set()

    async def visit(self, number: int) -> None:
        try:
            await self.admission.enter(LONG_S)
        except (QueueFull, Unavailable):
            self.turned_away.add(number)
        else:
            self.inside.append(number)

    def waiting(self) -> list[int]:
        return [number for number, task in enumerate(self.tasks) if not task.done()]

    def step(self, action: str, which: int) -> None:
        admission, waiting = self.admission, self.waiting()
        if action == "enter":
            self.tasks.append(asyncio.ensure_future(self.visit(len(self.tasks))))
        elif action == "leave" and self.inside:
            self.inside.pop(which % len(self.inside))
            admission.leave()
        elif action == "cancel" and waiting:
            self.tasks[waiting[which % len(waiting)]].cancel()
        elif action == "refuse":
            admission.refuse_waiting(Unavailable("Gone."))
        elif action == "grow":
            admission.resize(admission.limit + 1 + which % 2)
        elif action == "shrink":
            admission.resize(max(1, admission.limit - 1 - which % 2))

    async def burst(self, steps: list[tuple[str, int]]) -> None:
        before, inside = self.waiting(), set(self.inside)
        for action, which in steps:
            self.step(action, which)
        await turns(5)
        self.check()
        after = self.waiting()
        if set(self.inside) - inside and "shrink" not in dict(steps):
            assert self.admission.taken <= self.admission.limit
        served = [n for n in before if n in self.inside]
        assert not served or max(served) < min([n for n in before if n in after], default=1 << 30)

    def check(self) -> None:
        admission = self.admission
        assert admission.taken == len(self.inside)
        assert admission.queued == len(self.waiting()) <= QUEUE
        assert not admission.queued or admission.taken >= admission.limit


@given(limit=st.integers(1, 3), bursts=BURSTS)
def test_any_order_of_coming_going_and_giving_up(
    limit: int, bursts: list[list[tuple[str, int]]]
) -> None:
    async def body() -> None:
        crowd = Crowd(limit)
        for steps in bursts:
            await crowd.burst(steps)
        while crowd.inside or crowd.waiting():
            await crowd.burst([("leave", 0)])
        assert crowd.admission.taken == crowd.admission.queued == 0
        assert all(task.cancelled() or task.exception() is None for task in crowd.tasks)

    asyncio.run(body())


def test_a_full_queue_refuses_at_once_and_says_when_to_come_back() -> None:
    async def body() -> None:
        admission = Admission(1, 1)
        await admission.enter(LONG_S)
        second = asyncio.ensure_future(admission.enter(LONG_S))
        await turns(1)
        with pytest.raises(QueueFull) as refused:
            await admission.enter(LONG_S)
        assert refused.value.retry_after
        assert (admission.taken, admission.queued) == (1, 1)
        second.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await second

    asyncio.run(body())


def test_a_place_given_to_somebody_who_just_gave_up_goes_to_the_next() -> None:
    async def body() -> None:
        admission = Admission(1, 2)
        await admission.enter(LONG_S)
        second, third = (asyncio.ensure_future(admission.enter(LONG_S)) for _ in range(2))
        await turns(1)
        admission.leave()
        second.cancel()
        await asyncio.wait_for(third, 5)
        assert second.cancelled()
        assert (admission.taken, admission.queued) == (1, 0)

    asyncio.run(body())


def test_those_who_wait_learn_why_they_are_turned_away() -> None:
    async def body() -> None:
        admission = Admission(1, 2)
        await admission.enter(LONG_S)
        waiting = [asyncio.ensure_future(admission.enter(LONG_S)) for _ in range(2)]
        await turns(1)
        admission.refuse_waiting(Unavailable("It was unloaded."))
        for result in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(result, Unavailable)
        assert (admission.taken, admission.queued) == (1, 0)

    asyncio.run(body())


def test_nobody_waits_for_ever() -> None:
    async def body() -> None:
        admission = Admission(1, 2)
        await admission.enter(LONG_S)
        patient = asyncio.ensure_future(admission.enter(LONG_S))
        await turns(1)
        with pytest.raises(QueueFull, match=r"within 0\.01 s: 1 requests are running") as refused:
            await admission.enter(0.01)
        assert refused.value.retry_after
        assert (admission.taken, admission.queued) == (1, 1)
        admission.leave()
        await asyncio.wait_for(patient, 5)
        assert (admission.taken, admission.queued) == (1, 0)

    asyncio.run(body())


def test_the_deadline_of_somebody_who_got_a_place_is_over() -> None:
    async def body() -> None:
        admission = Admission(1, 2)
        await admission.enter(LONG_S)
        second = asyncio.ensure_future(admission.enter(0.02))
        await turns(1)
        admission.leave()
        await second
        with pytest.raises(QueueFull):
            await admission.enter(0.05)  # longer than the other's deadline would have been
        assert (admission.taken, admission.queued) == (1, 0)

    asyncio.run(body())
