"""The retry ladder: again after a pause, from where it was, until nothing comes any more."""

from __future__ import annotations

import threading
from collections.abc import Callable

from backend.app.workers.download_errors import Retry, stopped
from backend.app.workers.hub_protocol import Limits

LONGEST_BACKOFF_S = 30.0


class GivenUp(Exception):
    """So many attempts in a row brought nothing, or the Hub wants more patience than we have."""

    def __init__(self, last: Retry, reason: str) -> None:
        super().__init__(reason)
        self.code = last.code
        self.reason = reason


class Ladder:
    def __init__(self, limits: Limits, stop: threading.Event) -> None:
        self._limits = limits
        self._stop = stop

    def climb(
        self,
        work: Callable[[], None],
        *,
        attempts: int,
        arrived: Callable[[], int],
        tell: Callable[[str], None],
    ) -> None:
        """Run `work` again and again while it raises Retry. Raises GivenUp in the end.

        An attempt after which more has `arrived` makes the count begin anew.
        """
        failures = 0
        while True:
            before = arrived()
            try:
                work()
                tell("")
                return
            except Retry as retry:
                failures = 1 if arrived() > before else failures + 1
                pause = self._pause(retry, failures, attempts)
                tell(f"{retry.reason}; trying again in {pause:.0f} s")
            self.rest(pause)

    def rest(self, seconds: float) -> None:
        """Raises Failure when the whole download is being stopped."""
        if self._stop.wait(seconds):
            raise stopped()

    def _pause(self, retry: Retry, failures: int, attempts: int) -> float:
        if failures >= attempts:
            raise GivenUp(retry, f"{retry.reason}, {failures} times in a row") from None
        if retry.wait is None:
            backoff: float = self._limits.backoff_s * 2 ** (failures - 1)
            return min(backoff, LONGEST_BACKOFF_S)
        if retry.wait > self._limits.longest_pause_s:
            raise GivenUp(retry, f"{retry.reason} and asks us to wait {retry.wait:.0f} s")
        return retry.wait
