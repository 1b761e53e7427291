"""Places models: reads the GPUs, asks `eviction.decide`, keeps the ledger, makes room.

Decisions are made one at a time; nothing but the GPUs and the disk is waited for meanwhile. What
was granted is held from the decision on, also while the models that must go first still go.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from backend.app.config import Settings
from backend.app.errors import ModelFailed
from backend.app.gpu.probe import Reading
from backend.app.gpu.reader import GPUReader, Unreadable
from backend.app.hub.disk import on_disk
from backend.app.models.eviction import Decision, decide
from backend.app.models.ledger import Ledger
from backend.app.models.meter import Meter
from backend.app.models.needs import Needs
from backend.app.models.placement import Grant, NoRoom, Refused, Replicas, Wish, free_on
from backend.app.waiting import aside

if TYPE_CHECKING:
    from backend.app.models.base import BaseModelWrapper
    from backend.app.models.registry import ModelRegistry

log = logging.getLogger(__name__)

OTHERS_S = 2.0
"""How long the files of models may be looked at that are not to be placed now."""
READ_S = 30.0
"""How long the GPUs may take to answer before a model is refused."""
ATTEMPTS = 3
"""So often room is made before a model is refused."""
SLACK_S = 15.0
"""What an eviction may take beyond the deadlines of its steps."""
CPU_GRANT = Grant((), 0.0)

CUDA_REQUIRED = (
    "CUDA requis: no GPU is visible to the gateway. Check that `nvidia-smi` lists one, that the"
    " container runs with `--gpus all`, and CUDA_VISIBLE_DEVICES. MODEL_SET=demo serves tiny demo"
    " models without a GPU."
)


def eviction_s(settings: Settings) -> float:
    """How long it may take until others have gone."""
    return settings.drain_s + settings.engine_term_s + settings.memory_back_s + SLACK_S


class Placer:
    """`registry` is asked for only once models are placed. `cpu_allowed`: engines may run without
    a GPU where there is none."""

    def __init__(
        self,
        read: Callable[[], Reading],
        registry: Callable[[], ModelRegistry],
        *,
        settings: Settings,
        needs: Needs,
        cpu_allowed: bool,
    ) -> None:
        self._reader = GPUReader(read)
        self._registry = registry
        self._settings = settings
        self._needs = needs
        self._cpu_allowed = cpu_allowed
        self._had_gpus = False
        self._turn = asyncio.Lock()
        self.ledger = Ledger()
        self.meter = Meter(self._reader, self.ledger, needs, settings)

    async def place(
        self, model: BaseModelWrapper, ids: Sequence[int], replicas: Replicas
    ) -> list[Grant]:
        """One grant per replica, held until `release`; idle models go for them where they must.

        Raises Refused with numbers, or GatewayError when the GPUs are missing, or they or the
        disk do not answer.
        """
        registry, limit = self._registry(), eviction_s(self._settings)
        for _ in range(ATTEMPTS):
            try:
                decision = await self._decide(model, ids, replicas)
            except NoRoom:
                if not await registry.leaving(limit):
                    raise
                continue
            if not decision.evict:
                return list(decision.grants)
            try:
                await registry.evict(decision.evict, f"to make room for {model.key}", limit)
                if await self._came_true(model):
                    return list(decision.grants)
            except BaseException:
                self.release(model)
                raise
            self.release(model)
        raise NoRoom(f"Room was made {ATTEMPTS} times and was gone each time.")

    async def check(self, model: BaseModelWrapper, ids: Sequence[int], replicas: Replicas) -> None:
        """Raises like `place` when it would; grants nothing. Its own memory counts as free."""
        await self._decide(model, ids, replicas, hold=False)

    def watch(self, reading: Reading, read_at: float) -> None:
        """A look at the GPUs that the monitor took; `read_at`: when it had ended, Unix time."""
        self.meter.watch(reading, read_at)
        for model in self._registry().models.values():
            for replica in model.replicas:
                self.meter.warn(model, replica.name)

    async def require_gpu(self, ids: Sequence[int]) -> bool:
        """True where a model may run at all, whatever it needs; else raises like `place`."""
        async with self._turn:
            reading = await self._look()
        if not reading.gpus:
            self._check_without_gpu(reading, ids)
        return True

    def release(self, model: BaseModelWrapper) -> None:
        """Its engines are gone, or never came."""
        self.ledger.release(model.key)
        self.meter.changed()

    async def _decide(
        self,
        model: BaseModelWrapper,
        ids: Sequence[int],
        replicas: Replicas,
        *,
        hold: bool = True,
    ) -> Decision:
        async with self._turn:
            placed = self.ledger.models() | {model.key}
            others = [m for m in self._registry().serving.values() if m.key not in placed]
            wish = await on_disk(partial(self._wish, model, ids, replicas))
            awaited = await asyncio.gather(*map(self._awaited, others))
            reading = await self._look()
            if not reading.gpus:
                self._check_without_gpu(reading, ids)
                return Decision((CPU_GRANT,) * wish.least_replicas)
            self.ledger.settle(reading)
            decision = decide(
                reading.gpus,
                self.ledger.books(reading),
                self._registry().residents(),
                wish,
                awaited,
                now=time.monotonic(),
                min_residence_s=self._settings.min_residence_s,
            )
            if hold:
                begun = not decision.evict
                self.ledger.hold(model.key, decision.grants, reading, begun=begun)
                self.meter.changed()
            return decision

    def _wish(self, model: BaseModelWrapper, ids: Sequence[int], replicas: Replicas) -> Wish:
        """What is to be placed. Looks at files."""
        return Wish(
            model.key,
            self._need(model, model.files.path),
            tuple(model.legal_sizes()),
            tuple(ids),
            replicas,
            model.elastic,
            model.own_share(),
        )

    async def _awaited(self, other: BaseModelWrapper) -> Wish:
        """What another that is not loaded would want. Its disk may hang: we do not wait for it."""
        path = None if other.files.stale else other.files.path
        try:
            need = await aside(OTHERS_S, partial(self._need, other, path))
        except asyncio.TimeoutError:
            need = self._need(other, None)
        return Wish(other.key, need, ids=other.preferred_device_ids, elastic=other.elastic)

    def _need(self, of: BaseModelWrapper, path: str | None) -> int:
        return self._needs.of(of.spec, path, least_cache=of.least_cache, elastic=of.elastic)

    async def _look(self) -> Reading:
        try:
            reading = await self._reader.fresh(READ_S)
        except Unreadable as exc:
            raise ModelFailed(f"{exc} Does `nvidia-smi`?", code="gpu_unreadable") from exc
        self._had_gpus = self._had_gpus or bool(reading.gpus)
        return reading

    def _check_without_gpu(self, reading: Reading, ids: Sequence[int]) -> None:
        why = "; ".join(reading.problems)
        if self._had_gpus:
            raise ModelFailed(
                f"The GPUs that were there are gone ({why}). Does `nvidia-smi` list them?",
                code="gpu_lost",
            )
        if ids:
            raise Refused(f"GPU ids {list(ids)} were asked for and no GPU is visible.")
        if not self._cpu_allowed:
            log.error("no GPU: %s", why)
            raise ModelFailed(CUDA_REQUIRED, code="cuda_required")

    async def _came_true(self, model: BaseModelWrapper) -> bool:
        """Is the memory there now that was granted in the hope of it?"""
        async with self._turn:
            reading = await self._look()
            self.ledger.begin(model.key, reading)
            self.meter.changed()
            books = self.ledger.books(reading)
            free = {g.index: free_on(g, books) for g in reading.gpus}
            mine = {hold.gpu for hold in books.holds if hold.model == model.key}
            return all(free.get(gpu, -1) >= 0 for gpu in mine)
