"""What a new configuration changes of a model, and what of it needs a new engine. Pure."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Literal

from backend.app.models.spec import Kind, ModelSpec

AT_ONCE = frozenset({"idle_unload_s", "languages", "max_queue", "pin"})
"""What only the gateway minds."""
ON_VLLM = frozenset({Kind.CHAT, Kind.EMBEDDING})
TOLD_TO_VLLM = frozenset({"aliases", "max_in_flight"})
"""On vLLM's command line; of other kinds these too are the gateway's alone."""
_FROM_SOURCE = frozenset({"local", "demo"})
_IN_THE_FILE = {"source": "model"}

What = Literal["unchanged", "changed", "replaced", "added", "removed"]


@dataclass(frozen=True)
class Change:
    """What a reload of the configuration did to one model."""

    key: str
    change: What
    fields: tuple[str, ...] = ()
    """What is different, by the names of MODELS_FILE."""
    waiting: tuple[str, ...] = ()
    """Of these, or left from before: what holds from the engine's next start."""
    detail: str = ""


def differences(old: ModelSpec, new: ModelSpec) -> frozenset[str]:
    """The fields in which two configurations of one model differ."""
    names = {field.name for field in fields(ModelSpec)} - _FROM_SOURCE
    return frozenset(name for name in names if getattr(old, name) != getattr(new, name))


def needs_engine(old: ModelSpec, new: ModelSpec) -> frozenset[str]:
    """Of the differences, those that a running engine cannot take on."""
    free = AT_ONCE if old.kind in ON_VLLM else AT_ONCE | TOLD_TO_VLLM
    return differences(old, new) - free


def without_engine(old: ModelSpec, new: ModelSpec) -> ModelSpec:
    """The old configuration with all of the new one that needs no new engine."""
    now = differences(old, new) - needs_engine(old, new)
    return replace(old, **{name: getattr(new, name) for name in now})


def shown(names: frozenset[str]) -> tuple[str, ...]:
    """Fields by the names of MODELS_FILE."""
    return tuple(sorted(_IN_THE_FILE.get(name, name) for name in names))
