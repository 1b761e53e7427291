"""Placement on a DGX as NVML shows it, with fake engines that claim its memory."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from backend.app.errors import GatewayError, ModelFailed
from backend.app.models import placer as placing
from backend.app.models.base import BaseModelWrapper
from backend.app.models.placement import GIB, NoRoom, Refused
from backend.app.models.registry import ModelRegistry
from backend.app.models.spec import Kind
from backend.app.models.state import State
from tests.support.machines import H200, Machine
from tests.support.models import fake_models

LIMITS = {"min_residence_s": 0, "memory_back_s": 3}
CHAT = {"weights": 58 * GIB}
SMALL = {"kind": Kind.EMBEDDING, "weights": 4 * GIB}
SLOW = {"engine_args": "--fake-load-s 0.5"}


def run(body: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(body(), 60)

    asyncio.run(bounded())


@contextlib.asynccontextmanager
async def machine(
    tmp: Path, count: int = 8, *, pids: bool = False, settings: Any = None, **models: Any
) -> AsyncIterator[tuple[Machine, ModelRegistry]]:
    """A machine and the models that are configured on it; checked not to be overbooked."""
    gpus = Machine(tmp, count, pids=pids)
    limits = LIMITS | (settings or {})
    async with fake_models(tmp, models, read=gpus.read, settings=limits) as registry:
        yield gpus, registry
        assert not gpus.overbooked()


async def up(model: BaseModelWrapper, *args: Any) -> list[tuple[int, ...]]:
    """Load it; the GPUs of its replicas."""
    await model.settled(model.load(*args), 20)
    assert model.state is State.READY, model.failure
    return [r.grant.gpu_ids for r in model.replicas if r.grant]


async def down(model: BaseModelWrapper) -> None:
    await model.settled(model.unload(), 20)


def share(model: BaseModelWrapper) -> float:
    grant = model.replicas[0].grant
    assert grant
    return grant.memory_share


def actions(model: BaseModelWrapper) -> list[str]:
    return [action.action for action in model.runtime.timeline]


# ---- where models go ----------------------------------------------------------------------------


def test_on_eight_gpus_each_finds_an_empty_one(tmp_path: Path) -> None:
    async def body() -> None:
        async with machine(tmp_path, qwen=CHAT, small=SMALL) as (_, registry):
            qwen, small = registry.models.values()
            assert await up(qwen) == [(0,)]
            assert share(qwen) == 0.9
            assert await up(small) == [(1,)]

    run(body)


def test_the_gpu_that_a_second_chat_model_names_stays_for_it(tmp_path: Path) -> None:
    async def body() -> None:
        second = CHAT | {"gpu_ids": [0]}
        async with machine(tmp_path, 2, qwen=CHAT, second=second) as (_, registry):
            qwen, other = registry.models.values()
            assert await up(qwen) == [(1,)]
            assert await up(other) == [(0,)]
            assert qwen.state is State.READY

    run(body)


def test_on_one_gpu_vllm_leaves_room_for_the_small_one(tmp_path: Path) -> None:
    async def body() -> None:
        big = {"kind": Kind.EMBEDDING, "weights": 14 * GIB}
        async with machine(tmp_path, 1, qwen=CHAT, small=big) as (_, registry):
            qwen, small = registry.models.values()
            await up(qwen)
            assert 0.8 < share(qwen) < 0.9
            assert await up(small) == [(0,)]
            assert qwen.state is State.READY, "nobody had to go"

    run(body)


def test_auto_takes_every_gpu_and_leaves_room_in_what_remains(tmp_path: Path) -> None:
    async def body() -> None:
        chat = CHAT | {"replicas": "auto"}
        async with machine(tmp_path, 3, qwen=chat, small=SMALL) as (gpus, registry):
            qwen, small = registry.models.values()
            gpus.foreign[1] = 100 * GIB
            assert await up(qwen) == [(0,), (2,)]
            assert len(await up(small)) == 1
            assert await up(qwen, (2,)) == [(2,)]

    run(body)


def test_other_ids_on_a_ready_model_drain_and_reload(tmp_path: Path) -> None:
    async def body() -> None:
        chat = CHAT | {"engine_args": "--fake-tps 20"}
        async with machine(tmp_path, qwen=chat) as (_, registry):
            qwen = registry.get("qwen")
            assert await up(qwen) == [(0,)]
            async with qwen.lease() as lease:
                asked = {"model": "qwen", "messages": [{"role": "user", "content": "x"}]}
                answer = asyncio.ensure_future(
                    lease.client.request(
                        "POST",
                        "/v1/chat/completions",
                        headers=[(b"content-type", b"application/json")],
                        body=json.dumps(asked | {"max_tokens": 20}).encode(),
                        head_timeout=20,
                    )
                )
                await asyncio.sleep(0)
                goal = qwen.load((4, 5), 1)
                got = await answer
                assert b'"completion_tokens":20' in await got.read(timeout=20)
                got.close()
            await qwen.settled(goal, 20)
            assert [r.grant.gpu_ids for r in qwen.replicas if r.grant] == [(4, 5)]
            assert "draining" in actions(qwen)
            assert qwen.supervisor.receipt

    run(body)


@pytest.mark.parametrize(
    ("ids", "words", "kind"),
    [
        ((0, 1, 2), "legal: 1, 2, 4", Refused),
        ((11,), r"choose different ones of \[0, 1", Refused),
        (
            (3,),
            r"needs 65.9 GiB and 1.0 GiB in reserve on 1 GPU\(s\); GPU 3: 39.8 .* other",
            NoRoom,
        ),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_taken_down(
    tmp_path: Path, ids: tuple[int, ...], words: str, kind: type[Exception]
) -> None:
    async def body() -> None:
        async with machine(tmp_path, qwen=CHAT) as (gpus, registry):
            qwen = registry.get("qwen")
            gpus.foreign[3] = 100 * GIB
            await up(qwen)
            with pytest.raises(kind, match=words):
                await qwen.placer.check(qwen, ids, 1)
            assert qwen.state is State.READY
            await qwen.placer.check(qwen, (0, 1), 1)

    run(body)


# ---- who goes -----------------------------------------------------------------------------------


def test_the_least_recently_used_goes_and_comes_back_when_it_is_asked(tmp_path: Path) -> None:
    async def body() -> None:
        models: dict[str, Any] = {"a": CHAT, "b": CHAT, "c": CHAT}
        async with machine(tmp_path, 2, **models) as (_, registry):
            a, b, c = registry.models.values()
            await up(a)
            await up(b)
            async with a.lease():
                pass
            assert await up(c) == [(1,)]
            assert (a.state, b.state) == (State.READY, State.IDLE)
            assert "evicted" in actions(b)
            assert b.supervisor.receipt
            assert b.supervisor.receipt.freed_bytes
            async with b.lease():  # lazily, and now a is the one who was used least recently
                assert a.state is State.IDLE
            assert c.state is State.READY

    run(body)


@pytest.mark.parametrize("why", ["in use", "pinned", r"loaded \d s ago"])
def test_who_may_not_go_stays_and_the_refusal_has_the_numbers(tmp_path: Path, why: str) -> None:
    async def body() -> None:
        limits = {"min_residence_s": 600 if "loaded" in why else 0}
        models: dict[str, Any] = {"a": CHAT | {"pin": why == "pinned"}, "b": CHAT}
        async with machine(tmp_path, 1, settings=limits, **models) as (_, registry):
            a, b = registry.models.values()
            await up(a)
            async with contextlib.AsyncExitStack() as stack:
                if why == "in use":
                    await stack.enter_async_context(a.lease())
                words = (
                    r"It needs 65\.9 GiB and 1\.0 GiB in reserve on 1 GPU\(s\); the emptiest:"
                    rf" GPU 0: 12\.\d GiB free\. Held by a \(127\.4 GiB, {why}\)"
                )
                with pytest.raises(ModelFailed, match=words) as refused:
                    async with b.lease():
                        pass
            assert refused.value.code == "insufficient_memory"
            assert b.why_not() is None  # the gateway is as ready as it was
            assert a.state is State.READY
            assert "evicted" not in actions(a)

    run(body)


def test_a_load_that_is_cancelled_while_room_is_made_leaves_nothing_held(tmp_path: Path) -> None:
    async def body() -> None:
        a_args = {"engine_args": "--fake-slow-term-s 1"}
        async with machine(tmp_path, 1, a=CHAT | a_args, b=CHAT) as (_, registry):
            a, b = registry.models.values()
            await up(a)
            b.load()
            assert await a.until(lambda: "evicted" in actions(a), 10)
            assert b.placer.ledger.models() == {"a", "b"}, "held from the decision on"
            await down(b)
            assert "b" not in b.placer.ledger.models()
            assert await a.until(lambda: a.state is State.IDLE, 10)
            assert b.placer.ledger.models() == set()

    run(body)


def test_what_is_evicted_and_asked_for_at_once_hangs_nobody(tmp_path: Path) -> None:
    """Two models that do not fit together, both wanted all the time: each answer comes in time."""

    async def body() -> None:
        async with machine(tmp_path, 1, a=CHAT, b=CHAT) as (gpus, registry):

            async def ask(model: BaseModelWrapper) -> bool:
                try:
                    async with model.lease():
                        assert not gpus.overbooked()
                    return True
                except GatewayError:
                    return False

            a, b = registry.models.values()
            for _ in range(3):
                answers = await asyncio.gather(*(ask(m) for m in (a, b, a, b)))
                assert any(answers)
                for model in (a, b):
                    model.supervisor.failure = None  # as if FAILED_RETRY_S were over

    run(body)


def test_what_is_being_unloaded_is_waited_for(tmp_path: Path) -> None:
    async def body() -> None:
        slow = {"engine_args": "--fake-slow-term-s 1"}
        async with machine(tmp_path, 1, a=CHAT | slow, b=CHAT) as (_, registry):
            a, b = registry.models.values()
            await up(a)
            a.unload()
            assert await up(b) == [(0,)]
            assert a.state is State.IDLE

    run(body)


def test_two_may_come_in_the_place_of_one(tmp_path: Path) -> None:
    async def body() -> None:
        slow = {"engine_args": "--fake-slow-term-s 0.5"}
        models: dict[str, Any] = {"a": CHAT | slow, "b": SMALL, "c": SMALL}
        async with machine(tmp_path, 1, **models) as (gpus, registry):
            a, b, c = registry.models.values()
            gpus.foreign[0] = 70 * GIB  # a needs all the rest
            await up(a)
            goals = [b.load(), c.load()]
            for model, goal in zip((b, c), goals, strict=True):
                await model.settled(goal, 30)
            assert [m.state.value for m in (a, b, c)] == ["idle", "ready", "ready"]
            assert actions(a).count("evicted") == 1

    run(body)


# ---- the ledger ---------------------------------------------------------------------------------


def test_loads_at_the_same_time_never_overbook_a_gpu(tmp_path: Path) -> None:
    async def body() -> None:
        chat = {"weights": 30 * GIB} | SLOW
        models: dict[str, Any] = {f"m{n}": chat for n in range(3)}
        async with machine(tmp_path, 2, **models) as (gpus, registry):
            goals = [(m, m.load()) for m in registry.models.values()]
            for model, goal in goals:
                await model.settled(goal, 30)
                assert not gpus.overbooked()
            states = sorted(m.state.value for m in registry.models.values())
            assert states == ["failed", "ready", "ready"]
            (failed,) = [m for m in registry.models.values() if m.state is State.FAILED]
            assert failed.failure
            assert "loading or unloading" in failed.failure.reason

    run(body)


def test_a_restarting_engine_keeps_its_place(tmp_path: Path) -> None:
    async def body() -> None:
        limits = {"crash_backoff_s": 1}
        async with machine(tmp_path, 1, settings=limits, a=CHAT, b=CHAT) as (gpus, registry):
            a, b = registry.models.values()
            await up(a)
            for pid in gpus.engines():
                os.kill(pid, signal.SIGKILL)
            assert await a.until(lambda: a.replicas[0].state is State.RESTARTING, 10)
            await b.settled(b.load(), 20)
            assert b.failure
            assert "Held by a (127.4 GiB, loading or unloading)" in b.failure.reason
            assert await a.until(lambda: a.state is State.READY, 10)
            assert a.replicas[0].restarts == 1

    run(body)


# ---- what is measured ---------------------------------------------------------------------------


@pytest.mark.parametrize(("pids", "by"), [(True, "process"), (False, "device")])
def test_memory_is_put_down_to_who_takes_it(tmp_path: Path, pids: bool, by: str) -> None:
    async def body() -> None:
        async with machine(tmp_path, 2, pids=pids, qwen=CHAT, small=SMALL) as (gpus, registry):
            qwen, small = registry.models.values()
            gpus.foreign[1] = 7 * GIB
            await up(qwen)
            await up(small, (0,))
            first, second = gpus.read().gpus
            shares = {s.model: s for s in qwen.placer.ledger.shares(first)}
            assert shares["qwen"].bytes == int(0.9 * H200)
            assert {s.by for s in shares.values()} == {by}
            assert sum(s.bytes for s in shares.values()) == first.memory_used - (595 << 20)
            assert qwen.placer.ledger.shares(second) == []
            memory = qwen.snapshot()["replicas"][0]["memory"]
            assert memory["used"] == memory["peak"] == int(0.9 * H200)
            assert memory["granted"] >= memory["used"]
            assert memory["over_grant"] == ""

    run(body)


@pytest.mark.parametrize("pids", [True, False])
def test_a_load_above_its_grant_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, pids: bool
) -> None:
    async def body() -> None:
        async with machine(tmp_path, 1, pids=pids, small=SMALL) as (gpus, registry):
            small = registry.get("small")
            gpus.excess = 5 * GIB
            await up(small)
            assert "memory above grant" in actions(small)
            words = small.snapshot()["replicas"][0]["memory"]["over_grant"]
            assert "granted on GPU 0" in words

    run(body)
    assert "took more memory than granted" in caplog.text


def test_growth_while_it_serves_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def body() -> None:
        async with machine(tmp_path, 1, pids=True, small=SMALL) as (gpus, registry):
            small = registry.get("small")
            await up(small)
            gpus.excess = 5 * GIB
            for _ in range(3):
                small.placer.watch(gpus.read(), time.time() + 60)
            assert actions(small).count("memory above grant") == 1

    run(body)
    assert caplog.text.count("took more memory than granted") == 1


def test_growth_that_may_be_anothers_is_not_believed_without_measure(tmp_path: Path) -> None:
    async def body(foreign: int) -> list[int]:
        says = {"engine_args": "--fake-kv-gib 3 --fake-load-s 1"}
        models: dict[str, Any] = {"qwen": CHAT | says, "small": SMALL | says}
        held: list[int] = []
        async with machine(tmp_path, 2, **models) as (gpus, registry):
            for number, model in enumerate(registry.models.values()):
                goal = model.load((number,), 1)
                while not model.replicas:
                    await model.changed()
                gpus.foreign[number] = foreign
                await model.settled(goal, 30)
                grant = model.replicas[0].grant
                assert grant
                held += grant.held
                gpus.foreign[number] = 0
        return held

    async def twice() -> None:
        first, second = await body(12 * GIB), await body(0)
        assert second[0] == first[0]
        assert first[1] < second[1] <= 2 * first[1] + 6 * GIB

    run(twice)


def test_what_others_gave_back_during_a_load_is_not_learned_as_a_smaller_need(
    tmp_path: Path,
) -> None:
    """The device's figure is as before the load: nobody takes that for a model that takes none."""

    async def body(before: int) -> int:
        says = {"engine_args": "--fake-kv-gib 3 --fake-load-s 1"}
        async with machine(tmp_path, 1, qwen=CHAT | says) as (gpus, registry):
            gpus.foreign[0] = before
            qwen = registry.get("qwen")
            goal = qwen.load()
            while not qwen.replicas:
                await qwen.changed()
            grant = qwen.replicas[0].grant
            assert grant
            gpus.foreign[0] = max(0, before - int(grant.memory_share * H200))
            await qwen.settled(goal, 30)
            assert qwen.state is State.READY
            await down(qwen)
            gpus.foreign[0] = H200 - 40 * GIB
            await qwen.settled(qwen.load(), 30)
            assert qwen.failure
            assert qwen.failure.code == "insufficient_memory"
            return grant.held[0]

    async def twice() -> None:
        assert await body(70 * GIB) == await body(70 * GIB)

    run(twice)


