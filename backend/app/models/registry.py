"""ModelRegistry: every model of this gateway, by every name it answers to."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any

from backend.app.errors import ModelNotFound
from backend.app.models.base import BaseModelWrapper
from backend.app.models.contracts import Lease
from backend.app.models.eviction import Resident
from backend.app.models.placement import Replicas
from backend.app.models.snapshot import traffic
from backend.app.models.spec import Kind
from backend.app.models.state import State

log = logging.getLogger(__name__)


class ModelRegistry:
    """Owns the wrappers. Lookup by key, repository id or alias; keys win."""

    def __init__(
        self,
        models: Iterable[BaseModelWrapper],
        publish: Callable[[str, dict[str, Any]], None] = lambda kind, data: None,
    ) -> None:
        self._publish = publish
        self.models: dict[str, BaseModelWrapper] = {}
        """Those that are configured no more too, until their engines are gone."""
        self.closing = False
        """No model is to be added any more."""
        self._names: dict[str, BaseModelWrapper] = {}
        self._retiring: dict[str, asyncio.Task[None]] = {}
        for model in models:
            self.add(model)

    def resolve(self, name: str) -> BaseModelWrapper:
        """The model a client means. Raises ModelNotFound naming those served."""
        model = self._names.get(name)
        if model is None:
            raise ModelNotFound(name, sorted(self._names))
        return model

    def get(self, key: str) -> BaseModelWrapper:
        """The model with this key, for operators. Raises ModelNotFound."""
        model = self.models.get(key)
        if model is None:
            raise ModelNotFound(key, sorted(self.models))
        return model

    def of_kind(self, kind: Kind) -> list[BaseModelWrapper]:
        return [model for model in self.serving.values() if model.spec.kind is kind]

    def names(self) -> list[tuple[str, BaseModelWrapper]]:
        """Each name clients may use, with its model."""
        return list(self._names.items())

    # ---- a changing configuration -----------------------------------------------------------

    def add(self, model: BaseModelWrapper) -> None:
        """Serve one more model. Its key must be free."""
        self.models[model.key] = model
        model.on_renamed = self._rename
        self._rename()

    def retire(self, key: str) -> None:
        """Serve a model no more: unknown to clients at once, gone when it is drained."""
        self._retiring[key] = asyncio.get_running_loop().create_task(
            self._retire(self.models[key]), name=f"retire {key}"
        )
        self._rename()

    async def _retire(self, model: BaseModelWrapper) -> None:
        await model.retire()
        del self.models[model.key]
        del self._retiring[model.key]
        self._publish("removed", {"key": model.key})

    @property
    def serving(self) -> dict[str, BaseModelWrapper]:
        """The models that are configured, by key."""
        return {k: model for k, model in self.models.items() if k not in self._retiring}

    async def gone(self, *keys: str) -> None:
        """Until those of these that are being retired are gone: drain and SIGTERM at the most."""
        if leaving := [self._retiring[key] for key in keys if key in self._retiring]:
            await asyncio.wait(leaving)

    def _rename(self) -> None:
        self._names = {}
        for model in self.serving.values():
            for name in model.spec.names:
                self._names.setdefault(name, model)

    # ---- the life of all --------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def lease(self, name: str, affinity: bytes = b"") -> AsyncIterator[Lease]:
        async with self.resolve(name).lease(affinity) as lease:
            yield lease

    async def begin(self, *, load_all: bool) -> None:
        """See what files there are and start supervising; with `load_all`, want every model up.
        One failing stops no other.
        """
        await self.look()
        for model in self.models.values():
            model.begin()
        if load_all:
            for model in self.models.values():
                model.load()

    def load(
        self, key: str, gpu_ids: Sequence[int] | None = None, replicas: Replicas | None = None
    ) -> BaseModelWrapper:
        model = self.get(key)
        model.load(gpu_ids, replicas)
        return model

    def residents(self) -> list[Resident]:
        """The models that have engines, as far as evicting them goes."""
        return [_resident(model) for model in self.models.values() if model.replicas]

    async def leaving(self, timeout_s: float) -> bool:
        """Wait until those that are being unloaded have no engines any more. False: none is."""
        going = [m for m in self.models.values() if m.replicas and not m.supervisor.goal.up]
        await self._down(going, timeout_s)
        return bool(going)

    async def evict(self, keys: Sequence[str], reason: str, timeout_s: float) -> None:
        """Unload these models; come back when their engines are gone or time is over.

        A request that comes meanwhile is answered by them, or has them loaded again.
        """
        models = [self.models[key] for key in keys if key in self.models]
        for model in models:
            model.update_runtime("evicted", reason)
            model.supervisor.want(up=False)
        await self._down(models, timeout_s)

    async def _down(self, models: Sequence[BaseModelWrapper], timeout_s: float) -> None:
        async def gone(model: BaseModelWrapper) -> None:
            engines = model.replicas
            if not await model.until(lambda: model.replicas is not engines, timeout_s):
                log.error("%s: not unloaded within %.0f s", model.key, timeout_s)

        await asyncio.gather(*map(gone, models))

    async def look(self) -> None:
        """See what is on the disk of each model's files; bounded, also where a disk hangs."""
        await asyncio.gather(*(model.files.look() for model in self.models.values()))

    def status(self) -> dict[str, Any]:
        return {key: model.snapshot() for key, model in self.models.items()}

    def traffic(self) -> dict[str, dict[str, Any]]:
        """See `snapshot.traffic`, per model."""
        return {key: traffic(model) for key, model in self.models.items()}

    def turn_away(self) -> None:
        """See `BaseModelWrapper.turn_away`."""
        self.closing = True
        for model in self.models.values():
            model.turn_away()

    def in_flight(self) -> int:
        return sum(model.admission.taken for model in self.models.values())

    async def close(self) -> None:
        """Drain and stop every model, all at the same time."""
        self.closing = True
        await asyncio.gather(*(model.close() for model in self.models.values()))
        await self.gone(*self._retiring)
        log.info("all models are unloaded")


def _resident(model: BaseModelWrapper) -> Resident:
    settled = model.supervisor.settled and model.state is State.READY
    return Resident(
        model.key,
        leases=model.admission.taken + model.admission.queued,
        pinned=model.spec.pin,
        last_used=model.leasing.last_used,
        since=model.supervisor.up_since if settled else None,
    )
