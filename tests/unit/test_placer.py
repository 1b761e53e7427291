"""Placement decisions on what the GPUs say, and what is said when they say nothing."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from backend.app.config import QwenSettings
from backend.app.errors import ModelFailed
from backend.app.gpu.probe import Gpu, Reading
from backend.app.models import placer
from backend.app.models.placement import GIB, Grant, Refused
from backend.app.models.placer import CPU_GRANT, Placer, weight_bytes
from backend.app.models.spec import Kind, ModelSpec, build_spec

NOTHING = Reading("none", (), ("nvml: no driver",))


def gpus(*free_gib: int) -> Reading:
    made = [Gpu(i, f"GPU-{i}", "H", 80 * GIB, (80 - free) * GIB) for i, free in enumerate(free_gib)]
    return Reading("nvml", tuple(made))


def place(
    read: Callable[[], Reading],
    path: Path,
    ids: tuple[int, ...] = (),
    *,
    replicas: int = 1,
    cpu_allowed: bool = True,
    kind: Kind = Kind.CHAT,
) -> list[Grant]:
    own = QwenSettings.model_validate({"model": str(path)})
    spec = build_spec("qwen", kind, own, demo_set=False)

    def path_of(of: ModelSpec) -> str:
        return of.source

    async def body() -> list[Grant]:
        return await Placer(read, path_of, cpu_allowed=cpu_allowed).place(spec, ids, replicas)

    return asyncio.run(body())


def checkpoint(path: Path, weights: int) -> Path:
    config = {"num_attention_heads": 32, "num_key_value_heads": 4}
    (path / "config.json").write_text(json.dumps(config))
    with (path / "model.safetensors").open("wb") as file:
        file.truncate(weights)  # a hole: it takes no room on disk
    return path


def test_weights_activations_and_a_least_cache_decide(tmp_path: Path) -> None:
    path = checkpoint(tmp_path, 60 * GIB)
    assert weight_bytes(str(path)) == 60 * GIB
    assert place(lambda: gpus(30, 80), path) == [Grant((1,), 0.9)]
    with pytest.raises(Refused, match=r"needs 68.0 GiB on 1 GPU\(s\); GPU 0: 68.0 GiB free"):
        place(lambda: gpus(68), path)


def test_chat_spreads_over_several_gpus_and_others_do_not(tmp_path: Path) -> None:
    path = checkpoint(tmp_path, 100 * GIB)
    (grant,) = place(lambda: gpus(80, 80), path)
    assert grant.gpu_ids == (0, 1)
    with pytest.raises(Refused):
        place(lambda: gpus(80, 80), path, kind=Kind.ASR)


def test_without_a_gpu_engines_run_on_the_cpu_where_that_is_allowed(tmp_path: Path) -> None:
    assert place(lambda: NOTHING, tmp_path, replicas=2) == [CPU_GRANT, CPU_GRANT]
    with pytest.raises(Refused, match=r"GPU ids \[1\] were asked for and no GPU is visible"):
        place(lambda: NOTHING, tmp_path, (1,))


def test_real_models_without_a_gpu_say_what_to_check(tmp_path: Path) -> None:
    with pytest.raises(ModelFailed, match=r"CUDA requis.*nvidia-smi.*--gpus all") as failed:
        place(lambda: NOTHING, tmp_path, cpu_allowed=False)
    assert failed.value.code == "cuda_required"


def test_gpus_that_do_not_answer_are_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placer, "PROBE_TIMEOUT_S", 0.05)
    answer = threading.Event()

    def hang() -> Reading:
        answer.wait(20)
        return NOTHING

    async def body() -> None:
        try:
            own = QwenSettings.model_validate({"model": str(tmp_path)})
            spec = build_spec("qwen", Kind.CHAT, own, demo_set=False)
            with pytest.raises(ModelFailed, match="did not answer within"):
                await Placer(hang, lambda s: s.source, cpu_allowed=True).place(spec, (), 1)
        finally:
            answer.set()

    asyncio.run(body())
