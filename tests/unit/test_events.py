from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from backend.app.events import KEEP_ALIVE, SNAPSHOT, Event, EventBus


class Counter:
    """A state of which every event tells a change, so that a reader can be checked against it."""

    def __init__(self, history: int = 1_000) -> None:
        self.value = 0
        self.bus = EventBus(lambda: {"value": self.value}, history=history)

    def add(self, number: int = 1) -> None:
        self.value += number
        self.bus.publish("added", {"number": number})


class Reader:
    """Knows the counter's value from what the bus told it alone."""

    def __init__(self) -> None:
        self.value: int | None = None
        self.seen: list[str] = []
        self.last_id: int | None = None

    def take(self, event: Event) -> None:
        assert self.last_id is None or event.kind == SNAPSHOT or event.id == self.last_id + 1
        self.last_id = event.id
        self.seen.append(event.kind)
        if event.kind == SNAPSHOT:
            self.value = event.data["value"]
        else:
            assert self.value is not None
            self.value += event.data["number"]


async def soon(events: AsyncIterator[Any]) -> Any:
    return await asyncio.wait_for(events.__anext__(), 10)


def test_a_snapshot_comes_first_then_each_delta() -> None:
    async def scenario() -> None:
        counter, reader = Counter(), Reader()
        counter.add(5)
        events = counter.bus.subscribe()
        reader.take(await soon(events))
        assert (reader.seen, reader.value) == ([SNAPSHOT], 5)
        waiting = asyncio.create_task(soon(events))
        await asyncio.sleep(0)
        counter.add(2)
        counter.add(3)
        reader.take(await waiting)
        reader.take(await soon(events))
        assert (reader.seen, reader.value) == ([SNAPSHOT, "added", "added"], 10)

    asyncio.run(scenario())


def test_a_reader_that_comes_back_resumes_where_it_was() -> None:
    async def scenario() -> None:
        counter = Counter()
        first = await soon(counter.bus.subscribe())
        for _ in range(3):
            counter.add()
        events = counter.bus.subscribe(first.id)
        assert [(await soon(events)).id - first.id for _ in range(3)] == [1, 2, 3]
        # up to date already: nothing until something happens
        late = counter.bus.subscribe(counter.bus.last_id)
        waiting = asyncio.create_task(soon(late))
        await asyncio.sleep(0)
        assert not waiting.done()
        counter.add()
        assert (await waiting).kind == "added"

    asyncio.run(scenario())


def test_an_id_that_history_does_not_reach_gets_a_snapshot() -> None:
    async def scenario() -> None:
        counter = Counter(history=4)
        start = counter.bus.last_id
        for _ in range(10):
            counter.add()
        for unknown in (0, -7, start, start + 5, counter.bus.last_id + 1, 2**60):
            event = await soon(counter.bus.subscribe(unknown))
            assert (event.kind, event.id) == (SNAPSHOT, counter.bus.last_id)
        assert (await soon(counter.bus.subscribe(start + 6))).id == start + 7

    asyncio.run(scenario())


def test_ids_rise_over_a_restart() -> None:
    first, second = Counter(), Counter()
    assert second.bus.last_id >= first.bus.last_id > 1_000_000_000_000


def test_a_slow_reader_is_resynchronised_and_costs_no_memory() -> None:
    async def scenario() -> None:
        counter, slow, quick = Counter(history=10), Reader(), Reader()
        slow_events, quick_events = counter.bus.subscribe(), counter.bus.subscribe()
        slow.take(await soon(slow_events))
        quick.take(await soon(quick_events))
        for _ in range(1_000):
            counter.add()
            quick.take(await soon(quick_events))
        assert quick.seen == [SNAPSHOT] + ["added"] * 1_000
        slow.take(await soon(slow_events))
        assert (slow.seen, slow.value) == ([SNAPSHOT, SNAPSHOT], 1_000)
        counter.add()
        slow.take(await soon(slow_events))
        assert (slow.seen[-1], slow.value) == ("added", 1_001)

    asyncio.run(scenario())


