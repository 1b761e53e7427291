"""What is asked of placement, and what is said when the GPUs say nothing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from backend.app.errors import ModelFailed
from backend.app.gpu.probe import Reading
from backend.app.models import placer
from backend.app.models.placement import GIB, RESERVE_BYTES, Grant, NoRoom, Refused
from backend.app.models.placer import CPU_GRANT
from backend.app.models.spec import Kind
from tests.support.machines import gpu
from tests.support.models import NO_GPU, fake_models


def gpus(*free_gib: int) -> Reading:
    return Reading("nvml", tuple(gpu(i, 80, 80 - free) for i, free in enumerate(free_gib)))


def grants(tmp: Path, reading: Reading, *args: Any, **model: Any) -> list[Grant]:
    """What a model called qwen is granted."""

    async def body() -> list[Grant]:
        async with fake_models(tmp, {"qwen": model}, read=lambda: reading) as registry:
            qwen = registry.get("qwen")
            try:
                return await qwen.placer.place(qwen, *(args or ((), 1)))
            finally:
                qwen.placer.release(qwen)

    return asyncio.run(body())


def test_weights_activations_and_a_least_cache_decide(tmp_path: Path) -> None:
    need = 60 * 1.05 + 3 + 2
    (grant,) = grants(tmp_path, gpus(30, 80), weights=60 * GIB)
    assert grant == Grant((1,), 0.9, (int(0.9 * 80 * GIB) + RESERVE_BYTES,))
    with pytest.raises(NoRoom, match=rf"needs {need:.1f} GiB and 1.0 .* GPU 0: 68.0 GiB free"):
        grants(tmp_path, gpus(68), weights=60 * GIB)


def test_what_takes_no_more_than_it_needs_is_granted_no_more(tmp_path: Path) -> None:
    (grant,) = grants(tmp_path, gpus(80), weights=20 * GIB, kind=Kind.EMBEDDING)
    assert grant.held == (int(20 * GIB * 1.05) + (1 + 3 + 2) * GIB,)
    assert grant.memory_share == pytest.approx((21 + 5) / 80, abs=0.0001)


@pytest.mark.parametrize("flag", ["--gpu-memory-utilization 0.3", "--gpu-memory-utilization=0.3"])
def test_an_operators_own_share_is_what_is_set_aside(tmp_path: Path, flag: str) -> None:
    (grant,) = grants(tmp_path, gpus(80), weights=60 * GIB, engine_args=f"--x y {flag}")
    assert grant == Grant((0,), 0.3, (int(0.3 * 80 * GIB) + RESERVE_BYTES,))
    with pytest.raises(NoRoom, match=r"needs 30% and 1.0 GiB in reserve .* GPU 0: 20.0 GiB free"):
        grants(tmp_path, gpus(20), weights=60 * GIB, engine_args=flag)


def test_an_own_share_that_is_none_is_left_to_vllm(tmp_path: Path) -> None:
    args = "--gpu-memory-utilization much"
    (grant,) = grants(tmp_path, gpus(80), weights=60 * GIB, engine_args=args)
    assert grant.memory_share == 0.9


def test_a_model_that_is_too_large_for_one_gpu_is_spread(tmp_path: Path) -> None:
    (grant,) = grants(tmp_path, gpus(80, 80), weights=100 * GIB)
    assert grant.gpu_ids == (0, 1)


def test_without_a_gpu_engines_run_on_the_cpu_where_that_is_allowed(tmp_path: Path) -> None:
    assert grants(tmp_path, NO_GPU, (), 2) == [CPU_GRANT, CPU_GRANT]
    assert grants(tmp_path, NO_GPU, (), "auto") == [CPU_GRANT]
    with pytest.raises(Refused, match=r"GPU ids \[1\] were asked for and no GPU is visible"):
        grants(tmp_path, NO_GPU, (1,), 1)


def test_real_models_without_a_gpu_say_what_to_check(tmp_path: Path) -> None:
    nothing = Reading("none", (), ("NVML: libnvidia-ml.so.1 not found",))
    with pytest.raises(ModelFailed, match=r"CUDA requis.*nvidia-smi.*--gpus all") as failed:
        grants(tmp_path, nothing)
    assert failed.value.code == "cuda_required"


def test_gpus_that_do_not_answer_are_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placer, "READ_S", 0.05)
    answer = threading.Event()
    calls: list[Callable[[], Awaitable[None]]] = []

    def hang() -> Reading:
        if calls:
            answer.wait(20)
        return NO_GPU

    async def body() -> None:
        async with fake_models(tmp_path, {"qwen": {}}, read=hang) as registry:
            qwen = registry.get("qwen")
            calls.append(lambda: asyncio.sleep(0))
            try:
                for _ in range(2):
                    with pytest.raises(ModelFailed, match="did not answer within") as failed:
                        await qwen.placer.place(qwen, (), 1)
                    assert failed.value.code == "gpu_unreadable"
            finally:
                answer.set()

    asyncio.run(body())
