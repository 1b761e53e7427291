"""BaseModelWrapper: one model, its replicas, its leases.

Whoever wants something of a model says so by setting its goal (`load`, `unload`, `download`, a
first lease, the idle timer). One supervisor task per model (`supervisor.py`) reaches for the
newest goal and is the only one that starts or stops replicas; nobody checks a state and then acts.
"""

from __future__ import annotations

import abc
import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, ClassVar

from backend.app.config import Settings
from backend.app.engines.client import EngineClient
from backend.app.engines.launcher import EngineSpec, Launcher, LaunchError
from backend.app.errors import Conflict, DeadlineExceeded, InvalidRequest, ModelFailed
from backend.app.models import refusals
from backend.app.models.configuration import Configuration
from backend.app.models.contracts import Artifacts, Goal, Lease
from backend.app.models.leasing import Leasing
from backend.app.models.meter import Gauge
from backend.app.models.on_disk import OnDisk
from backend.app.models.placement import Grant, Replicas
from backend.app.models.placer import Placer
from backend.app.models.replica import Replica
from backend.app.models.runtime import Runtime
from backend.app.models.snapshot import snapshot
from backend.app.models.spec import ModelSpec
from backend.app.models.state import Failure, Progress, State, derive
from backend.app.models.supervisor import Supervisor
from backend.app.waiting import within

log = logging.getLogger(__name__)

LEVELS = {
    "broken": logging.WARNING,
    "restarting": logging.WARNING,
    "failed": logging.ERROR,
}
"""Of the steps that an operator should see whatever the log leaves out."""