def test_close_ends_every_stream_and_silences_the_bus() -> None:
    async def scenario() -> None:
        counter = Counter()

        async def count() -> int:
            return len([event async for event in counter.bus.subscribe()])

        async def count_frames() -> int:
            return len([frame async for frame in counter.bus.subscribe().frames(60)])

        readers = [asyncio.create_task(make()) for make in (count, count, count_frames)]
        await asyncio.sleep(0)
        counter.bus.close()
        assert await asyncio.wait_for(asyncio.gather(*readers), 10) == [1, 1, 1]
        counter.add()
        assert await count() == 0

    asyncio.run(scenario())


def test_a_cancelled_wait_loses_nothing() -> None:
    async def scenario() -> None:
        counter, reader = Counter(), Reader()
        events = counter.bus.subscribe()
        reader.take(await soon(events))
        for _ in range(5):
            waiting = asyncio.create_task(soon(events))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            counter.add()
            reader.take(await soon(events))
        assert reader.value == 5
        assert counter.bus._waiting == set()

    asyncio.run(scenario())


def test_frames_are_server_sent_events_joined_when_several_wait() -> None:
    async def scenario() -> None:
        counter = Counter()
        frames = counter.bus.subscribe().frames(60)
        first = await soon(frames)
        counter.bus.publish("log", {"text": "a\nb «é»"})
        counter.add()
        second = await soon(frames)
        start = counter.bus.last_id - 2
        assert first.decode() == f'id: {start}\nevent: snapshot\ndata: {{"value":0}}\n\n'
        log, added = second.decode().removesuffix("\n\n").split("\n\n")
        assert log.splitlines()[:2] == [f"id: {start + 1}", "event: log"]
        assert json.loads(log.splitlines()[2].removeprefix("data: ")) == {"text": "a\nb «é»"}
        assert added.splitlines()[1] == "event: added"
        await frames.aclose()

    asyncio.run(scenario())


def test_a_silent_while_is_filled_with_a_comment() -> None:
    async def scenario() -> None:
        counter = Counter()
        frames = counter.bus.subscribe().frames(0.001)
        await soon(frames)
        assert await soon(frames) == KEEP_ALIVE
        assert await soon(frames) == KEEP_ALIVE
        counter.add()
        assert b"event: added" in await soon(frames)
        await frames.aclose()
        assert counter.bus._waiting == set()

    asyncio.run(scenario())


def test_an_event_is_encoded_once_for_all_readers() -> None:
    async def scenario() -> None:
        counter = Counter()
        readers = [counter.bus.subscribe() for _ in range(3)]
        for reader in readers:
            await soon(reader)
        counter.add()
        assert len({id((await soon(reader)).frame) for reader in readers}) == 1

    asyncio.run(scenario())


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.integers(-5, 5)),
            st.tuples(st.just("read"), st.integers(0, 3)),
            st.tuples(st.just("reconnect"), st.integers(0, 3)),
        ),
        max_size=60,
    )
)
def test_any_reader_ends_up_knowing_the_state(steps: list[tuple[str, int]]) -> None:
    async def scenario() -> None:
        counter = Counter(history=5)
        readers = [Reader() for _ in range(4)]
        streams = [counter.bus.subscribe() for _ in readers]
        for step, number in steps:
            if step == "add":
                counter.add(number)
            elif step == "reconnect":
                streams[number] = counter.bus.subscribe(readers[number].last_id)
            elif readers[number].last_id != counter.bus.last_id:
                readers[number].take(await soon(streams[number]))
        for reader, stream in zip(readers, streams, strict=True):
            while reader.last_id != counter.bus.last_id:
                reader.take(await soon(stream))
            assert reader.value == counter.value

    asyncio.run(scenario())
