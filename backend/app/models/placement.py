"""Which GPUs a model gets. Pure: no I/O, no clock, no logging."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from backend.app.gpu.probe import Gpu

GIB = 1024**3
RESERVE_BYTES = 1 * GIB
"""Left free on each GPU for the CUDA context and what the engine does not account for."""
MAX_SHARE = 0.90
"""Never ask an engine to take more of a GPU than this."""


class Refused(Exception):
    """The request cannot be met. The message carries the numbers."""


@dataclass(frozen=True)
class Grant:
    """What one replica may use. `memory_share` is of each GPU's total."""

    gpu_ids: tuple[int, ...]
    memory_share: float


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


def share(gpus: Sequence[Gpu]) -> float:
    """The part of each GPU's memory an engine may claim; the fullest one decides."""
    free = min((g.memory_free - RESERVE_BYTES) / g.memory_total for g in gpus)
    return max(0.0, min(MAX_SHARE, free))


def _grant(gpus: Sequence[Gpu], need: int) -> Grant:
    granted = share(gpus)
    smallest = min(g.memory_total for g in gpus)
    if granted * smallest * len(gpus) < need:
        free = ", ".join(f"GPU {g.index}: {g.memory_free / GIB:.1f} GiB free" for g in gpus)
        raise Refused(f"It needs {need / GIB:.1f} GiB on {len(gpus)} GPU(s); {free}.")
    return Grant(tuple(g.index for g in gpus), round(granted, 4))


def place(
    gpus: Sequence[Gpu], *, ids: Sequence[int], replicas: int, need: int, legal: Sequence[int]
) -> list[Grant]:
    """Grants for all replicas, or Refused.

    Chosen `ids` are honoured exactly. Without, each replica gets the emptiest GPUs, as few of
    them as hold `need` bytes.
    """
    by_id = {g.index: g for g in gpus}
    if ids:
        unknown = [i for i in ids if i not in by_id]
        if unknown or len(set(ids)) != len(ids):
            raise Refused(f"GPU ids {list(ids)}: choose different ones of {sorted(by_id)}.")
        return [_grant([by_id[i] for i in group], need) for group in split(ids, replicas, legal)]
    rest = sorted(gpus, key=lambda g: (-g.memory_free, g.index))
    grants: list[Grant] = []
    for _ in range(replicas):
        grant = _fewest(rest, need, legal)
        grants.append(grant)
        rest = [g for g in rest if g.index not in grant.gpu_ids]
    return grants


def _fewest(rest: Sequence[Gpu], need: int, legal: Sequence[int]) -> Grant:
    last = Refused("No GPU is left.")
    for size in sorted(legal):
        if size > len(rest):
            break
        try:
            return _grant(rest[:size], need)
        except Refused as exc:
            last = exc
    raise last
