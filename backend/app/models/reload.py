"""Reads the configuration again and applies it; what did not change is not touched."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from backend.app.config import ConfigError
from backend.app.models.base import BaseModelWrapper
from backend.app.models.change import Change, differences, shown
from backend.app.models.contracts import Artifacts, Goal
from backend.app.models.registry import ModelRegistry
from backend.app.models.spec import ModelSpec

log = logging.getLogger(__name__)


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
            changes, goals = await self._apply(specs, restart)
        for change in changes:
            if change.change != "unchanged":
                log.info("%s is %s: %s", change.key, change.change, change.detail)
        if wait_s is not None:
            await self._registry.gone(*(c.key for c in changes if c.change == "removed"))
            for model, goal in goals:
                await model.settled(goal, wait_s)
        return changes

    async def _apply(
        self, specs: Sequence[ModelSpec], restart: bool
    ) -> tuple[list[Change], list[tuple[BaseModelWrapper, Goal]]]:
        registry = self._registry
        wanted = {spec.key: spec for spec in specs}
        before = registry.serving
        changes = []
        for key in before.keys() - wanted.keys():
            registry.retire(key)
            changes.append(Change(key, "removed", detail="it is drained, unloaded and then gone"))
        goals = []
        for key, spec in wanted.items():
            model = before.get(key)
            if model is None or model.spec.kind is not spec.kind:
                changes.append(await self._add(spec, replaces=model is not None))
                continue
            fields = shown(differences(model.configuration.wanted, spec))
            if fields:
                model.configuration.take_on(spec, self._artifacts)
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

    async def _add(self, spec: ModelSpec, *, replaces: bool) -> Change:
        """A model of this key that is on its way out goes first."""
        if replaces:
            self._registry.retire(spec.key)
        await self._registry.gone(spec.key)
        model = self._make(spec)
        self._registry.add(model)
        model.begin()
        if self._load_all:
            model.load()
        detail = "it loads now" if self._load_all else "it loads at the first request"
        return Change(spec.key, "replaced" if replaces else "added", detail=detail)
