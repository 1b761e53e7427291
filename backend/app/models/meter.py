"""Measures what engines take of the GPUs and whether they give it back."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from backend.app.config import Settings
from backend.app.engines.launcher import Engine
from backend.app.errors import Unavailable
from backend.app.gpu.probe import Gpu, Reading
from backend.app.gpu.reader import GPUReader, Unreadable
from backend.app.hub.disk import on_disk
from backend.app.models.ledger import NOISE_BYTES, Ledger, Memory
from backend.app.models.needs import Needs, weight_bytes
from backend.app.models.placement import RESERVE_BYTES, gib

if TYPE_CHECKING:
    from backend.app.models.base import BaseModelWrapper
    from backend.app.models.replica import Replica

log = logging.getLogger(__name__)

MEASURE_S = 5.0
"""How long one measurement may hold up a load or an unload."""
LOOK_S = 0.2
LONGEST_LOOK_S = 1.0
"""Usually milliseconds."""
MOST_GROWTH = 2
"""So many times its grant is believed of a model when only the device as a whole was measured."""
LEAST_OF_WEIGHTS = 0.5
"""So much of its weights on disk at least, then: an engine may halve them while it loads."""
NOTHING = Reading("none", ())


@dataclass(frozen=True)
class Held:
    """What a replica held on one GPU just before it was stopped, and what was in use there."""

    taken: int
    used: int
    processes: frozenset[int]
    """The driver's numbers of its processes; empty where only the device as a whole tells."""


@dataclass(frozen=True)
class Returned:
    """What came back. Bytes; `freed` is None where it cannot be told."""

    freed: int | None = None
    missing: int = 0
    """What the devices still had not given back when MEMORY_BACK_S was over."""


@dataclass(frozen=True)
class Gauge:
    """The meter at one model's replicas."""

    meter: Meter
    model: BaseModelWrapper

    async def proven(self, replica: Replica, engine: Engine) -> None:
        """The engine has answered and is about to serve: measure what it takes."""
        await self.meter.proven(self.model, replica, engine)

    async def before_stop(self, replica: Replica) -> Mapping[int, Held] | None:
        """Measure what is to come back, by GPU; None where that cannot be told."""
        return await self.meter.before_stop(replica)

    async def after_stop(self, replica: Replica, held: Mapping[int, Held] | None) -> Returned:
        """Wait until it has come back, MEMORY_BACK_S at most."""
        return await self.meter.after_stop(self.model, replica, held)


