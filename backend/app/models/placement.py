"""Which GPUs a model gets. Pure: no I/O, no clock, no logging.

1. Chosen ids are honoured exactly; otherwise each replica gets the emptiest GPUs, as few of them
   as hold it, and those last that another configured model names.
2. Free is what the device says, less what was granted and is not taken yet (`Books`).
3. A model of fixed size is granted its need. An elastic engine (vLLM) takes what it is given:
   min(0.90, (free - reserve) / total). Of that it leaves room for the configured models of fixed
   size that are not loaded and would fit on no other GPU, as far as it can spare it.

When it does not fit, `eviction.py` says who must go.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from backend.app.gpu.probe import Gpu

GIB = 1024**3
RESERVE_BYTES = 1 * GIB
"""Per GPU, for the CUDA context and what an elastic engine does not account for."""
MAX_SHARE = 0.90
"""Never ask an engine to take more of a GPU than this."""

Replicas = int | Literal["auto"]
"""`auto`: as many as fit, at least one."""


class Refused(Exception):
    """The request cannot be met. The message carries the numbers."""


class NoRoom(Refused):
    """It is a legal request, but the memory is not there."""


@dataclass(frozen=True)
class Grant:
    """What one replica may use. `memory_share` is of each GPU's total, for vLLM."""

    gpu_ids: tuple[int, ...]
    memory_share: float
    held: tuple[int, ...] = ()
    """Bytes of each of `gpu_ids` that nobody else gets while this replica lives."""


@dataclass(frozen=True)
class Hold:
    """What the ledger keeps on one GPU for one replica."""

    model: str
    gpu: int
    held: int
    known: int | None = None
    """What it has taken of it by the driver's list of processes; None where that does not tell."""
    likely: int = 0
    """What it has taken of it as far as can be guessed, known or not."""


@dataclass(frozen=True)
class Books:
    """The ledger at one moment."""

    holds: tuple[Hold, ...] = ()
    before: Mapping[int, int] = field(default_factory=dict)
    """Per GPU with replicas whose use is not known: what was in use before the first of them."""


@dataclass(frozen=True)
class Wish:
    """What is to be placed. `need`: bytes of one replica over all its GPUs."""

    model: str
    need: int
    legal: tuple[int, ...] = (1,)
    """How many GPUs one replica may spread over."""
    ids: tuple[int, ...] = ()
    replicas: Replicas = 1
    elastic: bool = False
    """Takes all that it is granted; `need` is then the least that will do."""
    share: float | None = None
    """An elastic engine was told to take just so much of each GPU."""

    @property
    def least_replicas(self) -> int:
        return 1 if self.replicas == "auto" else self.replicas


def place(
    gpus: Sequence[Gpu], books: Books, wish: Wish, awaited: Sequence[Wish] = ()
) -> tuple[Grant, ...]:
    """One grant per replica. Raises Refused: NoRoom where more free memory would help.

    `awaited`: the configured models that are not loaded.
    """
    known = sorted(g.index for g in gpus)
    if not set(wish.ids) <= set(known) or len(set(wish.ids)) != len(wish.ids):
        raise Refused(f"GPU ids {list(wish.ids)}: choose different ones of {known}.")
    return _Plan(gpus, books, wish, awaited).grants()


def free_on(gpu: Gpu, books: Books) -> int:
    """Bytes of a GPU that may still be granted; below zero when too much is promised already.

    Whoever holds some of it may take all that was granted. Those whose use is not known count
    together, as all that they were granted on top of what was in use before them.
    """
    own = [h for h in books.holds if h.gpu == gpu.index]
    known = sum(h.known for h in own if h.known is not None)
    may_take = sum(max(h.held, h.known) for h in own if h.known is not None)
    others, unknown = gpu.memory_used - known, sum(h.held for h in own if h.known is None)
    before = books.before.get(gpu.index, others)
    return gpu.memory_total - may_take - max(others, before + unknown)


def split(ids: Sequence[int], replicas: int, legal: Sequence[int]) -> list[tuple[int, ...]]:
    """Cut the ids into equal groups, one per replica, each of a legal tensor-parallel size."""
    if len(ids) % replicas:
        raise Refused(f"{len(ids)} GPUs cannot be shared equally by {replicas} replicas.")
    size = len(ids) // replicas
    if size not in legal:
        sizes = ", ".join(str(n) for n in legal)
        raise Refused(
            f"{size} GPUs per replica is no legal tensor-parallel size for this model;"
            f" legal: {sizes}."
        )
    return [tuple(ids[i * size : (i + 1) * size]) for i in range(replicas)]


def gib(size: int) -> str:
    return f"{size / GIB:.1f} GiB"


