"""Who must go so that a model fits. Pure: no I/O, no clock, no logging.

Idle models go, least recently used first and no more of them than must. One stays that is in use,
pinned, loading or unloading, or was loaded less than the minimum residence ago.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from backend.app.gpu.probe import Gpu
from backend.app.models.placement import GIB, Books, Grant, NoRoom, Wish, gib, place


@dataclass(frozen=True)
class Resident:
    """A model that holds memory. Times in seconds of one monotonic clock."""

    model: str
    leases: int
    """Requests that it works on or that wait for it."""
    pinned: bool
    last_used: float
    since: float | None
    """When it became ready; None while it is on its way up or down."""


@dataclass(frozen=True)
class Decision:
    """One grant per replica, and the models that must have gone before they may be used."""

    grants: tuple[Grant, ...]
    evict: tuple[str, ...] = ()


def decide(
    gpus: Sequence[Gpu],
    books: Books,
    residents: Sequence[Resident],
    wish: Wish,
    awaited: Sequence[Wish] = (),
    *,
    now: float,
    min_residence_s: float,
) -> Decision:
    """Where `wish` goes. Raises Refused; NoRoom says who holds the memory and why they stay.

    What the model itself holds today counts as given back. `awaited`: the configured models
    that are not loaded.
    """
    gpus, books = _without(gpus, books, {wish.model})

    def attempt(gone: Collection[str]) -> tuple[Grant, ...]:
        return place(*_without(gpus, books, gone), wish, awaited)

    def enough(gone: Collection[str]) -> bool:
        try:
            attempt(gone)
        except NoRoom:
            return False
        return True

    try:
        return Decision(attempt(()))
    except NoRoom as exc:
        refusal = str(exc)
    stay = {r.model: why_it_stays(r, now, min_residence_s) for r in residents}
    idle = sorted(
        (r for r in residents if r.model != wish.model and not stay[r.model]),
        key=lambda r: (r.last_used, r.model),
    )
    gone = [r.model for r in idle]
    if not enough(gone):
        raise NoRoom(refusal + _holders(gpus, books, wish, stay))
    for model in reversed(gone):  # who was used last is the first to be spared
        fewer = [m for m in gone if m != model]
        if enough(fewer):
            gone = fewer
    return Decision(attempt(gone), tuple(gone))


def why_it_stays(resident: Resident, now: float, min_residence_s: float) -> str:
    """Why a model may not be evicted, in words; empty when it may."""
    if resident.leases:
        return "in use"
    if resident.pinned:
        return "pinned"
    if resident.since is None:
        return "loading or unloading"
    age = now - resident.since
    return f"loaded {age:.0f} s ago" if age < min_residence_s else ""


def _without(gpus: Sequence[Gpu], books: Books, gone: Collection[str]) -> tuple[list[Gpu], Books]:
    """GPUs and ledger once these models have given everything back."""
    freed: dict[int, int] = {}
    for hold in books.holds:
        if hold.model in gone:
            freed[hold.gpu] = freed.get(hold.gpu, 0) + hold.likely
    emptier = [replace(g, memory_used=max(0, g.memory_used - freed.get(g.index, 0))) for g in gpus]
    return emptier, Books(tuple(h for h in books.holds if h.model not in gone), books.before)


def _holders(gpus: Sequence[Gpu], books: Books, wish: Wish, stay: dict[str, str]) -> str:
    """Who holds the GPUs in question, how much of them, and why."""
    wanted = set(wish.ids) or {g.index for g in gpus}
    holds = [h for h in books.holds if h.gpu in wanted]
    held: dict[str, int] = {}
    for hold in holds:
        held[hold.model] = held.get(hold.model, 0) + max(hold.held, hold.likely)
    words = [
        f"{model} ({gib(size)}, {stay.get(model, 'loading') or 'idle, but too small'})"
        for model, size in sorted(held.items())
    ]
    used = sum(g.memory_used for g in gpus if g.index in wanted)
    others = used - sum(h.likely for h in holds)
    if others > GIB and all(h.likely for h in holds):
        words.append(f"other programs ({gib(others)})")
    return f" Held by {', '.join(words)}." if words else ""