class Meter:
    def __init__(self, reader: GPUReader, ledger: Ledger, needs: Needs, settings: Settings) -> None:
        self._reader = reader
        self._ledger = ledger
        self._needs = needs
        self._settings = settings
        self._changed_at = 0.0
        self._warned: set[str] = set()

    def changed(self) -> None:
        """The ledger was: a look at the GPUs that began before shows what is no more."""
        self._changed_at = time.time()

    def watch(self, reading: Reading, read_at: float) -> None:
        """A look at the GPUs that somebody else took; `read_at`: when it had ended, Unix time."""
        if read_at > self._changed_at + LONGEST_LOOK_S:
            self._ledger.watch(reading)

    def memory(self, replica: str) -> Memory | None:
        return self._ledger.memory(replica)

    async def proven(self, model: BaseModelWrapper, replica: Replica, engine: Engine) -> None:
        """The replica is about to serve: what it holds now is what its load took."""
        if not self._ledger.of(replica.name):
            return
        reading = await self._look() or NOTHING
        listed = {number for gpu in reading.gpus for number in gpu.processes}
        own = await engine.own(listed) if listed else frozenset[int]()
        self._ledger.prove(replica.name, reading, own)
        self.changed()
        self.warn(model, replica.name)
        await self._try_to_learn(model, replica)

    def warn(self, model: BaseModelWrapper, replica: str) -> None:
        """Say once when a replica was seen to take more than it was granted."""
        memory = self.memory(replica)
        if memory is not None and memory.over_grant and replica not in self._warned:
            self._warned.add(replica)
            log.warning("%s took more memory than granted: %s", replica, memory.over_grant)
            model.update_runtime("memory above grant", memory.over_grant, replica=replica)

    async def before_stop(self, replica: Replica) -> Mapping[int, Held] | None:
        """What is to come back, by GPU; None where that cannot be told."""
        if not self._ledger.of(replica.name):
            return None
        reading = await self._look()
        if reading is None:
            return None
        processes = {e.gpu: e.processes for e in self._ledger.of(replica.name)}
        return {
            gpu.index: Held(share.bytes, gpu.memory_used, processes[gpu.index])
            for gpu in reading.gpus
            for share in self._ledger.shares(gpu)
            if share.replica == replica.name and share.by != "ledger"
        }

    async def after_stop(
        self, model: BaseModelWrapper, replica: Replica, held: Mapping[int, Held] | None
    ) -> Returned:
        """Wait until the devices have given back what it held, MEMORY_BACK_S at most."""
        returned = await self._returned(replica.name, held) if held else Returned()
        await self._try_to_learn(model, replica)
        self._ledger.ended(replica.name)
        self.changed()
        self._warned.discard(replica.name)
        if returned.missing:
            words = (
                f"{gib(returned.missing)} of GPU memory did not come back within"
                f" {self._settings.memory_back_s:.0f} s though no process of it is left;"
                " `nvidia-smi` shows who holds it"
            )
            log.error("%s: %s", replica.name, words)
            model.update_runtime("memory missing", words, replica=replica.name)
        return returned

    async def _returned(self, replica: str, held: Mapping[int, Held]) -> Returned:
        deadline = time.monotonic() + self._settings.memory_back_s
        while True:
            reading = await self._look()
            if reading is None:
                return Returned()
            told = [
                (before.taken, _still_held(gpu, before))
                for gpu in reading.gpus
                if (before := held.get(gpu.index))
                and (before.processes or not self._ledger.others_load_on(gpu.index, replica))
            ]
            if not told:
                return Returned()
            missing = sum(still for _, still in told)
            freed = sum(taken for taken, _ in told) - missing
            if missing <= NOISE_BYTES:
                return Returned(freed)
            if time.monotonic() >= deadline:
                return Returned(freed, missing)
            await asyncio.sleep(LOOK_S)

    async def _look(self) -> Reading | None:
        try:
            return await self._reader.fresh(MEASURE_S)
        except Unreadable as exc:
            log.warning("memory is not measured: %s", exc)
            return None

    async def _try_to_learn(self, model: BaseModelWrapper, replica: Replica) -> None:
        try:
            await self._learn(model, replica)
        except Unavailable as exc:
            log.warning("%s: what it takes is not remembered: %s", replica.name, exc)

    async def _learn(self, model: BaseModelWrapper, replica: Replica) -> None:
        """Remember what it really takes, for the next placement."""
        memory = self.memory(replica.name)
        if memory is None or memory.used is None or memory.by == "ledger":
            return
        fixed, peak, gpus = memory.used, memory.peak, len(self._ledger.of(replica.name))
        if memory.by == "device":  # another program may have grown meanwhile
            if model.elastic and memory.over_grant:
                return
            fixed = peak = min(fixed, MOST_GROWTH * memory.granted)
        if model.least_cache:
            if replica.cache_bytes is None:
                return  # this version of the engine does not say
            fixed -= replica.cache_bytes * gpus
        if model.elastic:
            fixed -= RESERVE_BYTES * gpus
        if memory.by == "device" and fixed < await on_disk(partial(_least, model), MEASURE_S):
            log.info(
                "%s: %s measured on the device is no measure of it: others gave back meanwhile",
                replica.name,
                gib(max(0, fixed)),
            )
            return
        learn = partial(self._needs.learn, model.spec, fixed=max(0, fixed), peak=peak)
        await on_disk(learn, MEASURE_S)


def _least(model: BaseModelWrapper) -> float:
    """What it takes at the very least, by its files. Blocking."""
    path = model.files.path
    with contextlib.suppress(OSError):
        return weight_bytes(path) * LEAST_OF_WEIGHTS if path else 0
    return 0


def _still_held(gpu: Gpu, before: Held) -> int:
    """What of it the device has not given back: by its processes, else by all that is in use."""
    if before.processes:
        return sum(gpu.processes.get(number, 0) for number in before.processes)
    return max(0, before.taken - max(0, before.used - gpu.memory_used))
