"""The life of a model and of each of its replicas.

    absent ──download──▶ downloading ──▶ idle ──load──▶ loading ──▶ ready ──▶ unloading ──▶ idle
                              │                            │          │
                              └────────▶ failed ◀──────────┴──────────┴──▶ restarting ──▶ loading

`restarting` waits out the backoff after a crash; after too many crashes it becomes `failed`. There
is no engine any more in these two, so that an unload leads from them straight to `idle`.
Each replica's supervisor is the only writer of that replica's state; a model's state is derived
from its files and its replicas (`derive`).
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass


class State(str, enum.Enum):
    ABSENT = "absent"
    DOWNLOADING = "downloading"
    IDLE = "idle"
    LOADING = "loading"
    READY = "ready"
    UNLOADING = "unloading"
    RESTARTING = "restarting"
    FAILED = "failed"


TRANSITIONS: dict[State, frozenset[State]] = {
    State.IDLE: frozenset({State.LOADING}),
    State.LOADING: frozenset({State.READY, State.UNLOADING, State.RESTARTING}),
    State.READY: frozenset({State.UNLOADING, State.RESTARTING}),
    State.RESTARTING: frozenset({State.LOADING, State.FAILED, State.IDLE}),
    State.FAILED: frozenset({State.LOADING, State.IDLE}),
    State.UNLOADING: frozenset({State.IDLE}),
}
"""What may follow what for one replica; a model's files add absent and downloading. `restarting`
begins the moment a broken engine is noticed, so it always stands before `failed`. A test drives
random histories against this table."""


class Phase(str, enum.Enum):
    """What a loading engine is doing, in the order in which it happens."""

    QUEUED = "queued"
    DOWNLOADING = "downloading"
    STARTING = "starting"
    WEIGHTS = "weights"
    COMPILING = "compiling"
    WARM_UP = "warm-up"


@dataclass(frozen=True)
class Progress:
    """Where a long job stands. `percent` exists only when something was really counted."""

    phase: Phase
    detail: str = ""
    done: float | None = None
    total: float | None = None
    rate: float | None = None
    """Bytes a second, of a download."""
    eta: float | None = None
    """Seconds, of a download."""

    @property
    def percent(self) -> float | None:
        if self.done is None or not self.total:
            return None
        return round(100.0 * min(1.0, max(0.0, self.done / self.total)), 1)


@dataclass(frozen=True)
class Failure:
    """Why something is not running: in plain words, and what it left behind."""

    reason: str
    code: str = "model_failed"
    exit_code: int | None = None
    signal: int | None = None
    log_tail: tuple[str, ...] = ()
    at: float = 0.0
    """Unix time."""


_PRECEDENCE = (
    State.READY,
    State.LOADING,
    State.RESTARTING,
    State.UNLOADING,
    State.FAILED,
    State.IDLE,
)


def derive(files: State, replicas: Iterable[State]) -> State:
    """A model's state: the most useful of its replicas', else what its files say.

    `files` is one of absent, downloading, idle, failed.
    """
    seen = set(replicas)
    for state in _PRECEDENCE:
        if state in seen and state is not State.IDLE:
            return state
    return files
