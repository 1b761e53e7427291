"""Several models that want the same GPUs, in any order: nobody hangs, no GPU is overbooked.

Random histories on real (fake-engine) processes; `--hypothesis-profile deep` tries many more.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given
from hypothesis import strategies as st

from backend.app.errors import GatewayError
from backend.app.models.base import BaseModelWrapper
from backend.app.models.contracts import Goal
from backend.app.models.placement import GIB
from backend.app.models.registry import ModelRegistry
from backend.app.models.spec import Kind
from tests.support.machines import Machine
from tests.support.models import fake_models
from tests.support.properties import cases
from tests.support.races import anything_of

SETTLE_S = 40
"""More than all deadlines of one goal together; whatever takes longer hangs."""
LIMITS = {
    "engine_term_s": 0.5,
    "drain_s": 2,
    "load_wait_s": 10,
    "crash_backoff_s": 0.1,
    "failed_retry_s": 0.1,
    "memory_back_s": 1,
}
ARGS = "--fake-load-s 0.1 --fake-tps 20 --fake-kv-gib 3"
CHAT = {"weights": 58 * GIB, "engine_args": ARGS}
MODELS: dict[str, dict[str, Any]] = {
    "a": CHAT,
    "b": CHAT | {"replicas": "auto"},
    "c": CHAT | {"pin": True, "engine_args": f"{ARGS} --fake-slow-term-s 0.3"},
    "d": {"kind": Kind.EMBEDDING, "weights": 4 * GIB, "engine_args": ARGS},
}
KEYS = st.sampled_from(sorted(MODELS))
STEPS = st.one_of(
    st.tuples(st.just("load"), KEYS, st.sampled_from([(), (), (0,), (1,), (0, 1)])),
    st.tuples(st.just("load"), KEYS, st.just(())),
    st.tuples(st.just("request"), KEYS, st.sampled_from([1, 10])),
    st.tuples(st.just("request"), KEYS, st.sampled_from([1, 10])),
    st.tuples(st.just("unload"), KEYS),
    st.tuples(st.just("kill"), st.integers(0, 3)),
    st.tuples(st.just("go_on"), st.sampled_from([0.0, 0.05, 0.3])),
    st.tuples(st.just("lose"), st.sampled_from([0, 1])),
)


class History:
    def __init__(self, gpus: Machine, registry: ModelRegistry) -> None:
        self.gpus = gpus
        self.registry = registry
        self.goals: list[tuple[BaseModelWrapper, Goal]] = []
        self.requests: list[asyncio.Task[None]] = []
        self.killed = False

    def load(self, key: str, ids: tuple[int, ...]) -> None:
        model = self.registry.get(key)
        with contextlib.suppress(GatewayError):
            self.goals.append((model, model.load(ids, 1 if ids else None)))

    def unload(self, key: str) -> None:
        model = self.registry.get(key)
        self.goals.append((model, model.unload()))

    def request(self, key: str, tokens: int) -> None:
        self.requests.append(asyncio.ensure_future(self.ask(self.registry.get(key), tokens)))

    async def ask(self, model: BaseModelWrapper, tokens: int) -> None:
        """An answer that was begun is never cut off because another model wants the memory."""
        chat = model.spec.kind is Kind.CHAT
        question: dict[str, Any] = {"input": "x"}
        if chat:
            message = {"role": "user", "content": "x"}
            question = {"messages": [message], "max_tokens": tokens}
        try:
            async with model.lease() as lease:
                answer = await lease.client.request(
                    "POST",
                    "/v1/chat/completions" if chat else "/v1/embeddings",
                    headers=[(b"content-type", b"application/json")],
                    body=json.dumps({"model": model.key} | question).encode(),
                    head_timeout=10,
                )
                try:
                    assert answer.status == 200
                    assert b'"usage"' in await answer.read(timeout=10)
                finally:
                    answer.close()
        except GatewayError as exc:
            if not self.killed and exc.status != 503:
                raise

    def kill(self, which: int) -> None:
        if engines := self.gpus.engines():
            self.killed = True
            with contextlib.suppress(ProcessLookupError):
                os.kill(engines[which % len(engines)], signal.SIGKILL)

    def lose(self, gpu: int) -> None:
        self.gpus.lost ^= {gpu}

    async def go_on(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def play(self, steps: list[tuple[Any, ...]]) -> None:
        for action, *arguments in steps:
            done = getattr(self, action)(*arguments)
            if done is not None:
                await done
            assert not self.gpus.overbooked()
        for model, goal in self.goals:
            await model.settled(goal, SETTLE_S)
        await asyncio.wait_for(asyncio.gather(*self.requests), SETTLE_S)
        assert not self.gpus.overbooked()

    async def it_still_works(self) -> None:
        """Whatever was before: with the GPUs there and nobody in the way, each model loads."""
        self.gpus.lost = set()
        for model in self.registry.models.values():
            for other in self.registry.models.values():
                await other.settled(other.unload(), SETTLE_S)
            assert model.placer.ledger.models() == set(), "something is held for nobody"
            await model.settled(model.load((), None), SETTLE_S)
            assert model.state.value == "ready", model.failure


@given(steps=st.lists(STEPS, min_size=10, max_size=25), residence=st.sampled_from([0, 0.3]))
@cases(
    4,
    deep=60,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_any_history(steps: list[tuple[Any, ...]], residence: float) -> None:
    async def body(directory: Path) -> None:
        gpus = Machine(directory, 2, pids=len(steps) % 2 == 0)
        limits = LIMITS | {"min_residence_s": residence}
        async with fake_models(directory, MODELS, read=gpus.read, settings=limits) as registry:
            history = History(gpus, registry)
            await history.play(steps)
            await history.it_still_works()
        assert not anything_of(directory)

    with tempfile.TemporaryDirectory(prefix="memory-races-") as name:
        asyncio.run(body(Path(name)))
