"""What all checks look at: the settings, the models, the GPUs, this machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from backend.app.config import Settings, is_explicit, user_dir
from backend.app.gpu.probe import Reading
from backend.app.models.modelset import ModelSet
from backend.app.models.spec import ModelSpec


@dataclass(frozen=True)
class Patient:
    """`root` is where `/proc`, `/dev`, `/run` are found; `env` the environment without keys."""

    settings: Settings
    specs: tuple[ModelSpec, ...]
    model_set: ModelSet
    reading: Reading
    env: Mapping[str, str]
    root: Path = Path("/")

    @property
    def from_hub(self) -> list[ModelSpec]:
        return [spec for spec in self.specs if not spec.local]

    @property
    def in_container(self) -> bool:
        marks = (".dockerenv", "run/.containerenv")
        return "container" in self.env or any((self.root / mark).exists() for mark in marks)

    @property
    def cache_dir(self) -> Path:
        """Where models are kept; unlike `usable_cache_dir` nothing is made."""
        wanted = self.settings.model_cache_dir
        if cannot_write(wanted) is None or is_explicit(self.settings, "model_cache_dir"):
            return wanted
        return user_dir("cache") / "models"


def nearest(path: Path) -> Path:
    """`path`, or the nearest directory above it that exists."""
    # not Path.exists: below a directory that may not be entered that one raises
    return next(p for p in (path, *path.absolute().parents) if os.path.exists(p))


def cannot_write(path: Path) -> str | None:
    """Why a directory could be neither made nor written into, or None. Changes nothing."""
    there = nearest(path)
    if not there.is_dir():
        return f"{there} is not a directory"
    return None if os.access(there, os.W_OK | os.X_OK) else f"no right to write into {there}"
