"""Event bus: a snapshot, then deltas, for as many readers as like to listen.

Events live once, in a ring that all subscribers share; a subscriber is only a position in it. One
that falls so far behind that the ring has moved on gets a fresh snapshot instead, so neither a
slow reader nor a hundred of them cost memory. Belongs to one event loop; not thread-safe.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

HISTORY = 1_000
SNAPSHOT = "snapshot"
KEEP_ALIVE = b": keep-alive\n\n"

Data = dict[str, Any]


@dataclass(frozen=True)
class Event:
    """Something that happened. `id` is above that of every event before it."""

    id: int
    kind: str
    data: Data

    @cached_property
    def frame(self) -> bytes:
        """The event as server-sent event, encoded once for all readers."""
        data = json.dumps(self.data, ensure_ascii=False, separators=(",", ":"), default=str)
        return f"id: {self.id}\nevent: {self.kind}\ndata: {data}\n\n".encode()


class EventBus:
    """`snapshot` gives the state of everything, at once and without waiting.

    A reader knows the whole state when it has the snapshot and every event after its id.
    """

    def __init__(self, snapshot: Callable[[], Data], *, history: int = HISTORY) -> None:
        self._snapshot = snapshot
        self._events: deque[Event] = deque(maxlen=history)
        # From the clock, so that an id of the gateway's last life is not taken for one of this.
        self._last_id = time.time_ns() // 1_000_000
        self._waiting: set[asyncio.Future[bool]] = set()
        self.closed = False

    @property
    def last_id(self) -> int:
        return self._last_id

    def publish(self, kind: str, data: Data) -> None:
        """Tell every subscriber. Never waits; after `close` it does nothing."""
        if not self.closed:
            self._last_id += 1
            self._events.append(Event(self._last_id, kind, data))
            self._wake()

    def subscribe(self, last_id: int | None = None) -> Subscription:
        """Listen. With the id of the last event seen it resumes there if that is still known."""
        return Subscription(self, last_id)

    def close(self) -> None:
        """End all subscriptions, so that their connections do not hold up a shutdown."""
        self.closed = True
        self._wake()

    def next_after(self, position: int | None) -> Event | None:
        """The event after `position`, None when there is none yet.

        A fresh snapshot when `position` is none of the ids that the history still reaches.
        """
        if position == self._last_id:
            return None
        if position is None or not 0 < self._last_id - position <= len(self._events):
            return Event(self._last_id, SNAPSHOT, self._snapshot())
        return self._events[position - self._last_id]

    async def wait(self, timeout_s: float | None = None) -> bool:
        """Until something is published or the bus is closed; False when time ran out first."""
        loop = asyncio.get_running_loop()
        woken: asyncio.Future[bool] = loop.create_future()
        timer = loop.call_later(timeout_s, _settle, woken, False) if timeout_s else None
        self._waiting.add(woken)
        try:
            return await woken
        finally:
            self._waiting.discard(woken)
            if timer is not None:
                timer.cancel()

    def _wake(self) -> None:
        for woken in self._waiting:
            _settle(woken, True)


def _settle(future: asyncio.Future[bool], result: bool) -> None:
    if not future.done():
        future.set_result(result)


class Subscription:
    """Iterate over it for events. Waiting for the next one may be cancelled without losing it."""

    def __init__(self, bus: EventBus, last_id: int | None) -> None:
        self._bus = bus
        self._position = last_id

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        while not self._bus.closed:
            event = self._next()
            if event is not None:
                return event
            await self._bus.wait()
        raise StopAsyncIteration

    async def frames(self, keep_alive_s: float) -> AsyncGenerator[bytes, None]:
        """Server-sent events, joined where several wait, and a comment after a silent while."""
        while not self._bus.closed:
            if waiting := list(iter(self._next, None)):
                yield b"".join(event.frame for event in waiting)
            elif not await self._bus.wait(keep_alive_s):
                yield KEEP_ALIVE

    def _next(self) -> Event | None:
        event = self._bus.next_after(self._position)
        if event is not None:
            self._position = event.id
        return event
