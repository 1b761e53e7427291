"""A model's life on real (fake-engine) processes: load, crash, stall, unload, and requests."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from backend.app.engines.launcher import LaunchError
from backend.app.errors import Conflict, EngineError, GatewayError, Loading, ModelFailed, QueueFull
from backend.app.hub.errors import DownloadFailed
from backend.app.models.base import BaseModelWrapper
from backend.app.models.contracts import Lease
from backend.app.models.state import Progress, State
from tests.support.models import fake_model


def run(body: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(body(), 60)

    asyncio.run(bounded())


async def chat(lease: Lease, text: str = "hello", **more: Any) -> bytes:
    body = {"model": "qwen", "messages": [{"role": "user", "content": text}], **more}
    answer = await lease.client.request(
        "POST",
        "/v1/chat/completions",
        headers=[(b"content-type", b"application/json")],
        body=json.dumps(body).encode(),
        head_timeout=10,
    )
    try:
        return await answer.read(timeout=20)
    finally:
        answer.close()


def engine_pid(model: BaseModelWrapper, replica: int = 0) -> int:
    engine = model.replicas[replica].engine
    assert engine is not None
    socket = engine.address.socket
    for process in psutil.process_iter(["cmdline"]):
        line = process.info["cmdline"] or []
        if socket in line and "guard.py" not in " ".join(line[:5]):
            return int(process.pid)
    raise AssertionError(f"no process serves {socket}")


def at_rest(model: BaseModelWrapper) -> bool:
    return model.in_flight == 0 and model.admission.taken == 0 and model.admission.queued == 0


def test_a_first_request_loads_and_unload_gives_a_receipt(tmp_path: Path) -> None:
    async def body() -> None:
        async with fake_model(tmp_path) as model:
            seen = [model.state]
            async with model.lease() as lease:
                assert b"hello" in await chat(lease)
            seen.append(model.state)
            await model.settled(model.unload(), 20)
            seen.append(model.state)
            assert seen == [State.IDLE, State.READY, State.IDLE]
            receipt = model.supervisor.receipt
            assert receipt is not None
            assert receipt.freed_bytes
            assert not receipt.escalated

    run(body)


def test_concurrent_first_requests_start_one_engine(tmp_path: Path) -> None:
    async def body() -> None:
        async with fake_model(tmp_path, "--fake-load-s 0.3") as model:

            async def one() -> str:
                async with model.lease() as lease:
                    await chat(lease)
                    return str(lease.client)

            assert len(set(await asyncio.gather(*(one() for _ in range(20))))) == 1
            loads = [a for a in model.runtime.timeline if a.action == "loading"]
            assert len(loads) == 1
            assert at_rest(model)

    run(body)


def test_a_load_that_dies_fails_with_its_reason_code_and_last_lines(tmp_path: Path) -> None:
    async def body() -> None:
        async with fake_model(tmp_path, "--fake-exit-at-start 7") as model:
            with pytest.raises(ModelFailed) as failed:
                async with model.lease():
                    pass
            assert failed.value.retry_after is not None
            assert model.state is State.FAILED
            assert model.failure is not None
            assert model.failure.exit_code == 7
            assert model.failure.reason.endswith(
                "exit code 7: ValueError: No available memory for the cache blocks."
            )
            assert "memory" not in failed.value.message  # that is for operators
            assert model.failure.log_tail
            assert model.why_not()
            # refused at once while the failure is fresh; nothing is started for it
            launched = len(model.runtime.timeline)
            with pytest.raises(ModelFailed):
                async with model.lease():
                    pass
            assert len(model.runtime.timeline) == launched
            # an operator's load tries at once
            await model.settled(model.load(), 20)
            assert len(model.runtime.timeline) > launched

    run(body)


def test_requests_may_try_again_when_the_failure_is_old(tmp_path: Path) -> None:
    async def body() -> None:
        limits = {"failed_retry_s": 0}
        async with fake_model(tmp_path, "--fake-exit-at-start 7", settings=limits) as model:
            for _ in range(2):
                with pytest.raises(ModelFailed):
                    async with model.lease():
                        pass
            assert model.why_not() is None  # who is ready only after a request would never get one
            assert sum(a.action == "loading" for a in model.runtime.timeline) == 2

    run(body)


def test_an_engine_that_never_gets_ready_is_given_up(tmp_path: Path) -> None:
    async def body() -> None:
        limits = {"engine_start_s": 0.8}
        async with fake_model(tmp_path, "--fake-never-ready", settings=limits) as model:
            with pytest.raises(ModelFailed, match="ENGINE_START_S"):
                async with model.lease():
                    pass

    run(body)


def test_waiting_for_a_slow_load_ends_with_retry_after(tmp_path: Path) -> None:
    async def body() -> None:
        limits = {"load_wait_s": 0.3}
        async with fake_model(tmp_path, "--fake-load-s 3", settings=limits) as model:
            with pytest.raises(Loading) as waiting:
                async with model.lease():
                    pass
            assert waiting.value.retry_after
            assert at_rest(model)
            assert model.state is State.LOADING

    run(body)


@pytest.mark.parametrize("when", ["idle", "busy"])
def test_a_killed_engine_is_restarted(tmp_path: Path, when: str) -> None:
    async def body() -> None:
        async with fake_model(tmp_path, "--fake-tps 5") as model:
            await model.settled(model.load(), 20)
            if when == "busy":
                async with model.lease() as lease:
                    running = asyncio.ensure_future(chat(lease, max_tokens=500))
                    replica = model.replicas[0]
                    assert await model.until(lambda: replica.in_flight == 1, 5)
                    os.kill(engine_pid(model), signal.SIGKILL)
                    with pytest.raises(EngineError):
                        await running
            else:
                os.kill(engine_pid(model), signal.SIGKILL)
            assert await model.until(lambda: model.replicas[0].restarts == 1, 10)
            async with model.lease() as lease:
                assert b"hello" in await chat(lease, max_tokens=1)
            last = model.runtime.last_error
            assert last is not None
            assert last.signal == signal.SIGKILL

    run(body)


def test_a_clean_exit_nobody_asked_for_is_a_crash(tmp_path: Path) -> None:
    async def body() -> None:
        flags = "--fake-exit-after-s 0.5 --fake-exit-code 0"
        async with fake_model(tmp_path, flags, settings={"crash_limit": 2}) as model:
            await model.settled(model.load(), 20)
            assert await model.until(lambda: model.state is State.FAILED, 20)
            assert model.failure is not None
            assert model.failure.exit_code == 0
            assert model.replicas[0].restarts == 1
            with pytest.raises(ModelFailed):
                async with model.lease():
                    pass

    run(body)


@pytest.mark.parametrize("busy", [False, True])
def test_a_stopped_engine_is_found_out_and_replaced(tmp_path: Path, busy: bool) -> None:
    async def body() -> None:
        limits = {"engine_probe_s": 0.5, "engine_stall_s": 0.5, "engine_probe_timeout_s": 0.5}
        async with fake_model(tmp_path, settings=limits) as model:
            await model.settled(model.load(), 20)
            os.kill(engine_pid(model), signal.SIGSTOP)
            if busy:
                async with model.lease() as lease:
                    with pytest.raises(GatewayError):
                        await chat(lease)
            assert await model.until(
                lambda: model.replicas[0].restarts == 1 and model.state is State.READY, 15
            )
            assert model.runtime.last_error is not None
            assert model.runtime.last_error.code == "stalled"
            async with model.lease() as lease:
                await chat(lease)

    run(body)


def test_requests_that_give_up_soon_hide_no_stopped_engine(tmp_path: Path) -> None:
    """One after the other, each shorter than ENGINE_STALL_S, and the engine never idle."""

    async def body() -> None:
        limits = {"engine_probe_s": 0.5, "engine_stall_s": 0.5, "engine_probe_timeout_s": 0.5}
        async with fake_model(tmp_path, settings=limits) as model:
            await model.settled(model.load(), 20)
            replica = model.replicas[0]

            async def impatient() -> None:
                while replica.client is not None and not replica.restarts:
                    replica.enter()
                    try:
                        await asyncio.sleep(0.2)
                    finally:
                        replica.leave()

            os.kill(engine_pid(model), signal.SIGSTOP)
            requests = asyncio.ensure_future(impatient())
            assert await model.until(lambda: replica.restarts == 1, 15)
            assert model.runtime.last_error is not None
            assert model.runtime.last_error.code == "stalled"
            await requests

    run(body)


def test_a_long_answer_is_no_stall(tmp_path: Path) -> None:
    """Silent on this connection, but the engine answers probes: it is left alone."""

    async def body() -> None:
        limits = {"engine_stall_s": 0.3, "engine_probe_timeout_s": 5}
        async with fake_model(tmp_path, "--fake-tps 20", settings=limits) as model:
            async with model.lease() as lease:
                assert b"usage" in await chat(lease, max_tokens=40)
            assert model.replicas[0].restarts == 0

    run(body)


def test_unload_cancels_a_load_and_waiting_requests_are_told(tmp_path: Path) -> None:
    async def body() -> None:
        async with fake_model(tmp_path, "--fake-load-s 30 --fake-ignore-term") as model:

            async def request() -> None:
                async with model.lease():
                    pass

            waiting = asyncio.ensure_future(request())
            assert await model.until(lambda: bool(model.replicas and model.replicas[0].engine), 5)
            await model.settled(model.unload(), 10)
            with pytest.raises(GatewayError, match="unloaded"):
                await waiting
            assert model.state is State.IDLE
            assert at_rest(model)

    run(body)


def test_cancel_is_refused_when_there_is_nothing_to_cancel(tmp_path: Path) -> None:
    async def body() -> None:
        async with fake_model(tmp_path) as model:
            with pytest.raises(Conflict):
                model.cancel()
            model.load()
            with pytest.raises(Conflict):
                model.download()

    run(body)


def test_unload_lets_a_running_request_finish(tmp_path: Path) -> None:
    async def body() -> None:
        async with fake_model(tmp_path, "--fake-tps 20") as model:
            async with model.lease() as lease:
                running = asyncio.ensure_future(chat(lease, max_tokens=20))
                await asyncio.sleep(0)
                goal = model.unload()
                assert b'"completion_tokens":20' in await running
            await model.settled(goal, 10)
            assert model.state is State.IDLE

    run(body)


def test_a_request_during_the_drain_loads_anew_and_is_not_cut_off(tmp_path: Path) -> None:
    async def body() -> None:
        async with fake_model(tmp_path, "--fake-tps 20") as model:
            async with model.lease() as lease:
                running = asyncio.ensure_future(chat(lease, max_tokens=20))
                await asyncio.sleep(0)
                model.unload()
                assert await model.until(lambda: model.state is State.UNLOADING, 5)

                async def late() -> bytes:
                    async with model.lease() as second:
                        return await chat(second, max_tokens=5)

                newcomer = asyncio.ensure_future(late())
                assert b'"completion_tokens":20' in await running
            assert b'"completion_tokens":5' in await newcomer

    run(body)


def test_idle_unload_and_lazy_reload(tmp_path: Path) -> None:
    async def body() -> None:
        async with fake_model(tmp_path, idle_unload_s=0.3) as model:
            for _ in range(2):
                async with model.lease() as lease:
                    await chat(lease)
                assert await model.until(lambda: model.state is State.IDLE, 10)

    run(body)


def test_when_an_idle_model_goes_is_told(tmp_path: Path) -> None:
    async def body() -> None:
        async with fake_model(tmp_path, idle_unload_s=60) as model:
            assert model.snapshot()["idle_unload_at"] is None  # it is down
            async with model.lease() as lease:
                await chat(lease)
                assert model.snapshot()["idle_unload_at"] is None  # it works
            at = model.snapshot()["idle_unload_at"]
            assert abs(at - time.time() - 60) < 5
            before = time.time()
            async with model.lease():
                pass
            assert before + 60 <= model.snapshot()["idle_unload_at"] + 0.01  # from the last one on

    run(body)


def test_without_a_limit_no_end_is_told(tmp_path: Path) -> None:
    async def body() -> None:
        async with fake_model(tmp_path) as model, model.lease():
            pass
        assert model.snapshot()["idle_unload_at"] is None

    run(body)


def test_places_and_queue_are_bounded(tmp_path: Path) -> None:
    async def body() -> None:
        async with fake_model(tmp_path, "--fake-tps 20", max_in_flight=2, max_queue=1) as model:

            async def one() -> bytes:
                async with model.lease() as lease:
                    return await chat(lease, max_tokens=5)

            results = await asyncio.gather(*(one() for _ in range(5)), return_exceptions=True)
            assert sum(isinstance(r, bytes) for r in results) == 3
            refused = [r for r in results if isinstance(r, QueueFull)]
            assert len(refused) == 2
            assert all(r.retry_after for r in refused)
            assert at_rest(model)

    run(body)


def test_one_of_two_replicas_dies_and_the_other_serves(tmp_path: Path) -> None:
    async def body() -> None:
        limits = {"crash_backoff_s": 3}
        async with fake_model(tmp_path, settings=limits, replicas=2) as model:
            await model.settled(model.load(), 20)
            assert [r.state for r in model.replicas] == [State.READY] * 2
            os.kill(engine_pid(model, 0), signal.SIGKILL)
            assert await model.until(lambda: model.replicas[0].state is State.RESTARTING, 5)
            assert model.state is State.READY
            for _ in range(4):
                async with model.lease() as lease:
                    assert lease.replica == "qwen-1"
                    await chat(lease)

    run(body)


def test_affinity_sends_the_same_prompt_to_the_same_replica(tmp_path: Path) -> None:
    async def body() -> None:
        async with fake_model(tmp_path, replicas=2) as model:
            await model.settled(model.load(), 20)
            seen: dict[bytes, set[str]] = {}
            for number in range(16):
                affinity = (number % 4).to_bytes(8, "big")
                async with model.lease(affinity) as lease:
                    seen.setdefault(affinity, set()).add(lease.replica)
            assert all(len(replicas) == 1 for replicas in seen.values())
            assert len(set.union(*seen.values())) == 2

    run(body)


def test_a_wish_for_another_layout_reloads(tmp_path: Path) -> None:
    async def body() -> None:
        async with fake_model(tmp_path) as model:
            await model.settled(model.load(), 20)
            await model.settled(model.load(replicas=2), 20)
            assert [r.state for r in model.replicas] == [State.READY] * 2
            goal = model.load(replicas=2)
            assert model.supervisor.settled
            assert goal is model.supervisor.goal

    run(body)


def test_cancelled_requests_leave_nothing_behind(tmp_path: Path) -> None:
    async def body() -> None:
        async with fake_model(tmp_path, "--fake-tps 50", max_in_flight=8) as model:
            await model.settled(model.load(), 20)

            async def one() -> None:
                async with model.lease() as lease:
                    await chat(lease, max_tokens=50)

            for round_ in range(4):
                tasks = [asyncio.ensure_future(one()) for _ in range(50)]
                for number, task in enumerate(tasks):
                    asyncio.get_running_loop().call_later(
                        0.001 * (number * 7 % 100) * (round_ + 1), task.cancel
                    )
                await asyncio.gather(*tasks, return_exceptions=True)
                assert at_rest(model)

    run(body)


def test_those_who_wait_for_a_place_do_not_start_a_failed_model_again(tmp_path: Path) -> None:
    async def body() -> None:
        async with fake_model(tmp_path, "--fake-exit-at-start 3", max_in_flight=1) as model:

            async def ask() -> None:
                async with model.lease():
                    raise AssertionError("there is no engine")

            asked = await asyncio.gather(*(ask() for _ in range(8)), return_exceptions=True)
            assert {type(answer) for answer in asked} == {ModelFailed}
            assert [a.action for a in model.runtime.timeline].count("placing") == 1
            assert at_rest(model)

    run(body)


@pytest.mark.parametrize("step", ["_reach", "_take_down"])
def test_a_supervisor_survives_whatever_is_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    async def body() -> None:
        async with fake_model(tmp_path) as model:
            supervisor = model.supervisor

            def raises(*_: object, **__: object) -> None:
                raise RuntimeError("nobody thought of this")

            with monkeypatch.context() as broken:
                broken.setattr(supervisor, step, raises)
                broken.setattr(model, "_publish", raises)
                with pytest.raises(RuntimeError):
                    model.update_runtime("seen", "even by whom this is told")
                await model.settled(model.load(), 10)
                assert model.failure is not None
                assert "see the log" in model.failure.reason
            await model.settled(model.load(), 20)
            assert model.state is State.READY

    run(body)


def test_files_that_are_missing_after_a_download_are_said_and_nothing_starts(
    tmp_path: Path,
) -> None:
    async def body() -> None:
        async with fake_model(tmp_path) as model:
            model.artifacts = Lost()
            for want in (model.download, model.load):
                await model.settled(want(), 20)
                assert model.state is State.FAILED
                assert model.failure is not None
                assert model.failure.code == "files_missing"
                assert "not all of its files are there" in model.failure.reason
            assert model.replicas == []
            with pytest.raises(LaunchError, match="not all files of"):
                _ = model.model_path

    run(body)


def test_one_file_is_an_artifact(tmp_path: Path) -> None:
    async def body() -> None:
        async with fake_model(tmp_path) as model:
            for file in (tmp_path / "model").iterdir():
                file.unlink()
            await model.files.look()
            assert not model.cache_has_artifacts()
            (tmp_path / "model" / "one.txt").touch()
            await model.files.look()
            assert model.cache_has_artifacts()

    run(body)


class Lost:
    """Files that a download does not bring."""

    def has_any(self) -> bool:
        return False

    def path(self) -> None:
        return None

    def release(self) -> None:
        """Nothing is held."""

    async def fetch(self, on_progress: Callable[[Progress], None]) -> None:
        """It ends well."""


@pytest.mark.parametrize(
    ("code", "lasts"), [("repository_not_found", True), ("nothing_to_load", True), ("gated", True),
                        ("disk_full", False), ("hub_unreachable", False)]
)  # fmt: skip
def test_a_download_that_failed_says_so_and_whether_to_try_again(
    tmp_path: Path, code: str, lasts: bool
) -> None:
    class Refused(Lost):
        async def fetch(self, on_progress: Callable[[Progress], None]) -> None:
            raise DownloadFailed(code, "For a reason.")

    async def body() -> None:
        async with fake_model(tmp_path) as model:
            model.artifacts = Refused()
            with pytest.raises(ModelFailed, match=r"could not be downloaded: ") as bad:
                async with model.lease():
                    pass
            assert (bad.value.code, bad.value.permanent) == (code, lasts)
            assert "For a reason." in (bad.value.detail or bad.value.message)

    run(body)
