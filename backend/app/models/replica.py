"""One engine and its life: start, proof, watch, crash, backoff, stop.

`Replica._supervise` is the only writer of a replica's state. `start` and `stop` are requests to
it, and `stop` may come at any moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

from backend.app.config import Settings
from backend.app.engines.client import EngineClient
from backend.app.engines.launcher import Engine, EngineSpec, Exit, Launcher, LaunchError
from backend.app.engines.ready import EngineExited, ReadyTimeout, healthy, wait_ready
from backend.app.errors import EngineError, GatewayError, Unavailable
from backend.app.hub.disk import on_disk
from backend.app.models.last_words import reason_in
from backend.app.models.meter import Gauge
from backend.app.models.placement import Grant
from backend.app.models.state import Failure, Phase, Progress, State
from backend.app.waiting import within

log = logging.getLogger(__name__)

CRASH_RESET_S = 300
"""An engine that served for so long is no longer counted as crashing in a row."""
EXIT_NEWS_S = 1.0
"""An engine's sockets close before its exit is known; so long we wait to learn how it ended."""
TICK_S = 0.5
"""How often a running engine's clocks are looked at; the probe itself is much rarer."""


class Recipe(Protocol):
    """What a wrapper knows of its engine."""

    def engine_spec(self, index: int, grant: Grant) -> EngineSpec:
        """How it is started. Called in a thread: it may look at the disk."""
        ...

    async def prove(self, client: EngineClient, timeout_s: float) -> None:
        """One small real request. Raises GatewayError or TimeoutError when it is not answered."""
        ...

    def parse_line(self, line: str) -> Progress | None: ...

    def cache_bytes(self, line: str) -> int | None:
        """What the engine keeps of each GPU for its cache, where the line says so."""
        ...


@dataclass(frozen=True)
class Receipt:
    """What came back when an engine was stopped: of the GPUs' memory, without one of the machine's.

    `freed_bytes` is None where it cannot be told; `missing_bytes` is what the GPUs still had not
    given back after MEMORY_BACK_S, though all processes were gone.
    """

    freed_bytes: int | None
    seconds: float
    escalated: bool
    missing_bytes: int = 0