class _Plan:
    """One attempt: grants are cut out of what is free until the wish is met or cannot be."""

    def __init__(
        self, gpus: Sequence[Gpu], books: Books, wish: Wish, awaited: Sequence[Wish]
    ) -> None:
        self._total = {g.index: g.memory_total for g in gpus}
        self._free = {g.index: free_on(g, books) for g in gpus}
        self._wish = wish
        self._named = {i: sum(a.need for a in awaited if i in a.ids) for i in self._free}
        """What those that are not loaded want of the GPUs that they name."""
        self._others_own = {i for a in awaited if a.elastic for i in a.ids}
        self._awaited = sorted(
            (a for a in awaited if not a.elastic), key=lambda a: (a.need, a.model)
        )
        """Those of fixed size."""

    def grants(self) -> tuple[Grant, ...]:
        wish = self._wish
        if not wish.ids:
            return self._free_choice()
        if wish.replicas == "auto":
            return self._most(wish.ids)
        return self._each(split(wish.ids, wish.replicas, wish.legal))

    def _free_choice(self) -> tuple[Grant, ...]:
        grants: list[Grant] = []
        rest = set(self._free)
        while len(grants) < self._wish.least_replicas:
            grants.append(self._fewest(rest))
            rest -= set(grants[-1].gpu_ids)
        rest -= self._others_own
        while self._wish.replicas == "auto":
            try:
                grants.append(self._fewest(rest, spare_all=True))
            except NoRoom:
                break
            rest -= set(grants[-1].gpu_ids)
        return tuple(grants)

    def _most(self, ids: tuple[int, ...]) -> tuple[Grant, ...]:
        """As many replicas as fit on exactly these GPUs."""
        refused: Refused | None = None
        for replicas in range(len(ids), 0, -1):
            try:
                return self._each(split(ids, replicas, self._wish.legal))
            except Refused as exc:
                if isinstance(exc, NoRoom) or not isinstance(refused, NoRoom):
                    refused = exc
        assert refused is not None
        raise refused

    def _each(self, groups: Sequence[tuple[int, ...]]) -> tuple[Grant, ...]:
        untouched = dict(self._free)
        try:
            return tuple([self._grant(group) for group in groups])
        except NoRoom:
            self._free = untouched
            raise

    def _fewest(self, rest: set[int], *, spare_all: bool = False) -> Grant:
        """On the emptiest of the GPUs that are left, as few as will do."""
        order = sorted(rest, key=lambda i: (self._named[i] - self._free[i], i))
        refused = NoRoom("No GPU is left.")
        for size in sorted(self._wish.legal):
            if size > len(order):
                break
            try:
                return self._grant(tuple(order[:size]), spare_all=spare_all)
            except NoRoom as exc:
                refused = exc
        raise refused

    def _grant(self, ids: tuple[int, ...], *, spare_all: bool = False) -> Grant:
        totals = [self._total[i] for i in ids]
        if self._wish.elastic:
            share = self._share(ids, spare_all=spare_all)
            held = tuple(int(share * total) + RESERVE_BYTES for total in totals)
        else:
            each = -(-self._wish.need // len(ids))
            if min(self._free[i] for i in ids) < each:
                raise self._refusal(ids)
            share = _floor(max(0, each - RESERVE_BYTES) / max(totals))
            held = (each,) * len(ids)
        for index, size in zip(ids, held, strict=True):
            self._free[index] -= size
        return Grant(ids, share, held)

    def _share(self, ids: tuple[int, ...], *, spare_all: bool) -> float:
        """The part of each GPU that an elastic engine may claim; the fullest one decides."""
        least = self._wish.need / (min(self._total[i] for i in ids) * len(ids))
        least, most = self._wish.share or least, self._wish.share or MAX_SHARE

        def leaving(room: int) -> float:
            free = [(self._free[i] - RESERVE_BYTES - room) / self._total[i] for i in ids]
            return _floor(min(most, *free))

        share, room = leaving(0), 0
        if share < _floor(least):
            raise self._refusal(ids)
        for other in self._homeless(ids):
            if leaving(room + other.need) >= least:
                room += other.need
                share = leaving(room)
            elif spare_all:
                raise self._refusal(ids)
        return share

    def _homeless(self, ids: tuple[int, ...]) -> list[Wish]:
        """The awaited models that could go to these GPUs and would fit on no other."""
        spare = {i: free for i, free in self._free.items() if i not in ids}
        left = []
        for other in self._awaited:
            allowed = set(other.ids or self._free)
            fitting = [i for i in spare if i in allowed and spare[i] >= other.need]
            if fitting:
                spare[max(fitting, key=lambda i: (spare[i], -i))] -= other.need
            elif allowed & set(ids):
                left.append(other)
        return left

    def _refusal(self, ids: tuple[int, ...]) -> NoRoom:
        free = ", ".join(f"GPU {i}: {gib(max(0, self._free[i]))} free" for i in ids)
        reserve = f" and {gib(RESERVE_BYTES)} in reserve" if self._wish.elastic else ""
        best = "" if self._wish.ids else "the emptiest: "
        need = f"{self._wish.share:.0%}" if self._wish.share else gib(self._wish.need)
        return NoRoom(f"It needs {need}{reserve} on {len(ids)} GPU(s); {best}{free}.")


def _floor(share: float) -> float:
    return math.floor(share * 10_000 + 1e-6) / 10_000  # 0.29 stays 0.29
