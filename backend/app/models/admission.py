"""How many requests a model takes at once, and how many may wait for a place."""

from __future__ import annotations

import asyncio
from collections import deque

from backend.app.errors import GatewayError, QueueFull


class Admission:
    """`limit` places and a queue of `max_queue` waiting, first come first served.

    A place is given on `enter` and must be given back with exactly one `leave`. A caller that is
    cancelled while waiting leaves nothing behind.
    """

    def __init__(self, limit: int, max_queue: int) -> None:
        self.limit = limit
        self.max_queue = max_queue
        self.taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def queued(self) -> int:
        return len(self._waiting)

    async def enter(self, timeout_s: float) -> None:
        """Take a place. Raises QueueFull: at once when the queue is full, else in time."""
        if self.taken < self.limit and not self._waiting:
            self.taken += 1
            return
        if len(self._waiting) >= self.max_queue:
            raise QueueFull(
                f"{self.taken} requests are running and {len(self._waiting)} are waiting;"
                " try again shortly.",
                retry_after=1 + len(self._waiting) / max(1, self.limit),
            )
        loop = asyncio.get_running_loop()
        place: asyncio.Future[None] = loop.create_future()
        self._waiting.append(place)
        timer = loop.call_later(timeout_s, self._give_up, place, timeout_s)
        try:
            await place
        except BaseException:
            if place.done() and not place.cancelled() and place.exception() is None:
                self.leave()  # the place was given to us in the moment we were cancelled
            else:
                place.cancel()
                if place in self._waiting:
                    self._waiting.remove(place)
            raise
        finally:
            timer.cancel()

    def _give_up(self, place: asyncio.Future[None], seconds: float) -> None:
        if not place.done():
            place.set_exception(
                QueueFull(
                    f"No place was free within {seconds:g} s: {self.taken} requests are running.",
                    retry_after=1 + len(self._waiting) / max(1, self.limit),
                )
            )

    def resize(self, limit: int) -> None:
        """So many places from now on; those that are taken stay taken."""
        self.limit = limit
        while self._waiting and self.taken < self.limit:
            place = self._waiting.popleft()
            if not place.done():
                self.taken += 1
                place.set_result(None)

    def leave(self) -> None:
        """Give a place back; the longest waiting caller gets it."""
        while self._waiting and self.taken <= self.limit:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                return
        self.taken -= 1

    def refuse_waiting(self, error: GatewayError) -> None:
        """Turn away everybody who waits."""
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_exception(error)
