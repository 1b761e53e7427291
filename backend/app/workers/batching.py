"""One model, many requests: chunks of all of them share batches.

A batch is bounded in items and in audio seconds, counted as the model pays them: items times the
longest. It is filled by turns, one chunk of each request, whoever was served longest ago first; so
a short clip waits for at most the batch that is running when it arrives, however long the file
beside it. The model is called in one thread and never twice at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

Decode = Callable[[Hashable, Sequence[Item]], Sequence[Result]]
"""Takes items of one key, returns as many results. Called in the batcher's thread."""


@dataclass(frozen=True)
class Limits:
    items: int = 32
    audio_s: float = 1280.0
    wait_s: float = 0.02
    """How long an idle model waits for as many requests as were there a moment ago."""


@dataclass(frozen=True)
class Decoded(Generic[Result]):
    """A result and what it took: seconds in the queue, and its share of the model's seconds."""

    result: Result
    queue_s: float
    model_s: float


@dataclass
class _Entry(Generic[Item, Result]):
    key: Hashable
    item: Item
    audio_s: float
    future: asyncio.Future[Decoded[Result]]
    since: float


class Ticket(Generic[Item, Result]):
    """One request's place. Close it, or what it left in the queue is decoded for nobody."""

    def __init__(self, batcher: Batcher[Item, Result], served: int, number: int) -> None:
        self._batcher = batcher
        self._outstanding = 0
        self.room = asyncio.Event()
        self.queue: deque[_Entry[Item, Result]] = deque()
        self.order = (served, number)
        """The batch that last took of it, then its age."""

    async def acquire(self) -> None:
        """Wait until this request may hold one more chunk in memory."""
        while self._outstanding >= self._batcher.share:
            self.room.clear()
            await self.room.wait()
        self._outstanding += 1

    def release(self) -> None:
        self._outstanding -= 1
        self.room.set()

    async def decode(self, key: Hashable, item: Item, audio_s: float) -> Decoded[Result]:
        """Queue a chunk and wait for its result. Raises what the model raised for it alone."""
        loop = asyncio.get_running_loop()
        entry: _Entry[Item, Result] = _Entry(
            key, item, audio_s, loop.create_future(), time.monotonic()
        )
        self.queue.append(entry)
        self._batcher.arrived()
        try:
            return await entry.future
        finally:
            if not entry.future.done() or entry.future.cancelled():
                with contextlib.suppress(ValueError):
                    self.queue.remove(entry)

    def close(self) -> None:
        """Nothing of this request is decoded any more, but for the batch that is running."""
        for entry in self.queue:
            entry.future.cancel()
        self.queue.clear()
        self._batcher.leave(self)


class Batcher(Generic[Item, Result]):
    """Use as an async context manager; `decode` runs in its thread until it is left."""

    def __init__(self, decode: Decode[Item, Result], limits: Limits) -> None:
        self._decode = decode
        self._limits = limits
        self._tickets: list[Ticket[Item, Result]] = []
        self._batches = 0
        self._crowd = 0
        """The most requests at a time since the last batch was taken."""
        self._numbers = itertools.count()
        self._work = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")

    async def __aenter__(self) -> Batcher[Item, Result]:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        for ticket in list(self._tickets):
            ticket.close()
        self._thread.shutdown(wait=False)

    @property
    def queued(self) -> int:
        return sum(len(ticket.queue) for ticket in self._tickets)

    @property
    def share(self) -> int:
        """Chunks one request may hold: two batches in all, so that the model never waits for a
        lone one and memory stays bounded with many."""
        return max(2, 2 * self._limits.items // max(1, len(self._tickets)))

    def ticket(self) -> Ticket[Item, Result]:
        # as if served by the batch before the running one: ahead of those in it, behind no-one else
        ticket = Ticket(self, self._batches - 1, next(self._numbers))
        self._tickets.append(ticket)
        self._crowd = max(self._crowd, len(self._tickets))
        return ticket

    def leave(self, ticket: Ticket[Item, Result]) -> None:
        if ticket in self._tickets:
            self._tickets.remove(ticket)
        for other in self._tickets:
            other.room.set()

    def arrived(self) -> None:
        self._work.set()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._company()
            batch = self._take()
            if not batch:
                continue
            started = time.monotonic()
            outcomes = await loop.run_in_executor(self._thread, self._attempt, batch)
            for entry, (outcome, model_s) in zip(batch, outcomes, strict=True):
                if entry.future.done():
                    continue
                if isinstance(outcome, Exception):
                    entry.future.set_exception(outcome)
                else:
                    entry.future.set_result(Decoded(outcome, started - entry.since, model_s))

    async def _company(self) -> None:
        """Return when there is something to decode and no point in waiting for more. Clients that
        ask again as soon as they are answered come back together; a lone one never waits."""
        while True:
            self._work.clear()
            waiting = [entry for ticket in self._tickets for entry in ticket.queue]
            patience: float | None = None
            if waiting:
                oldest = min(entry.since for entry in waiting)
                patience = oldest + self._limits.wait_s - time.monotonic()
                everyone = sum(1 for ticket in self._tickets if ticket.queue) >= self._crowd
                if everyone or patience <= 0 or len(waiting) >= self._limits.items:
                    return
            # not `wait_for`: before Python 3.12 it may swallow the cancellation that ends us
            arrival = asyncio.ensure_future(self._work.wait())
            try:
                await asyncio.wait({arrival}, timeout=patience)
            finally:
                arrival.cancel()

    def _take(self) -> list[_Entry[Item, Result]]:
        turn = sorted((t for t in self._tickets if t.queue), key=lambda ticket: ticket.order)
        batch: list[_Entry[Item, Result]] = []
        longest = 0.0
        self._batches += 1
        self._crowd = len(self._tickets)
        while turn and len(batch) < self._limits.items:
            ticket, *turn = turn
            entry = ticket.queue[0]
            longest_with = max(longest, entry.audio_s)
            fits = longest_with * (len(batch) + 1) <= self._limits.audio_s
            if batch and (entry.key != batch[0].key or not fits):
                continue
            batch.append(ticket.queue.popleft())
            longest = longest_with
            ticket.order = (self._batches, ticket.order[1])
            if ticket.queue:
                turn.append(ticket)
        return batch

    def _attempt(
        self, batch: Sequence[_Entry[Item, Result]]
    ) -> list[tuple[Result | Exception, float]]:
        """In the model's thread. A failing batch is halved until the bad item stands alone."""
        started = time.monotonic()
        try:
            results = self._decode(batch[0].key, [entry.item for entry in batch])
            if len(results) != len(batch):
                raise RuntimeError(f"{len(results)} results for {len(batch)} items")
        except Exception as exc:
            if len(batch) == 1:
                return [(exc, time.monotonic() - started)]
            half = len(batch) // 2
            return self._attempt(batch[:half]) + self._attempt(batch[half:])
        each = (time.monotonic() - started) / len(batch)
        return [(result, each) for result in results]