class _Broken(Exception):
    """The engine's life ended in a way nobody asked for."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.reason)
        self.failure = failure


class Replica:
    def __init__(
        self,
        name: str,
        index: int,
        *,
        recipe: Recipe,
        gauge: Gauge,
        launcher: Launcher,
        settings: Settings,
        on_change: Callable[[Replica, str], None],
    ) -> None:
        self.name = name
        self.index = index
        self._recipe = recipe
        self._gauge = gauge
        self._launcher = launcher
        self._settings = settings
        self._on_change = on_change
        self.state = State.IDLE
        self.progress: Progress | None = None
        self.failure: Failure | None = None
        self.receipt: Receipt | None = None
        self.grant: Grant | None = None
        self.restarts = 0
        self.in_flight = 0
        self.since = time.time()
        self.loading_since: float | None = None
        self.last_load_s: float | None = None
        self.cache_bytes: int | None = None
        """What this life's engine keeps of each GPU for its cache, if it said so."""
        self._last_words: str | None = None
        """Why it could not start, if it said so."""
        self.engine: Engine | None = None
        self.client: EngineClient | None = None
        self._busy_since = 0.0
        self._stop = asyncio.Event()
        self._retry = asyncio.Event()
        self._unreachable = asyncio.Event()
        self._proven = False
        self._cut_off: GatewayError | None = None
        self._task: asyncio.Task[None] | None = None

    # ---- requests -------------------------------------------------------------------------

    def start(self, grant: Grant) -> None:
        """Begin a life with these GPUs. Only allowed while no supervisor runs."""
        if self._task is not None and not self._task.done():
            raise RuntimeError(f"{self.name} is already supervised")
        self.grant = grant
        self.failure = None
        self.receipt = None
        self._stop.clear()
        self._proven = False
        self._task = asyncio.get_running_loop().create_task(
            self._supervise(), name=f"replica {self.name}"
        )

    def retry(self) -> None:
        """Let a failed replica begin a new life."""
        self._retry.set()

    async def stop(self, cut_off: GatewayError | None = None) -> Receipt | None:
        """End this life and wait until the engine is gone.

        `cut_off` is raised to the requests that are still with it.
        """
        self._cut_off = cut_off
        self._stop.set()
        if self._task is not None:
            await asyncio.shield(self._task)
        return self.receipt

    @property
    def admits(self) -> bool:
        """Requests may be sent here."""
        return self.state is State.READY and not self._unreachable.is_set()

    def report_unreachable(self) -> None:
        """Somebody could not connect: nobody else is sent here until that is cleared up."""
        self._unreachable.set()

    def enter(self) -> EngineClient:
        """Count a request in. Only while ready."""
        assert self.client is not None
        if self.in_flight == 0:
            self._busy_since = asyncio.get_running_loop().time()
        self.in_flight += 1
        return self.client

    def leave(self) -> None:
        self.in_flight -= 1

    # ---- the supervisor -------------------------------------------------------------------

    async def _supervise(self) -> None:
        crashes = 0
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                await self._one_life()
                break
            except _Broken as exc:
                self.failure = exc.failure
            except Exception:
                log.exception("%s: supervision failed", self.name)
                self.failure = Failure("An unexpected error; see the log.", at=time.time())
            crashes = 1 if time.monotonic() - began > CRASH_RESET_S else crashes + 1
            if self.state is State.LOADING:  # it did not even come to an engine
                self._set(State.RESTARTING, "broken")
            if self._stop.is_set():
                break
            if not self._proven or crashes >= self._settings.crash_limit:
                # what never ran here would fail the same way again: say so at once
                self._set(State.FAILED, "failed")
                self._retry.clear()
                await self._until_stop(self._retry.wait())
                crashes = 0
                continue
            self.restarts += 1
            self._set(State.RESTARTING, "restarting")
            backoff = self._settings.crash_backoff_s * 2 ** (crashes - 1)
            with contextlib.suppress(asyncio.TimeoutError):
                await within(backoff, self._stop.wait())
        self._set(State.IDLE, "stopped")
        self.grant = None

    async def _one_life(self) -> None:
        """From launch to gone. Returns when a stop was asked for, raises _Broken otherwise."""
        assert self.grant is not None
        began = time.monotonic()
        self.cache_bytes = self._last_words = None
        self.loading_since = time.time()
        self._set(State.LOADING, "loading", Progress(Phase.STARTING))
        try:
            spec = await on_disk(partial(self._recipe.engine_spec, self.index, self.grant))
            if self._stop.is_set():
                return
            engine = await self._launcher.launch(replace(spec, on_line=self._on_line))
        except (LaunchError, Unavailable) as exc:
            raise _Broken(Failure(str(exc), code="not_started", at=time.time())) from exc
        client = EngineClient(engine.address)
        self.engine, self.client = engine, client
        self._set(State.LOADING, "progress", Progress(Phase.STARTING, str(engine.address)))
        try:
            await self._until_stop(self._become_ready(engine, client))
            if self._stop.is_set():
                return
            await self._gauge.proven(self, engine)
            self.last_load_s = time.monotonic() - began
            self.failure = None
            self._proven = True
            self._unreachable.clear()
            self._set(State.READY, "ready")
            await self._until_stop(self._watch(engine, client))
        finally:
            await self._end(engine, client)

    async def _until_stop(self, work: Awaitable[object]) -> None:
        """Run `work` until it ends or a stop is asked for, whichever comes first."""
        task: asyncio.Future[Any] = asyncio.ensure_future(work)
        stop: asyncio.Future[Any] = asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
        finally:
            for pending in (task, stop):
                pending.cancel()
            await asyncio.gather(task, stop, return_exceptions=True)

    async def _become_ready(self, engine: Engine, client: EngineClient) -> None:
        limits = self._settings
        try:
            await wait_ready(engine, lambda: healthy(client), limits.engine_start_s)
        except EngineExited as exc:
            raise self._crashed(exc.exit, "while starting", self._last_words) from exc
        except ReadyTimeout as exc:
            reason = f"It was not ready within {limits.engine_start_s:.0f} s (ENGINE_START_S)."
            raise _Broken(self._failure(reason, engine, code="start_timeout")) from exc
        self._set(State.LOADING, "progress", Progress(Phase.WARM_UP))
        if not await self._answers(engine, client, limits.engine_proof_s):
            reason = (
                "It said it was ready but did not answer a first request within"
                f" {limits.engine_proof_s:.0f} s (ENGINE_PROOF_S)."
            )
            raise _Broken(self._failure(reason, engine, code="no_proof"))

    async def _answers(self, engine: Engine, client: EngineClient, timeout_s: float) -> bool:
        """Does the engine answer a real request in time? Raises _Broken when it exits meanwhile."""
        proof: asyncio.Future[Any] = asyncio.ensure_future(self._recipe.prove(client, timeout_s))
        waiting: set[asyncio.Future[Any]] = {proof, engine.exited}
        try:
            done, _ = await asyncio.wait(
                waiting, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
            )
            if engine.exited in done:
                raise self._crashed(engine.exited.result(), "while answering a probe")
            if proof not in done:
                return False
            try:
                proof.result()
            except (GatewayError, OSError, asyncio.TimeoutError) as exc:
                log.warning("%s: probe failed: %s", self.name, exc)
                # an engine that is dying refuses the probe a moment before it is gone
                await asyncio.wait({engine.exited}, timeout=EXIT_NEWS_S)
                if engine.exited.done():
                    raise self._crashed(engine.exited.result(), "while answering a probe") from exc
                return False
            return True
        finally:
            proof.cancel()
            await asyncio.gather(proof, return_exceptions=True)

    async def _watch(self, engine: Engine, client: EngineClient) -> None:
        """Look after a ready engine. Only ever leaves by raising _Broken."""
        loop = asyncio.get_running_loop()
        last_proof = loop.time()
        unreachable: asyncio.Future[Any] = asyncio.ensure_future(self._unreachable.wait())
        try:
            while True:
                waiting: set[asyncio.Future[Any]] = {engine.exited, unreachable}
                await asyncio.wait(waiting, timeout=TICK_S, return_when=asyncio.FIRST_COMPLETED)
                if unreachable.done():  # it is most likely dying: its exit says more
                    await asyncio.wait({engine.exited}, timeout=EXIT_NEWS_S)
                if engine.exited.done():
                    raise self._crashed(engine.exited.result(), "while serving")
                if unreachable.done():
                    reason = "It refused a connection."
                    raise _Broken(self._failure(reason, engine, code="unreachable"))
                last_proof = await self._look_after(engine, client, last_proof)
        finally:
            unreachable.cancel()

    async def _look_after(self, engine: Engine, client: EngineClient, last_proof: float) -> float:
        """Probe when it was silent for too long. Returns when it last gave a sign of life."""
        limits = self._settings
        now = asyncio.get_running_loop().time()
        seen = max(client.last_byte_at, last_proof)
        silent, limit = now - seen, limits.engine_probe_s
        if self.in_flight:
            # from the first request on, but not anew with each that gives up before the limit
            begun = min(self._busy_since, seen + limits.engine_probe_s)
            limit = limits.engine_stall_s + max(0.0, begun - seen)
        if silent < limit:
            return last_proof
        if await self._answers(engine, client, limits.engine_probe_timeout_s):
            return asyncio.get_running_loop().time()
        reason = (
            f"It gave no sign of life for {silent:.0f} s and did not answer a probe"
            f" within {limits.engine_probe_timeout_s:.0f} s."
        )
        client.fate = EngineError(f"The engine stalled and is replaced. {reason}")
        raise _Broken(self._failure(reason, engine, code="stalled"))

    async def _end(self, engine: Engine, client: EngineClient) -> None:
        asked = self._stop.is_set()
        loading = self.state is State.LOADING
        if asked:
            self._set(State.UNLOADING, "unloading")
        else:
            # nobody may be sent here while the broken engine is cleared away
            self._set(State.RESTARTING, "broken")
        alive = not engine.exited.done()
        held = await self._gauge.before_stop(self) if alive else None
        rss = await engine.rss_bytes()
        if asked and self._cut_off is not None:
            client.fate = self._cut_off
        await client.close()  # whoever waits for this engine learns it now, and holds up no stop
        # a loading engine holds no work, and vLLM ignores SIGTERM while it starts
        grace = 0.0 if loading or not asked else self._settings.engine_term_s
        try:
            stopped = await engine.stop(grace)
            back = await self._gauge.after_stop(self, held)
            freed = back.freed if self.grant and self.grant.gpu_ids else rss
            seconds = round(stopped.seconds, 3)
            self.receipt = Receipt(freed, seconds, stopped.escalated, back.missing)
        except TimeoutError as exc:
            log.error("%s: %s; its memory does not come back", self.name, exc)
        self.engine, self.client, self.progress = None, None, None

    # ---- bookkeeping ----------------------------------------------------------------------

    def _on_line(self, line: str) -> None:
        if self.state is State.LOADING:
            self.cache_bytes = self._recipe.cache_bytes(line) or self.cache_bytes
            self._last_words = reason_in(line) or self._last_words
            progress = self._recipe.parse_line(line)
            if progress is not None and progress != self.progress:
                self._set(State.LOADING, "progress", progress)

    def _failure(
        self, reason: str, engine: Engine, *, code: str = "model_failed", exit: Exit | None = None
    ) -> Failure:
        return Failure(
            reason,
            code=code,
            exit_code=exit.code if exit else None,
            signal=exit.signal if exit else None,
            log_tail=tuple(exit.log_tail if exit else engine.log_tail()),
            at=time.time(),
        )

    def _crashed(self, exit: Exit, when: str, said: str | None = None) -> _Broken:
        assert self.engine is not None
        reason = f"The engine ended {when} with {exit}" + (f": {said}" if said else ".")
        return _Broken(self._failure(reason, self.engine, code="engine_crashed", exit=exit))

    def _set(self, state: State, action: str, progress: Progress | None = None) -> None:
        if state is not self.state:
            self.since = time.time()
        self.state = state
        self.progress = progress
        self._on_change(self, action)
