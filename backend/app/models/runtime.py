"""The record of what was done to a model and what became of it, for status and dashboard."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import asdict, dataclass, field
from typing import Any

from backend.app.models.state import Failure, Progress

TIMELINE = 50
"""So many actions are remembered per model."""


@dataclass(frozen=True)
class Action:
    """One step: `load`, `ready`, `unloading`, … At is Unix time."""

    at: float
    action: str
    detail: str = ""
    replica: str | None = None


@dataclass
class Runtime:
    """What `update_runtime` keeps. Mutable; owned by its wrapper."""

    status: str = "never loaded"
    progress: Progress | None = None
    last_error: Failure | None = None
    details: dict[str, Any] = field(default_factory=dict)
    updated_at: float = field(default_factory=time.time)
    timeline: deque[Action] = field(default_factory=lambda: deque(maxlen=TIMELINE))

    def note(self, action: str, detail: str, replica: str | None) -> Action:
        entry = Action(time.time(), action, detail, replica)
        self.updated_at = entry.at
        if action != "progress":
            self.timeline.append(entry)
        return entry


def progress_json(progress: Progress | None) -> dict[str, Any] | None:
    if progress is None:
        return None
    return {
        "phase": progress.phase.value,
        "detail": progress.detail,
        "done": progress.done,
        "total": progress.total,
        "percent": progress.percent,
        "rate": progress.rate,
        "eta": progress.eta,
    }


def failure_json(failure: Failure | None) -> dict[str, Any] | None:
    return None if failure is None else asdict(failure)
