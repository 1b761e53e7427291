"""Reads the configuration again and applies it; what did not change is not touched."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from backend.app.config import ConfigError
from backend.app.hub.disk import on_disk
from backend.app.models.base import BaseModelWrapper
from backend.app.models.change import Change, What, differences, shown
from backend.app.models.contracts import Artifacts, Goal
from backend.app.models.registry import ModelRegistry
from backend.app.models.spec import ModelSpec
from backend.app.waiting import background

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
        self._following: dict[str, BaseModelWrapper] = {}
        """What is served as soon as the predecessor of the same key is gone."""
        self._successions: set[asyncio.Task[None]] = set()

    async def reload(self, *, restart: bool = False, wait_s: float | None = None) -> list[Change]:
        """One change for each model that was or is configured.

        `restart`: engines whose configuration waits for one are drained and loaded again.
        `wait_s`: return when what was removed is gone, what takes its place is served and what was
        restarted has settled, or raise DeadlineExceeded. Raises ConfigError, and then nothing has
        changed.
        """
        async with self._turn:
            try:
                specs = await on_disk(self._read)
            except ConfigError as exc:
                log.error("the configuration of the models stays as it is: %s", exc)
                raise
            changes, goals = self._apply(self._prepare(specs), restart)
        for change in changes:
            if change.change != "unchanged":
                log.info("%s is %s: %s", change.key, change.change, change.detail)
        if wait_s is not None:
            await self._registry.gone(*(c.key for c in changes if c.change == "removed"))
            if self._successions:
                await asyncio.wait(self._successions)
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

    def _apply(
        self, wanted: Mapping[str, _Wanted], restart: bool
    ) -> tuple[list[Change], list[tuple[BaseModelWrapper, Goal]]]:
        registry = self._registry
        before = registry.serving
        changes = []
        for key in before.keys() - wanted.keys():
            registry.retire(key)
            changes.append(Change(key, "removed", detail="it is drained, unloaded and then gone"))
        for key in self._following.keys() - wanted.keys():
            self._forget(key)
            changes.append(Change(key, "removed", detail="it was not served yet"))
        goals = []
        for key, (spec, new, files) in wanted.items():
            if new is not None:
                changes.append(self._add(new, replaces=key in before))
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

    def _add(self, model: BaseModelWrapper, *, replaces: bool) -> Change:
        """Serve it now, or when the one of this key that is on its way out is gone."""
        what: What = "replaced" if replaces else "added"
        if replaces:
            self._registry.retire(model.key)
        if model.key in self._registry.models:
            self._forget(model.key)
            self._following[model.key] = model
            task = background(self._succeed(model.key), f"successor of {model.key}")
            self._successions.add(task)
            task.add_done_callback(self._successions.discard)
            return Change(model.key, what, detail="it follows when its predecessor is drained")
        self._serve(model)
        detail = "it loads now" if self._load_all else "it loads at the first request"
        return Change(model.key, what, detail=detail)

    def _forget(self, key: str) -> None:
        """A later reload thought better of it."""
        if model := self._following.pop(key, None):
            model.configuration.release()

    async def _succeed(self, key: str) -> None:
        await self._registry.gone(key)
        model = self._following.pop(key, None)
        if model is not None and not self._registry.closing:
            self._serve(model)

    def _serve(self, model: BaseModelWrapper) -> None:
        self._registry.add(model)
        model.begin()
        if self._load_all:
            model.load()
