"""Reaches for the newest goal of one model: files, placement, replicas, drain.

The only writer of what a model is doing. A newer goal interrupts a download, a placement and a
load; taking replicas down is never interrupted, and each of its waits is bounded.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Iterator
from typing import TYPE_CHECKING, TypeVar

from backend.app.errors import GatewayError
from backend.app.hub.errors import DownloadFailed
from backend.app.models.contracts import Goal, Superseded
from backend.app.models.on_disk import Files
from backend.app.models.placement import NoRoom, Refused, Replicas, gib
from backend.app.models.replica import Receipt, Replica
from backend.app.models.state import Failure, Phase, Progress, State
from backend.app.waiting import background, within

if TYPE_CHECKING:
    from backend.app.models.base import BaseModelWrapper

log = logging.getLogger(__name__)
T = TypeVar("T")

DISK_SILENT = "The disk of the models does not answer. Is it a network's, and is that there?"
CLOSE_SLACK_S = 60
"""Beyond the deadlines of an unload: for a kernel that is slow to let go of a process."""


class Supervisor:
    def __init__(self, model: BaseModelWrapper) -> None:
        self._model = model
        self.goal = Goal(0, up=False)
        self.reached = 0
        """The number of the newest goal that was reached or given up."""
        self.replicas: list[Replica] = []
        self.failure: Failure | None = None
        """Why the last goal was given up; None while all is well."""
        self.receipt: Receipt | None = None
        self.up_since: float | None = None
        """When the last load was done, on the monotonic clock."""
        self.load_seconds: float | None = None
        """What the last load took here, for honest estimates."""
        self.admitting = False
        """Requests may be sent to the replicas that are ready."""
        self.closed = False
        self._busy_with: State | None = None
        self._told: tuple[Files, bool] = "none", False
        """What of the files was seen, as it was published last."""
        self._layout: tuple[tuple[int, ...], Replicas] | None = None
        """(GPU ids, replicas) of the running replicas, as they were asked for."""
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    # ---- what can be seen -------------------------------------------------------------------

    @property
    def settled(self) -> bool:
        return self.reached == self.goal.number

    @property
    def under_way(self) -> bool:
        """A load or a download is wanted, and neither reached nor given up yet."""
        return not self.settled and (self.goal.up or self.goal.fetch)

    @property
    def base_state(self) -> State:
        """The state as far as it is not a replica's."""
        if self._busy_with is not None:
            return self._busy_with
        if self.failure is not None:
            return State.FAILED
        return State.IDLE if self._model.downloaded else State.ABSENT

    # ---- requests ---------------------------------------------------------------------------

    def begin(self) -> None:
        self._told = self._model.files.seen
        self._task = background(self._run(), f"model {self._model.key}")

    def wake(self) -> None:
        """Look at goal, idle timer and drain again."""
        self._wake.set()

    def want(
        self,
        *,
        up: bool,
        fetch: bool = False,
        gpu_ids: tuple[int, ...] = (),
        replicas: Replicas = 1,
    ) -> Goal:
        """Set a new goal; one that has it down already, and is on its way, serves again."""
        if not (up or fetch or self.settled or self.under_way):
            return self.goal
        self.goal = Goal(self.goal.number + 1, up, fetch, gpu_ids, replicas)
        self.wake()
        return self.goal

    def want_up(self, gpu_ids: tuple[int, ...], replicas: Replicas) -> Goal:
        """The goal that has it up in this layout: today's if that is on its way or standing."""
        same = self.goal.up and (self.goal.gpu_ids, self.goal.replicas) == (gpu_ids, replicas)
        if same and (not self.settled or self._model.state is not State.FAILED):
            self.revive(0)
            return self.goal
        return self.want(up=True, gpu_ids=gpu_ids, replicas=replicas)

    def revive(self, age_s: float) -> None:
        """Let failed replicas of a serving model try again once their failure is `age_s` old."""
        if not self.admitting:
            return
        for replica in self.replicas:
            failure = replica.failure
            if replica.state is State.FAILED and failure and failure.at + age_s <= time.time():
                replica.retry()

    def outdate(self) -> None:
        """What runs does so under an old configuration: the next goal takes it down first."""
        self._layout = None

    async def close(self) -> None:
        """Drain, stop everything, end the supervisor."""
        self.closed = True
        self.want(up=False)
        self.wake()
        if self._task is not None:
            limits = self._model.settings
            limit = limits.drain_s + limits.engine_term_s + limits.memory_back_s + CLOSE_SLACK_S
            await asyncio.wait({self._task}, timeout=limit)

    # ---- the loop ---------------------------------------------------------------------------

    async def _run(self) -> None:
        while not (self.closed and self.settled):
            await self._see_files()
            goal = self.goal
            if goal.number == self.reached:
                await self._sleep()
                continue
            try:
                await self._reach(goal)
            except Superseded:
                continue
            except Exception:
                log.exception("%s: supervision failed", self._model.key)
                failure = Failure("An unexpected error; see the log.", at=time.time())
                with self._surviving():
                    await self._give_up(failure)
            self.reached, goal.reached, goal.failure = goal.number, True, self._model.failure
            with self._surviving():
                if not self.replicas:
                    self._model.configuration.adopt()
                await self._see_files()
                self._model.update_runtime("settled", self._model.state.value)

    @contextlib.contextmanager
    def _surviving(self) -> Iterator[None]:
        """What is raised goes to the log: nobody else would see why a supervisor ended."""
        try:
            yield
        except Exception:
            log.exception("%s: supervision failed", self._model.key)

    async def _see_files(self) -> None:
        """Where that is due; what came or went behind our back is told."""
        files = self._model.files
        if files.due_s <= 0:
            await files.look()
        if files.seen != self._told:
            self._told = files.seen
            silent = ", as seen before: the disk does not answer" if files.stale else ""
            with self._surviving():
                self._model.update_runtime("files", files.files + silent)

    @property
    def idle_left_s(self) -> float | None:
        """Until it is taken down for want of requests; None without a limit, and while it works."""
        model = self._model
        limit = model.spec.idle_unload_s
        if not (limit and self.goal.up) or model.admission.taken:
            return None
        return model.leasing.last_used + limit - time.monotonic()

    async def _sleep(self) -> None:
        """Until something is wanted or the files are to be looked at; when the idle time is over,
        want it down.
        """
        self._wake.clear()
        model, left = self._model, self.idle_left_s
        timeout = model.files.due_s
        if left is not None:
            if left <= 0 and model.state is State.READY:
                self.want(up=False)
                with self._surviving():
                    model.update_runtime("idle", f"no request for {model.spec.idle_unload_s:.0f} s")
                return
            timeout = min(timeout, max(left, 1.0))
        with contextlib.suppress(asyncio.TimeoutError):
            await within(max(timeout, 0.0), self._wake.wait())

    async def _unless_superseded(self, goal: Goal, work: Awaitable[T]) -> T:
        """Run `work`; a newer goal cancels it."""
        task = asyncio.ensure_future(work)
        try:
            while not task.done():
                self._wake.clear()
                if self.goal is not goal:
                    raise Superseded
                woken = asyncio.ensure_future(self._wake.wait())
                try:
                    await asyncio.wait({task, woken}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    woken.cancel()
            return task.result()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    # ---- reaching a goal ----------------------------------------------------------------------

    async def _reach(self, goal: Goal) -> None:
        layout = (goal.gpu_ids, goal.replicas) if goal.up else None
        if layout != self._layout or all(r.state is State.FAILED for r in self.replicas):
            await self._take_down()
        if not self.replicas:
            self._model.configuration.adopt()
        self.failure = None
        if goal.fetch:
            await self._fetch(goal)
        elif goal.up:
            await self._bring_up(goal)

    async def _fetch(self, goal: Goal) -> bool:
        model = self._model

        def report(progress: Progress) -> None:
            model.update_runtime("progress", progress=progress)

        self._busy_with = State.DOWNLOADING
        model.update_runtime("downloading", model.spec.source)
        try:
            await self._unless_superseded(goal, model.artifacts.fetch(report))
        except GatewayError as exc:
            self._busy_with = None
            await self._give_up(self._failure(exc))
            return False
        finally:
            self._busy_with = None
        await self._unless_superseded(goal, model.files.look(patient=True))
        self._told = model.files.seen
        if model.files.stale:
            await self._give_up(Failure(DISK_SILENT, code="disk_silent", at=time.time()))
            return False
        if not model.downloaded:
            reason = (
                f"{model.spec.source} was downloaded and yet not all of its files are there: were"
                " they removed meanwhile? Download it again."
            )
            await self._give_up(Failure(reason, code="files_missing", at=time.time()))
            return False
        model.update_runtime("downloaded", model.spec.source)
        return True

    async def _bring_up(self, goal: Goal) -> None:
        model = self._model
        await self._unless_superseded(goal, model.files.look(patient=True))
        if not model.downloaded:
            if model.files.stale:
                await self._give_up(Failure(DISK_SILENT, code="disk_silent", at=time.time()))
                return
            # before hours of downloading what nothing here can run
            if not await self._placed(goal, model.placer.require_gpu(goal.gpu_ids)):
                return
            if not await self._fetch(goal):
                return
        if not self.replicas and not await self._start_replicas(goal):
            return
        await self._unless_superseded(goal, self._until_all_tried())
        ready = [r for r in self.replicas if r.state is State.READY]
        if ready:
            # its idle time starts now
            self.up_since = model.leasing.last_used = time.monotonic()
            self.load_seconds = max(r.last_load_s or 0.0 for r in ready)
            return
        worst = next((r.failure for r in self.replicas if r.failure), None)
        await self._give_up(worst or Failure("It did not start.", at=time.time()))

    async def _placed(self, goal: Goal, decision: Awaitable[T]) -> T | None:
        """What the placer decides; None when it refuses, and the goal was given up."""
        self._busy_with = State.LOADING
        self._model.update_runtime("placing", progress=Progress(Phase.QUEUED))
        try:
            return await self._unless_superseded(goal, decision)
        except Refused as exc:
            code = "insufficient_memory" if isinstance(exc, NoRoom) else "wrong_placement"
            failure = Failure(str(exc), code=code, at=time.time())
        except GatewayError as exc:
            failure = self._failure(exc)
        finally:
            self._busy_with = None
        await self._give_up(failure)
        return None

    async def _start_replicas(self, goal: Goal) -> bool:
        model = self._model
        placing = model.placer.place(model, goal.gpu_ids, goal.replicas)
        grants = await self._placed(goal, placing)
        if grants is None:
            return False
        self.replicas = [model.new_replica(index) for index in range(len(grants))]
        self._layout = (goal.gpu_ids, goal.replicas)
        self.admitting = True
        model.admission.resize(model.spec.max_in_flight * len(grants))
        for replica, grant in zip(self.replicas, grants, strict=True):
            replica.start(grant)
        return True

    async def _until_all_tried(self) -> None:
        """Until every replica is ready or failed; each step of theirs has its own deadline."""
        tried = {State.READY, State.FAILED}
        while not all(r.state in tried for r in self.replicas):
            await self._model.changed()

    def _failure(self, error: GatewayError) -> Failure:
        words = error.last_words if isinstance(error, DownloadFailed) else ()
        code = error.code or "model_failed"
        return Failure(error.message, code=code, log_tail=words, at=time.time())

    async def _give_up(self, failure: Failure) -> None:
        try:
            await self._take_down()
        finally:
            self.failure = failure
            self._model.runtime.last_error = failure
        self._model.update_runtime("failed", failure.reason)

    async def _take_down(self) -> None:
        """Admit nobody, let those in flight finish, stop the engines."""
        self.admitting = False
        self._layout = None
        if self.replicas:
            await self._stop_replicas()
        self._model.placer.release(self._model)

    async def _stop_replicas(self) -> None:
        began = time.monotonic()
        serving = [r for r in self.replicas if r.state is State.READY]
        stops = [asyncio.ensure_future(r.stop()) for r in self.replicas if r not in serving]
        await self._drain(serving)
        cut_off = self._model.leasing.cut_off()
        stops += [asyncio.ensure_future(r.stop(cut_off)) for r in serving]
        receipts = [r for r in await asyncio.gather(*stops) if r is not None]
        known = [r.freed_bytes for r in receipts if r.freed_bytes is not None]
        seconds = round(time.monotonic() - began, 3)
        escalated = any(r.escalated for r in receipts)
        missing = sum(r.missing_bytes for r in receipts)
        self.receipt = Receipt(sum(known) if known else None, seconds, escalated, missing)
        self.replicas = []
        back = f", {gib(sum(known))} back" if known else ""
        self._model.update_runtime("unloaded", f"in {seconds:.1f} s{back}")

    async def _drain(self, serving: list[Replica]) -> None:
        busy = sum(r.in_flight for r in serving)
        if not busy:
            return
        self._model.update_runtime("draining", f"{busy} requests in flight")
        deadline = time.monotonic() + self._model.settings.drain_s
        while any(r.in_flight for r in serving) and time.monotonic() < deadline:
            self._wake.clear()
            with contextlib.suppress(asyncio.TimeoutError):
                await within(deadline - time.monotonic(), self._wake.wait())