def test_the_next_load_knows_what_the_last_one_took(tmp_path: Path) -> None:
    async def body(excess: int) -> int:
        says = {"engine_args": "--fake-kv-gib 3"}
        async with machine(tmp_path, 1, pids=True, small=SMALL | says) as (gpus, registry):
            small = registry.get("small")
            gpus.excess = excess
            await up(small)
            grant = small.replicas[0].grant
            assert grant
            return sum(grant.held)

    async def twice() -> None:
        first, second = await body(20 * GIB), await body(0)
        assert first < 11 * GIB
        assert second > first + 15 * GIB, "what was learned outlives the process"

    run(twice)


# ---- what comes back ----------------------------------------------------------------------------


@pytest.mark.parametrize("pids", [True, False])
def test_the_receipt_says_what_the_device_gave_back(tmp_path: Path, pids: bool) -> None:
    async def body() -> None:
        async with machine(tmp_path, pids=pids, qwen=CHAT) as (gpus, registry):
            qwen = registry.get("qwen")
            await up(qwen, (2, 3))
            before = gpus.read()
            await down(qwen)
            pairs = zip(before.gpus, gpus.read().gpus, strict=True)
            back = sum(b.memory_used - a.memory_used for b, a in pairs)
            receipt = qwen.supervisor.receipt
            assert receipt
            assert receipt.freed_bytes == back == 2 * int(0.9 * H200)
            assert (receipt.missing_bytes, receipt.escalated) == (0, False)

    run(body)


