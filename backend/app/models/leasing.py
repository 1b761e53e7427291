"""Places at a model's replicas: who gets one, who waits for it, who is turned away."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from backend.app.errors import Loading, Unloaded
from backend.app.models import refusals
from backend.app.models.admission import Admission
from backend.app.models.balance import balance
from backend.app.models.contracts import Lease
from backend.app.models.state import State

if TYPE_CHECKING:
    from backend.app.models.base import BaseModelWrapper
    from backend.app.models.replica import Replica

FIRST_GUESS_S = 30.0
"""Retry-After for a model that has never been loaded here."""


class Leasing:
    """Belongs to one wrapper."""

    def __init__(self, model: BaseModelWrapper) -> None:
        self._model = model
        self.admission = Admission(model.spec.max_in_flight, model.spec.max_queue)
        self.last_used = time.monotonic()
        self._retired = False
        self._turning_away = False

    @contextlib.asynccontextmanager
    async def lease(self, affinity: bytes) -> AsyncIterator[Lease]:
        """See `BaseModelWrapper.lease`."""
        model = self._model
        self.refuse_closed()
        self._refuse_failed()
        await self.admission.enter(model.settings.request_idle_s)
        try:
            replica = await self._ready_replica(affinity)
            client = replica.enter()
            self.last_used = time.monotonic()
            try:
                yield Lease(client, replica.name, model.spec, replica.report_unreachable)
            finally:
                replica.leave()
                self.last_used = time.monotonic()
        finally:
            self.admission.leave()
            if not model.in_flight:
                model.supervisor.wake()  # the idle timer starts now; a drain may be waiting

    # ---- an end is near ---------------------------------------------------------------------

    def turn_away(self) -> None:
        """The gateway is about to stop: nobody gets an engine any more."""
        self._turning_away = True
        self.admission.refuse_waiting(refusals.shutting_down())

    def retire(self) -> None:
        """The model is configured no more."""
        self._retired = True
        self.admission.refuse_waiting(refusals.gone(self._model.key))

    def refuse_closed(self) -> None:
        """Raises what there is to say when nothing can be asked of the model any more."""
        if self._retired:
            raise refusals.gone(self._model.key)
        if self._turning_away:
            raise refusals.shutting_down()

    def cut_off(self) -> Unloaded:
        """What the requests are told that outlast a drain."""
        return refusals.cut_off(
            self._model.key,
            self._model.settings.drain_s,
            reloads=self._model.supervisor.goal.up,
            shutdown=self._turning_away and not self._retired,
        )

    # ---- on the way to a replica --------------------------------------------------------------

    def _refuse_failed(self) -> None:
        model = self._model
        if failure := model.fresh_failure:
            left = failure.at + model.settings.failed_retry_s - time.time()
            raise model.model_failed(failure, max(left, 1))

    async def _ready_replica(self, affinity: bytes) -> Replica:
        model, supervisor = self._model, self._model.supervisor
        self._refuse_failed()  # it may have failed while this request waited for a place
        supervisor.revive(model.settings.failed_retry_s)
        replica = self._choose(affinity)
        if replica is not None:
            return replica
        count = supervisor.goal.replicas if supervisor.goal.up else None
        asked = model.load(replicas=count).number

        def over() -> bool:
            gone = supervisor.goal.number > asked and not supervisor.goal.up
            failed = supervisor.reached >= asked and model.state is State.FAILED
            return self._choose(affinity) is not None or gone or failed or self._turning_away

        in_time = await model.until(over, model.settings.load_wait_s)
        replica = self._choose(affinity)
        if replica is not None:
            return replica
        self.refuse_closed()
        if not in_time:
            where = f" ({model.progress.phase.value})" if model.progress else ""
            raise Loading(
                f"The model '{model.key}' is still {model.state.value}{where}.",
                retry_after=supervisor.load_seconds or FIRST_GUESS_S,
            )
        if model.failure is not None:
            raise model.model_failed(model.failure)
        raise refusals.unloaded(model.key)

    def _choose(self, affinity: bytes) -> Replica | None:
        if not self._model.supervisor.admitting:
            return None
        return balance([r for r in self._model.replicas if r.admits], affinity)
