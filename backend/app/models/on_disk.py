"""What was last seen of a model's files, so that nothing else waits for a disk that may hang."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Literal

from backend.app.waiting import aside, background

if TYPE_CHECKING:
    from backend.app.models.base import BaseModelWrapper

log = logging.getLogger(__name__)

LOOK_S = 2.0
"""How long a look may take before what was seen earlier has to do."""
STALE_LOOK_S = 0.2
"""The same while an earlier one still hangs."""
PATIENT_S = 30.0
"""The same before something is done about files that are not there."""
HOLDS_S = 10.0
"""What was seen is looked at again after so long."""

Files = Literal["none", "partial", "complete"]


class OnDisk:
    """Belongs to one wrapper, whose `artifacts` it looks at. For one event loop."""

    def __init__(self, model: BaseModelWrapper) -> None:
        self._model = model
        self.path: str | None = None
        """Where the complete files were seen; None while something was missing."""
        self.any = False
        """At least one of them was seen."""
        self.stale = False
        """The disk does not answer: the above is what it was before."""
        self._at = float("-inf")
        self._begun = 0
        self._ended = 0
        """Numbers of the newest look that has begun, and that has ended."""
        self._forgotten = 0
        """Number of the newest look that may have passed what changed."""
        self._looking: asyncio.Task[None] | None = None

    @property
    def files(self) -> Files:
        if self.path is not None:
            return "complete"
        return "partial" if self.any else "none"

    @property
    def seen(self) -> tuple[Files, bool]:
        """What there is, and whether that is stale."""
        return self.files, self.stale

    def forget(self) -> None:
        """The files changed: look again soon."""
        self._at, self._forgotten = float("-inf"), self._begun

    @property
    def due_s(self) -> float:
        """In so many seconds the next look is due; at most 0 when it is."""
        return self._at + HOLDS_S - time.monotonic()

    async def look(self, *, patient: bool = False) -> None:
        """See what is there now. One look runs at a time; a disk that hangs costs LOOK_S at most,
        and what was seen before stands until it answers. `patient`: PATIENT_S at most.
        """
        loop = asyncio.get_running_loop()
        hurried = STALE_LOOK_S if self.stale else LOOK_S
        deadline = loop.time() + (PATIENT_S if patient else hurried)
        wanted = self._begun + 1  # the one under way may have passed what changed just now
        while self._ended < wanted:
            if self._looking is None or self._looking.done():
                self._begun += 1
                self._looking = background(self._see(self._begun), f"files of {self._model.key}")
            await asyncio.wait({self._looking}, timeout=max(0.0, deadline - loop.time()))
            if not self._looking.done():
                self._wait_no_longer()
                return

    async def _see(self, number: int) -> None:
        artifacts = self._model.artifacts

        def there() -> tuple[str | None, bool]:
            path = artifacts.path()
            return path, path is not None or artifacts.has_any()

        seen: tuple[str | None, bool] = None, False
        try:
            seen = await aside(None, there)
        except Exception as exc:  # whatever a disk comes up with
            log.warning("%s: its files cannot be looked at: %s", self._model.key, exc)
        self.path, self.any = seen
        if number > self._forgotten:
            self._at = time.monotonic()
        self._ended = number
        if self.stale:
            self.stale = False
            log.info("%s: the disk of its files answers again", self._model.key)

    def _wait_no_longer(self) -> None:
        self._at = time.monotonic()  # no sooner than in HOLDS_S again, by itself
        if not self.stale:
            self.stale = True
            log.warning(
                "%s: the disk of its files does not answer: %s is what was seen before",
                self._model.key,
                self.files,
            )