def test_memory_that_does_not_come_back_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def body() -> None:
        limits = {"memory_back_s": 0.5}
        async with machine(tmp_path, 1, settings=limits, qwen=CHAT) as (gpus, registry):
            qwen = registry.get("qwen")
            await up(qwen)
            gpus.leak = 20 * GIB
            await down(qwen)
            receipt = qwen.supervisor.receipt
            assert receipt
            assert receipt.missing_bytes == 20 * GIB
            assert receipt.freed_bytes == int(0.9 * H200) - 20 * GIB
            assert "memory missing" in actions(qwen)
            await up(qwen)
            assert share(qwen) < 0.86, "what is missing counts as somebody else's"

    run(body)
    assert "did not come back" in caplog.text


# ---- a GPU that is lost -------------------------------------------------------------------------


def test_a_gpu_lost_mid_way_neither_hangs_nor_breaks_anything(tmp_path: Path) -> None:
    async def body() -> None:
        async with machine(tmp_path, 2, qwen=CHAT, small=SMALL) as (gpus, registry):
            qwen, small = registry.models.values()
            await up(qwen)
            gpus.lost = {0}
            assert await up(small) == [(1,)]
            await down(qwen)
            assert qwen.supervisor.receipt
            assert qwen.supervisor.receipt.freed_bytes is None
            await qwen.settled(qwen.load((0,)), 20)
            assert qwen.failure
            assert "choose different ones of [1]" in qwen.failure.reason

    run(body)


@pytest.mark.parametrize("how", ["all lost", "raises", "hangs"])
def test_a_driver_that_fails_is_waited_for_in_vain_but_not_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(placing, "READ_S", 2.0)
    monkeypatch.setattr("backend.app.models.meter.MEASURE_S", 2.0)
    go_on = threading.Event()

    def fail() -> None:
        if how == "raises":
            raise OSError("NVML: Unknown Error")
        if how == "hangs":
            go_on.wait(30)

    async def body() -> None:
        async with machine(tmp_path, 1, qwen=CHAT, small=SMALL) as (gpus, registry):
            qwen, small = registry.models.values()
            await up(small)
            try:
                gpus.lost = {0} if how == "all lost" else set()
                gpus.hook = fail
                await qwen.settled(qwen.load(), 20)
                assert qwen.failure
                assert qwen.failure.code in {"gpu_lost", "gpu_unreadable"}
                assert "nvidia-smi" in qwen.failure.reason
                await down(small)
                assert small.state is State.IDLE
                assert small.supervisor.receipt
                assert small.supervisor.receipt.freed_bytes is None
            finally:
                go_on.set()
                gpus.lost, gpus.hook = set(), lambda: None
            assert await up(qwen) == [(0,)]

    run(body)
