"""Reads the configuration again and applies it; what did not change is not touched."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from backend.app.config import ConfigError
from backend.app.models.base import BaseModelWrapper
from backend.app.models.change import Change, differences, shown
from backend.app.models.contracts import Artifacts, Goal
from backend.app.models.registry import ModelRegistry
from backend.app.models.spec import ModelSpec

log = logging.getLogger(__name__)


class _Wanted(NamedTuple):
    """A model as it is configured now, with what that takes."""

    spec: ModelSpec
    new: BaseModelWrapper | None = None
    """Where there is none of its key and kind."""
    files: Artifacts | None = None
    """Where the one that is there changes."""

    def discard(self) -> None:
        if self.new is not None:
            self.new.configuration.release()
        if self.files is not None:
            self.files.release()


class Reloader:
    """`read` gives what is configured now, or raises ConfigError; `make` a wrapper for a spec."""

    def __init__(
        self,
        registry: ModelRegistry,
        read: Callable[[], list[ModelSpec]],
        make: Callable[[ModelSpec], BaseModelWrapper],
        artifacts: Callable[[ModelSpec], Artifacts],
        *,
        load_all: bool,
    ) -> None:
        self._registry = registry
        self._read = read
        self._make = make
        self._artifacts = artifacts
        self._load_all = load_all
        self._turn = asyncio.Lock()

    async def reload(self, *, restart: bool = False, wait_s: float | None = None) -> list[Change]:
        """One change for each model that was or is configured.

        `restart`: engines whose configuration waits for one are drained and loaded again.
        `wait_s`: return when what was removed is gone and what was restarted has settled, or
        raise DeadlineExceeded. Raises ConfigError, and then nothing has changed.
        """
        async with self._turn:
            try:
                specs = await asyncio.to_thread(self._read)
            except ConfigError as exc:
                log.error("the configuration of the models stays as it is: %s", exc)
                raise
            changes, goals = await self._apply(self._prepare(specs), restart)
        for change in changes:
            if change.change != "unchanged":
                log.info("%s is %s: %s", change.key, change.change, change.detail)
        if wait_s is not None:
            await self._registry.gone(*(c.key for c in changes if c.change == "removed"))
            for model, goal in goals:
                await model.settled(goal, wait_s)
        return changes

    def _prepare(self, specs: Sequence[ModelSpec]) -> dict[str, _Wanted]:
        """Make all that can fail: when it does, nothing has changed."""
        before = self._registry.serving
        wanted: dict[str, _Wanted] = {}
        try:
            for spec in specs:
                model = before.get(spec.key)
                if model is None or model.spec.kind is not spec.kind:
                    wanted[spec.key] = _Wanted(spec, new=self._make(spec))
                elif differences(model.configuration.wanted, spec):
                    wanted[spec.key] = _Wanted(spec, files=self._artifacts(spec))
                else:
                    wanted[spec.key] = _Wanted(spec)
        except BaseException:
            for one in wanted.values():
                one.discard()
            raise
        return wanted

    async def _apply(
        self, wanted: Mapping[str, _Wanted], restart: bool
    ) -> tuple[list[Change], list[tuple[BaseModelWrapper, Goal]]]:
        registry = self._registry
        before = registry.serving
        changes = []
        for key in before.keys() - wanted.keys():
            registry.retire(key)
            changes.append(Change(key, "removed", detail="it is drained, unloaded and then gone"))
        goals = []
        for key, (spec, new, files) in wanted.items():
            if new is not None:
                changes.append(await self._add(new, replaces=key in before))
                continue
            model = before[key]
            fields = shown(differences(model.configuration.wanted, spec))
            if files is not None:
                model.configuration.take_on(spec, files)
            waiting = shown(model.configuration.waiting)
            detail = ""
            if waiting and restart and model.supervisor.goal.up:
                goals.append((model, model.configuration.restart()))
                detail = "its engine is drained and loaded again"
            elif waiting:
                detail = (
                    f"{', '.join(waiting)} need an engine restart: in force from the next load, or"
                    " now with ?restart=true"
                )
            elif fields:
                detail = "in force"
            change = Change(key, "changed" if fields else "unchanged", fields, waiting, detail)
            changes.append(change)
        return changes, goals

    async def _add(self, model: BaseModelWrapper, *, replaces: bool) -> Change:
        """A model of this key that is on its way out goes first."""
        if replaces:
            self._registry.retire(model.key)
        await self._registry.gone(model.key)
        self._registry.add(model)
        model.begin()
        if self._load_all:
            model.load()
        detail = "it loads now" if self._load_all else "it loads at the first request"
        return Change(model.key, "replaced" if replaces else "added", detail=detail)