class BaseModelWrapper(abc.ABC):
    """Subclasses say how to run and prove their engine; `replica.Recipe` has their contracts."""

    def __init__(
        self,
        spec: ModelSpec,
        *,
        settings: Settings,
        launcher: Launcher,
        artifacts: Artifacts,
        placer: Placer,
        publish: Callable[[str, dict[str, Any]], None],
    ) -> None:
        self.spec = spec
        self.settings = settings
        self.artifacts = artifacts
        self._launcher = launcher
        self._publish = publish
        self.runtime = Runtime(details={"source": spec.source})
        self.files = OnDisk(self)
        self.preferred_device_ids: tuple[int, ...] = spec.gpu_ids
        self.placer = placer
        self.supervisor = Supervisor(self)
        self.leasing = Leasing(self)
        self.admission = self.leasing.admission
        self.configuration = Configuration(self)
        self.on_renamed: Callable[[], None] = lambda: None
        """Called when the model answers to other names than before."""
        self._changed = asyncio.Event()

    # ---- what subclasses provide ------------------------------------------------------------

    @abc.abstractmethod
    def engine_spec(self, index: int, grant: Grant) -> EngineSpec: ...

    @abc.abstractmethod
    async def prove(self, client: EngineClient, timeout_s: float) -> None: ...

    @abc.abstractmethod
    def parse_line(self, line: str) -> Progress | None: ...

    least_cache: ClassVar[int] = 0
    """Bytes of cache without which its engine is not worth starting."""
    elastic: ClassVar[bool] = False
    """Its engine takes all the GPU memory that it is granted, for its cache."""

    def legal_sizes(self) -> Sequence[int]:
        """Over how many GPUs one replica may spread."""
        return (1,)

    def own_share(self) -> float | None:
        """How much of each GPU its engine takes whatever it is granted, if an operator says so."""
        return None

    def cache_bytes(self, line: str) -> int | None:
        """What of each GPU its engine keeps for its cache, where this line says so."""
        return None

    # ---- what can be seen -------------------------------------------------------------------

    @property
    def key(self) -> str:
        return self.spec.key

    @property
    def replicas(self) -> list[Replica]:
        return self.supervisor.replicas

    @property
    def failure(self) -> Failure | None:
        if self.supervisor.failure is None and all(r.failure for r in self.replicas):
            return next((r.failure for r in self.replicas), None)
        return self.supervisor.failure

    @property
    def state(self) -> State:
        if self.replicas and not self.supervisor.admitting:
            return State.UNLOADING
        return derive(self.supervisor.base_state, (r.state for r in self.replicas))

    @property
    def progress(self) -> Progress | None:
        loading = next((r.progress for r in self.replicas if r.progress), None)
        return self.runtime.progress or loading

    @property
    def in_flight(self) -> int:
        return sum(replica.in_flight for replica in self.replicas)

    @property
    def downloaded(self) -> bool:
        """Everything needed to load it was on disk when that was last looked at."""
        return self.files.path is not None

    @property
    def model_path(self) -> str:
        """The complete files on disk. Raises LaunchError when they are not there."""
        path = self.files.path
        if path is None:
            raise LaunchError(f"not all files of {self.spec.source} are on this disk (any more)")
        return path

    def look_again(self) -> None:
        """Its files changed: see and tell what is there now, not only when that is due."""
        self.files.forget()
        self.supervisor.wake()

    def cache_has_artifacts(self) -> bool:
        """At least one file of the model is on disk; whether all are is `downloaded`."""
        return self.files.any

    def engine_logs(self, lines: int) -> dict[str, list[str]]:
        """The last lines of each replica's newest engine, of those that have ended too."""
        return self._launcher.log_tails(self.key, lines)

    @property
    def fresh_failure(self) -> Failure | None:
        """For which requests are turned away, until it is FAILED_RETRY_S old."""
        failure = self.failure
        given_up = failure and self.state is State.FAILED and self.supervisor.settled
        fresh = failure and failure.at + self.settings.failed_retry_s > time.time()
        return failure if given_up and fresh else None

    def why_not(self) -> Failure | None:
        """None when a request would be served or would load the model; else what is wrong.

        That others hold the memory which it needs is no fault of this gateway's.
        """
        failure = self.fresh_failure
        return None if failure is None or failure.code == "insufficient_memory" else failure

    def model_failed(self, failure: Failure, retry_after: float | None = None) -> ModelFailed:
        """What a request is told of a failure."""
        return refusals.failed(self.key, failure, retry_after or self.settings.failed_retry_s)

    def snapshot(self) -> dict[str, Any]:
        """Everything `GET /api/admin/status` says about this model."""
        return snapshot(self)

    def update_runtime(
        self,
        action: str,
        detail: str = "",
        *,
        replica: str | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Record a step, log it, publish it and wake everybody who waits for a change."""
        self.runtime.progress = progress
        if action != "progress":
            self.runtime.status = f"{action}: {detail}" if detail else action
            said = f"{action}: {detail}" if detail else action
            log.log(LEVELS.get(action, logging.INFO), "%s: %s", replica or self.key, said)
        self.runtime.note(action, detail, replica)
        self._wake_waiting()
        self._publish("model", self.snapshot() | {"action": action})

    def _wake_waiting(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def changed(self) -> None:
        """Wait for the next `update_runtime`."""
        await self._changed.wait()

    async def until(self, reached: Callable[[], bool], timeout_s: float) -> bool:
        """Wait for a change after which `reached()` holds. False when time ran out."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while not reached():
            left = deadline - loop.time()
            if left <= 0:
                return False
            with contextlib.suppress(asyncio.TimeoutError):
                await within(left, self._changed.wait())
        return True

    # ---- what can be asked ------------------------------------------------------------------

    def begin(self) -> None:
        """Start the supervisor. Needs a running loop."""
        self.supervisor.begin()
        self.update_runtime("instantiated", f"{self.spec.kind.value} from {self.spec.source}")

    def load(self, gpu_ids: Sequence[int] | None = None, replicas: Replicas | None = None) -> Goal:
        """Want it up. Joins a load under way; another layout than today's means a reload."""
        self.leasing.refuse_closed()
        ids = self.preferred_device_ids if gpu_ids is None else tuple(gpu_ids)
        count = replicas or self.configuration.wanted.replicas
        if ids and count != "auto" and len(ids) % count:
            raise InvalidRequest(
                f"{len(ids)} GPU ids cannot be shared equally by {count} replicas.",
                param="gpu_device_ids",
            )
        if ids != self.preferred_device_ids:
            self.preferred_device_ids = ids
            self.update_runtime("placement preference", f"GPUs {list(ids) or 'any'}")
        return self.supervisor.want_up(ids, count)

    def unload(self) -> Goal:
        """Want it down; a load or download under way is cancelled."""
        self.leasing.refuse_closed()
        self.admission.refuse_waiting(refusals.unloaded(self.key))
        return self.supervisor.want(up=False)

    def download(self) -> Goal:
        """Fetch what is missing, verify what is there. Not while it is loaded."""
        self.leasing.refuse_closed()
        supervisor = self.supervisor
        if supervisor.goal.fetch and not supervisor.settled:
            return supervisor.goal
        if supervisor.goal.up and self.state is not State.FAILED:
            raise Conflict(
                f"The model '{self.key}' is {self.state.value}; unload it before its files are"
                " verified or downloaded again."
            )
        self.update_runtime("download requested")
        return supervisor.want(up=False, fetch=True)

    def cancel(self) -> Goal:
        """Stop a download or a load that is under way, also one that still drains what ran."""
        busy = {State.DOWNLOADING, State.LOADING, State.RESTARTING}
        if not self.supervisor.under_way and self.state not in busy:
            raise Conflict(
                f"The model '{self.key}' is {self.state.value}: there is nothing to cancel."
            )
        return self.unload()

    async def settled(self, goal: Goal, timeout_s: float) -> None:
        """Wait until a goal (or a newer one) was reached or given up."""
        if not await self.until(lambda: self.supervisor.reached >= goal.number, timeout_s):
            raise DeadlineExceeded(f"The model '{self.key}' is still {self.state.value}.")

    def turn_away(self) -> None:
        """The gateway is about to stop: who has no engine yet is told so, the rest may finish."""
        self.leasing.turn_away()
        self._wake_waiting()

    async def close(self) -> None:
        """Drain and stop for good."""
        self.turn_away()
        await self.supervisor.close()

    async def retire(self) -> None:
        """Drain and stop for good, because it is configured no more."""
        self.leasing.retire()
        await self.close()
        self.configuration.release()

    def lease(self, affinity: bytes = b"") -> AbstractAsyncContextManager[Lease]:
        """A place at a ready replica, loading the model first when it is idle.

        Raises QueueFull, Loading (after LOAD_WAIT_S), ModelFailed or Draining; what was taken is
        given back however the caller ends.
        """
        return self.leasing.lease(affinity)

    # ---- the supervisor's hands ---------------------------------------------------------------

    def new_replica(self, index: int) -> Replica:
        return Replica(
            f"{self.key}-{index}",
            index,
            recipe=self,
            gauge=Gauge(self.placer.meter, self),
            launcher=self._launcher,
            settings=self.settings,
            on_change=self._replica_changed,
        )

    def _replica_changed(self, replica: Replica, action: str) -> None:
        detail = ""
        if replica.failure is not None and action in {"failed", "restarting"}:
            detail = replica.failure.reason
            self.runtime.last_error = replica.failure
        if action == "ready" and replica.last_load_s is not None:
            detail = f"after {replica.last_load_s:.1f} s"
        self.update_runtime(action, detail, replica=replica.name, progress=replica.progress)
