"""Loads, unloads, downloads, requests, kills and hangs of one model, in any order.

A hypothesis state machine on real (fake-engine) processes. `--hypothesis-profile deep` looks for
minutes where the ordinary run takes the same few walks each time.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from backend.app.engines.client import ConnectFailed
from backend.app.engines.launcher import LaunchError
from backend.app.errors import Conflict, GatewayError
from backend.app.models.base import BaseModelWrapper
from backend.app.models.contracts import Goal
from backend.app.models.state import State
from tests.support.models import fake_model
from tests.support.properties import DEEP, cases
from tests.support.races import (
    EXPECTED,
    FaultyLauncher,
    SlowFiles,
    Witness,
    anything_of,
    engines_of,
)

T = TypeVar("T")

PLACES, QUEUE, MOST_REPLICAS = 2, 2, 2
SETTLE_S = 30
"""More than all deadlines of one goal together; whatever takes longer hangs."""
LIMITS = {
    "engine_start_s": 4,
    "engine_proof_s": 3,
    "engine_probe_s": 0.7,
    "engine_probe_timeout_s": 1.5,
    "engine_stall_s": 0.7,
    "engine_term_s": 0.5,
    "drain_s": 1,
    "load_wait_s": 5,
    "crash_limit": 2,
    "crash_backoff_s": 0.1,
    "failed_retry_s": 0.2,
}
HARMLESS = ("", "--fake-ignore-term", "--fake-slow-term-s 0.2", "--fake-spawn-orphan")
FATAL = (
    "--fake-never-ready",
    "--fake-exit-at-start 7",
    "--fake-exit-after-s 0.3",
    "--fake-crash-after-requests 3",
)
FAULTS: list[dict[int, type[Exception]]] = [{2: LaunchError}, {1: RuntimeError, 3: LaunchError}]
"""Which launches fail, and how."""
STEPS: list[tuple[Any, ...]] = [
    *(("load", replicas, wait) for replicas in (None, 1, MOST_REPLICAS) for wait in (True, False)),
    # tokens: at 20 a second the longest answer outlives the drain
    *(("request", tokens, stream) for tokens in (1, 3, 30) for stream in (True, False)),
    *(("hit", which, number) for which in (0, 1) for number in (signal.SIGKILL, signal.SIGSTOP)),
    *(("go_on", seconds) for seconds in (0, 0.01, 0.1, 0.4)),
    *(("abandon", which) for which in (0, 5)),
    *(("unload", wait) for wait in (True, False)),
    *(("download",), ("cancel",), ("settle",)),
]


class Races(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.escaped: list[dict[str, Any]] = []
        self.loop.set_exception_handler(lambda _, what: self.escaped.append(what))
        self.directory = Path(tempfile.mkdtemp(prefix="races-"))
        self.stack = contextlib.AsyncExitStack()
        self.witness = Witness()
        self.requests: list[asyncio.Task[int]] = []
        self.launched = False

    def run(self, work: Coroutine[Any, Any, T], seconds: float = SETTLE_S) -> T:
        task = self.loop.create_task(work)
        self.loop.run_until_complete(asyncio.wait({task}, timeout=seconds))
        if not task.done():
            raise AssertionError("\n".join(["it hangs:", *map(str, asyncio.all_tasks(self.loop))]))
        return task.result()

    # ---- the model and what is done to it -----------------------------------------------------

    @initialize(
        flaw=st.sampled_from([*(HARMLESS * 3), *FATAL]),
        load_s=st.sampled_from([0.0, 0.2]),
        idle_s=st.sampled_from([0, 0, 1]),
        present=st.sampled_from([True, True, False]),
        failures=st.sampled_from([0, 0, 1]),
        faults=st.sampled_from([*([{}] * 4), *FAULTS]),
    )
    def begin(
        self,
        flaw: str,
        load_s: float,
        idle_s: float,
        present: bool,
        failures: int,
        faults: dict[int, type[Exception]],
    ) -> None:
        self.sound = flaw in HARMLESS
        arguments = f"--fake-load-s {load_s} --fake-tps 20 {flaw}"

        async def make() -> BaseModelWrapper:
            own = {"idle_unload_s": idle_s, "max_in_flight": PLACES, "max_queue": QUEUE}
            making = fake_model(self.directory, arguments, settings=LIMITS, **own)
            return await self.stack.enter_async_context(making)

        self.model = self.run(make())
        self.stack.enter_context(self.witness.watching(self.model))
        launcher = FaultyLauncher(self.model._launcher, faults)
        self.stack.enter_context(mock.patch.object(self.model, "_launcher", launcher))
        path = self.model.spec.source
        self.files = SlowFiles(path, present=present, failures=failures)
        self.model.artifacts = self.files

    @rule(step=st.sampled_from(STEPS))  # one rule: hypothesis would leave out some of several
    def do(self, step: tuple[Any, ...]) -> None:
        action, *arguments = step
        getattr(self, action)(*arguments)

    def load(self, replicas: int | None, wait: bool) -> None:
        goal = self.model.load(replicas=replicas)
        if wait:
            self.run(self.model.settled(goal, SETTLE_S), SETTLE_S + 1)

    def unload(self, wait: bool) -> None:
        goal = self.model.unload()
        if wait:
            self.run(self.down(goal))

    async def down(self, goal: Goal) -> None:
        await self.model.settled(goal, SETTLE_S)
        if self.model.supervisor.goal is goal:
            assert not engines_of(self.directory)
            assert not self.files.fetching
            assert self.model.state in {State.IDLE, State.ABSENT}

    def download(self) -> None:
        with contextlib.suppress(Conflict):
            self.model.download()

    def cancel(self) -> None:
        with contextlib.suppress(Conflict):
            self.model.cancel()

    def request(self, tokens: int, stream: bool) -> None:
        self.requests.append(self.loop.create_task(self.chat(tokens, stream)))

    async def chat(self, tokens: int, stream: bool) -> int:
        """The size of a complete answer."""
        content = [{"role": "user", "content": "hello"}]
        body = {"model": "qwen", "messages": content, "max_tokens": tokens, "stream": stream}
        async with self.model.lease(b"12345678" if stream else b"") as lease:
            try:
                answer = await lease.client.request(
                    "POST",
                    "/v1/chat/completions",
                    headers=[(b"content-type", b"application/json")],
                    body=json.dumps(body).encode(),
                    head_timeout=10,
                )
            except ConnectFailed:
                lease.report_unreachable()
                raise
            try:
                data = await answer.read(timeout=10)
            finally:
                answer.close()
        assert answer.status == 200
        assert data.endswith(b"[DONE]\n\n") if stream else b'"usage"' in data
        return len(data)

    def abandon(self, which: int) -> None:
        if self.requests:
            self.requests[which % len(self.requests)].cancel()

    def hit(self, which: int, number: signal.Signals) -> None:
        engines = sorted(pid for pids in engines_of(self.directory).values() for pid in pids)
        if engines:
            with contextlib.suppress(ProcessLookupError):
                os.kill(engines[which % len(engines)], number)

    def go_on(self, seconds: float) -> None:
        self.run(asyncio.sleep(seconds))

    def settle(self) -> None:
        self.run(self.model.settled(self.model.supervisor.goal, SETTLE_S), SETTLE_S + 1)

    # ---- what always holds --------------------------------------------------------------------

    @invariant()
    def no_impossible_step(self) -> None:
        assert not self.witness.illegal
        assert not self.escaped

    @invariant()
    def one_engine_for_each_replica(self) -> None:
        engines = engines_of(self.directory)
        assert all(len(pids) == 1 for pids in engines.values()), engines
        if hasattr(self, "model"):
            assert len(engines) <= len(self.model.replicas)
            assert self.files.fetching <= 1
            assert not (self.files.fetching and engines)

    @invariant()
    def every_place_has_a_taker(self) -> None:
        if hasattr(self, "model"):
            running = [task for task in self.requests if not task.done()]
            admission = self.model.admission
            assert 0 <= admission.taken <= PLACES * MOST_REPLICAS
            assert 0 <= admission.queued <= QUEUE
            assert admission.taken + admission.queued <= len(running)
            assert 0 <= self.model.in_flight <= admission.taken

    # ---- how it ends --------------------------------------------------------------------------

    def teardown(self) -> None:
        try:
            if hasattr(self, "model"):
                self.run(self.requests_end())
                if self.sound:
                    self.run(self.it_still_serves(), 2 * SETTLE_S)
                self.run(self.it_goes_down())
                self.no_impossible_step()
            self.run(self.stack.aclose(), SETTLE_S + 5)
            assert not asyncio.all_tasks(self.loop)
            assert not anything_of(self.directory)
            assert not self.escaped
        finally:
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
            self.loop.close()
            shutil.rmtree(self.directory)

    async def requests_end(self) -> None:
        for result in await asyncio.gather(*self.requests, return_exceptions=True):
            assert isinstance(result, (int, *EXPECTED)), repr(result)
        assert self.model.in_flight == 0
        assert self.model.admission.taken == 0
        assert self.model.admission.queued == 0

    async def it_still_serves(self) -> None:
        """Whatever was done to it: sooner or later an operator's load brings it back."""
        deadline = self.loop.time() + SETTLE_S
        while True:
            await self.model.settled(self.model.load(), SETTLE_S)
            try:
                await self.chat(1, stream=True)
                return
            except GatewayError:
                if self.loop.time() > deadline:
                    raise

    async def it_goes_down(self) -> None:
        was_up = bool(engines_of(self.directory))
        before = self.model.supervisor.receipt
        await self.down(self.model.unload())
        if was_up:
            assert self.model.supervisor.receipt is not None
            assert self.model.supervisor.receipt is not before


TestRaces = Races.TestCase
TestRaces.settings = cases(
    12,
    deep=300,
    stateful_step_count=40 if DEEP else 20,
    phases=[Phase.generate],  # a walk takes seconds: shrinking it would take an hour
    suppress_health_check=list(HealthCheck),
)
