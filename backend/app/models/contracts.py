"""The types that wrappers, registry and their collaborators share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from backend.app.engines.client import EngineClient
from backend.app.models.placement import Replicas
from backend.app.models.spec import ModelSpec
from backend.app.models.state import Failure, Progress


class Artifacts(Protocol):
    """A model's files. Implemented by the Hub cache and by local paths."""

    def has_any(self) -> bool:
        """At least one finished file is there. Blocking: looks at the disk."""
        ...

    def path(self) -> str | None:
        """Where the complete files are, or None while something is missing. Blocking too."""
        ...

    async def fetch(self, on_progress: Callable[[Progress], None]) -> None:
        """Download what is missing and verify the rest. Cancelled: stops at once.

        Raises GatewayError with what is wrong and what to do about it.
        """
        ...

    def release(self) -> None:
        """The model needs these files no more. They stay on the disk."""
        ...


@dataclass(eq=False)
class Goal:
    """What is wanted of a model. A larger number is a newer wish."""

    number: int
    up: bool
    fetch: bool = False
    gpu_ids: tuple[int, ...] = ()
    replicas: Replicas = 1
    reached: bool = False
    """It was reached or given up, and not overtaken by a newer one before that."""
    failure: Failure | None = None
    """Why it was given up."""


class Superseded(Exception):
    """A newer goal was set while an older one was being reached."""


@dataclass(frozen=True)
class Lease:
    """The right to send requests to one replica until it is given back."""

    client: EngineClient
    replica: str
    spec: ModelSpec
    report_unreachable: Callable[[], None]
    """To be called on ConnectFailed, before another lease is taken."""
