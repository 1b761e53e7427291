"""Batching: bounds, turns, isolation and cancellation, with a recogniser that waits to be told."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.app.workers.batching import Batcher, Decoded, Limits, Ticket

DEADLINE_S = 10.0


class Recogniser:
    """Answers each item with its reverse. `hold` keeps it in a batch until told to go on."""

    def __init__(self, bad: Sequence[str] = ()) -> None:
        self.bad = frozenset(bad)
        self.batches: list[tuple[Hashable, list[str]]] = []
        self.entered = threading.Semaphore(0)
        self.go = threading.Semaphore(0)
        self.hold = False
        self.threads: set[int] = set()

    def __call__(self, key: Hashable, items: Sequence[str]) -> list[str]:
        self.threads.add(threading.get_ident())
        self.batches.append((key, list(items)))
        if self.hold:
            self.entered.release()
            assert self.go.acquire(timeout=DEADLINE_S)
        if self.bad & set(items):
            raise ValueError("bad item")
        return [item[::-1] for item in items]

    async def wait_entered(self) -> None:
        loop = asyncio.get_running_loop()
        assert await loop.run_in_executor(None, lambda: self.entered.acquire(timeout=DEADLINE_S))


Scenario = Callable[[Batcher[str, str], Recogniser], Coroutine[Any, Any, None]]


def run(scenario: Scenario, limits: Limits, bad: Sequence[str] = ()) -> Recogniser:
    recogniser = Recogniser(bad)

    async def main() -> None:
        async with Batcher[str, str](recogniser, limits) as batcher:
            await asyncio.wait_for(scenario(batcher, recogniser), DEADLINE_S)

    asyncio.run(main())
    return recogniser


def start(work: Coroutine[Any, Any, Decoded[str]]) -> asyncio.Task[Decoded[str]]:
    return asyncio.ensure_future(work)


async def queued(batcher: Batcher[str, str], count: int) -> None:
    while batcher.queued != count:  # noqa: ASYNC110 - the product has no event for it
        await asyncio.sleep(0)


async def texts(tasks: Sequence[Awaitable[Decoded[str]]]) -> list[str]:
    return [decoded.result for decoded in await asyncio.gather(*tasks)]


async def occupy(
    batcher: Batcher[str, str], recogniser: Recogniser
) -> tuple[Ticket[str, str], asyncio.Task[Decoded[str]]]:
    """The model is in a batch of one, and stays there."""
    recogniser.hold = True
    ticket = batcher.ticket()
    task = start(ticket.decode("k", "first", 1))
    await recogniser.wait_entered()
    return ticket, task


ITEMS = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from("ab"), st.floats(0.1, 40)), max_size=40
)


@given(ITEMS, st.integers(1, 8), st.floats(1, 200))
def test_everyone_gets_their_own_result_in_bounded_batches(
    items: list[tuple[int, str, float]], most: int, audio_s: float
) -> None:
    lengths: dict[str, float] = {}

    async def scenario(batcher: Batcher[str, str], recogniser: Recogniser) -> None:
        tickets = [batcher.ticket() for _ in range(6)]
        tasks = []
        for number, (who, key, length) in enumerate(items):
            name = f"{key}{who}-{number}"
            lengths[name] = length
            tasks.append(start(tickets[who].decode(key, name, length)))
        assert await texts(tasks) == [name[::-1] for name in lengths]

    found = run(scenario, Limits(most, audio_s, 0))
    for key, batch in found.batches:
        assert {name[0] for name in batch} == {key}
        assert len(batch) <= most
        assert len(batch) == 1 or len(batch) * max(lengths[n] for n in batch) <= audio_s
    assert sorted(name for _, batch in found.batches for name in batch) == sorted(lengths)
    assert len(found.threads) <= 1


@given(st.integers(1, 8), st.integers(1, 30), st.integers(0, 4))
def test_a_short_clip_waits_for_the_running_batch_only(
    most: int, backlog: int, others: int
) -> None:
    async def scenario(batcher: Batcher[str, str], recogniser: Recogniser) -> None:
        long, first = await occupy(batcher, recogniser)
        files = [long, *(batcher.ticket() for _ in range(others))]
        tasks = [
            start(file.decode("k", f"{i}-{n}", 40)) for n in range(backlog)
            for i, file in enumerate(files)
        ]  # fmt: skip
        await queued(batcher, backlog * len(files))
        # one batch of the backlog runs when the clip arrives
        recogniser.go.release()
        await recogniser.wait_entered()
        clip = start(batcher.ticket().decode("other", "clip", 5))
        await queued(batcher, batcher.queued + 1)
        recogniser.hold = False
        recogniser.go.release()
        await asyncio.gather(first, clip, *tasks)

    found = run(scenario, Limits(most, 1e9, 0))
    place = [batch for _, batch in found.batches].index(["clip"])
    waiting_before = others if most <= others else 0
    assert place - 2 <= waiting_before  # those who had waited longer and were not yet served


def test_turns_are_taken_when_a_batch_cannot_hold_all() -> None:
    async def scenario(batcher: Batcher[str, str], recogniser: Recogniser) -> None:
        _, first = await occupy(batcher, recogniser)
        tickets = [batcher.ticket() for _ in range(3)]
        tasks = [
            start(t.decode("k", f"{name}{n}", 1))
            for name, t in zip("xyz", tickets, strict=True) for n in range(2)
        ]  # fmt: skip
        await queued(batcher, 6)
        recogniser.hold = False
        recogniser.go.release()
        await asyncio.gather(first, *tasks)

    found = run(scenario, Limits(2, 1e9, 0))
    assert [batch for _, batch in found.batches[1:]] == [["x0", "y0"], ["z0", "x1"], ["y1", "z1"]]


def test_a_bad_item_fails_alone() -> None:
    async def scenario(batcher: Batcher[str, str], recogniser: Recogniser) -> None:
        _, first = await occupy(batcher, recogniser)
        ticket = batcher.ticket()
        names = [f"n{i}" for i in range(9)]
        tasks = [start(ticket.decode("k", name, 1)) for name in names]
        await queued(batcher, 9)
        recogniser.hold = False
        recogniser.go.release()
        results = await asyncio.gather(first, *tasks, return_exceptions=True)
        failed = [name for name, r in zip(names, results[1:], strict=True) if not is_ok(r)]
        assert failed == ["n3", "n7"]
        assert (await ticket.decode("k", "after", 1)).result == "retfa"

    def is_ok(result: object) -> bool:
        return isinstance(result, Decoded)

    run(scenario, Limits(16, 1e9, 0), bad=["n3", "n7"])


def test_what_a_closed_request_left_is_never_decoded() -> None:
    async def scenario(batcher: Batcher[str, str], recogniser: Recogniser) -> None:
        _, first = await occupy(batcher, recogniser)
        leaver, stayer = batcher.ticket(), batcher.ticket()
        left = [start(leaver.decode("k", f"left{n}", 1)) for n in range(3)]
        kept = start(stayer.decode("k", "kept", 1))
        await queued(batcher, 4)
        leaver.close()
        assert batcher.queued == 1
        recogniser.hold = False
        recogniser.go.release()
        assert await texts([first, kept]) == ["tsrif", "tpek"]
        assert all(isinstance(r, asyncio.CancelledError) for r in
                   await asyncio.gather(*left, return_exceptions=True))  # fmt: skip

    found = run(scenario, Limits(16, 1e9, 0))
    assert [batch for _, batch in found.batches] == [["first"], ["kept"]]


def test_a_cancelled_chunk_is_never_decoded() -> None:
    async def scenario(batcher: Batcher[str, str], recogniser: Recogniser) -> None:
        ticket, first = await occupy(batcher, recogniser)
        gone = start(ticket.decode("k", "gone", 1))
        await queued(batcher, 1)
        gone.cancel()
        await queued(batcher, 0)
        recogniser.hold = False
        recogniser.go.release()
        assert await texts([first, ticket.decode("k", "next", 1)]) == ["tsrif", "txen"]

    found = run(scenario, Limits(16, 1e9, 0))
    assert [batch for _, batch in found.batches] == [["first"], ["next"]]


def test_a_request_holds_no_more_than_its_share() -> None:
    async def scenario(batcher: Batcher[str, str], recogniser: Recogniser) -> None:
        async def is_blocked(work: asyncio.Future[None]) -> bool:
            await asyncio.sleep(0)
            return not work.done()

        ticket = batcher.ticket()
        for _ in range(8):  # twice a batch, while it is alone
            await ticket.acquire()
        ninth = asyncio.ensure_future(ticket.acquire())
        assert await is_blocked(ninth)
        ticket.release()
        await ninth
        other = batcher.ticket()
        for _ in range(4):
            await other.acquire()
        assert await is_blocked(asyncio.ensure_future(other.acquire()))
        for _ in range(4):
            ticket.release()
        fifth = asyncio.ensure_future(ticket.acquire())
        assert await is_blocked(fifth)
        other.close()
        await fifth

    run(scenario, Limits(4, 1e9, 0))


def test_an_idle_model_waits_for_those_who_are_there_but_not_for_ever() -> None:
    async def both(batcher: Batcher[str, str], recogniser: Recogniser) -> None:
        first = start(batcher.ticket().decode("k", "a", 1))
        two = batcher.ticket()
        await queued(batcher, 1)
        await asyncio.sleep(0)
        assert recogniser.batches == []
        await texts([first, start(two.decode("k", "b", 1))])
        assert recogniser.batches == [("k", ["a", "b"])]

    async def one_of_two(batcher: Batcher[str, str], recogniser: Recogniser) -> None:
        batcher.ticket()
        await lone_item(batcher)

    async def a_full_batch(batcher: Batcher[str, str], recogniser: Recogniser) -> None:
        batcher.ticket()
        ticket = batcher.ticket()
        await texts([start(ticket.decode("k", name, 1)) for name in "ab"])

    async def after_a_crowd(batcher: Batcher[str, str], recogniser: Recogniser) -> None:
        for ticket in [batcher.ticket(), batcher.ticket()]:
            ticket.close()
        first = start(batcher.ticket().decode("k", "a", 1))
        await queued(batcher, 1)
        await asyncio.sleep(0)
        assert recogniser.batches == []
        await texts([first, start(batcher.ticket().decode("k", "b", 1))])

    run(both, Limits(9, 1e9, wait_s=1000))
    run(after_a_crowd, Limits(9, 1e9, wait_s=1000))
    run(one_of_two, Limits(9, 1e9, wait_s=0.001))
    run(a_full_batch, Limits(2, 1e9, wait_s=1000))
    run(lambda batcher, _: lone_item(batcher), Limits(9, 1e9, wait_s=1000))


async def lone_item(batcher: Batcher[str, str]) -> None:
    assert (await batcher.ticket().decode("k", "a", 1)).result == "a"


def test_time_in_queue_and_model_is_told() -> None:
    async def scenario(batcher: Batcher[str, str], recogniser: Recogniser) -> None:
        ticket, first = await occupy(batcher, recogniser)
        second = start(ticket.decode("k", "b", 1))
        await queued(batcher, 1)
        recogniser.hold = False
        recogniser.go.release()
        done, later = await asyncio.gather(first, second)
        assert later.queue_s > 0
        assert done.model_s > 0

    run(scenario, Limits(2, 1e9, 0))


def test_leaving_the_batcher_cancels_what_waits() -> None:
    async def main() -> None:
        recogniser = Recogniser()
        async with Batcher[str, str](recogniser, Limits(wait_s=1000)) as batcher:
            batcher.ticket()
            task = start(batcher.ticket().decode("k", "a", 1))
            await queued(batcher, 1)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert recogniser.batches == []

    asyncio.run(asyncio.wait_for(main(), DEADLINE_S))
