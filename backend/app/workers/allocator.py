"""Memory that is free goes back to the system.

Batches of ever other shapes leave holes between the blocks that stay, and the C library keeps them:
free, but resident, and more with each new shape. `malloc_trim` gives their pages back; the next
batch takes some of them anew, which is why it is not called after each.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable

EVERY_S = 10.0
"""Between two trims: one takes milliseconds."""


def malloc_trim() -> None:
    """Does nothing where the C library has no such function."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


class Trimmer:
    """Call it whenever work is done; it trims now and then."""

    def __init__(
        self,
        trim: Callable[[], None] = malloc_trim,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._trim = trim
        self._clock = clock
        self._last = clock()

    def __call__(self) -> None:
        if self._clock() - self._last >= EVERY_S:
            self._trim()
            self._last = self._clock()
