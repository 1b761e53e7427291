"""ModelRegistry: every model of this gateway, by every name it answers to."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

from backend.app.errors import ModelNotFound
from backend.app.models.base import BaseModelWrapper
from backend.app.models.contracts import Lease
from backend.app.models.spec import Kind

log = logging.getLogger(__name__)


class ModelRegistry:
    """Owns the wrappers. Lookup by key, repository id or alias; keys win."""

    def __init__(self, models: Iterable[BaseModelWrapper]) -> None:
        self.models = {model.key: model for model in models}
        self._names: dict[str, BaseModelWrapper] = {}
        for model in self.models.values():
            for name in model.spec.names:
                self._names.setdefault(name, model)
        self._begun = False

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
        return [model for model in self.models.values() if model.spec.kind is kind]

    def names(self) -> list[tuple[str, BaseModelWrapper]]:
        """Each name clients may use, with its model."""
        return list(self._names.items())

    @contextlib.asynccontextmanager
    async def lease(self, name: str, affinity: bytes = b"") -> AsyncIterator[Lease]:
        async with self.resolve(name).lease(affinity) as lease:
            yield lease

    def begin(self, *, load_all: bool) -> None:
        """Start supervising; with `load_all`, want every model up. One failing stops no other."""
        for model in self.models.values():
            model.begin()
        self._begun = True
        if load_all:
            for model in self.models.values():
                model.load()

    def load(
        self, key: str, gpu_ids: Sequence[int] | None = None, replicas: int | None = None
    ) -> BaseModelWrapper:
        model = self.get(key)
        model.load(gpu_ids, replicas)
        return model

    def status(self) -> dict[str, Any]:
        return {key: model.snapshot() for key, model in self.models.items()}

    def in_flight(self) -> int:
        return sum(model.admission.taken for model in self.models.values())

    async def close(self) -> None:
        """Drain and stop every model, all at the same time."""
        await asyncio.gather(*(model.close() for model in self.models.values()))
        log.info("all models are unloaded")
