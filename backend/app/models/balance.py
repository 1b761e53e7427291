"""Which replica a request goes to. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

SLACK = 4
"""A replica that knows the prompt's beginning may be this many requests busier than the least
loaded one and still be chosen."""


class Loaded(Protocol):
    @property
    def in_flight(self) -> int: ...


R = TypeVar("R", bound=Loaded)


def balance(ready: Sequence[R], affinity: bytes) -> R | None:
    """The least loaded; the one that knows this prompt when it is not much busier. None of none.

    `affinity`: a digest of the prompt's beginning, or empty.
    """
    if len(ready) < 2:
        return ready[0] if ready else None
    least = min(ready, key=lambda r: r.in_flight)
    if affinity:
        known = ready[int.from_bytes(affinity[:8], "big") % len(ready)]
        if known.in_flight <= least.in_flight + SLACK:
            return known
    return least
