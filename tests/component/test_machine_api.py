"""What an operator sees of GPUs and machine, with a `nvidia-smi` that comes and goes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from backend.app.gpu.probe import read_gpus
from tests.support.gateway import eventually, gateway

ROW = "GPU-{0}, {1}, 143771, 1024, 142747, 550.90.07, NVIDIA H200, 1, Disabled, Disabled, 31"


def smi(path: Path, count: int) -> None:
    rows = "\n".join(f"{i}, {ROW.format(i, 10 * i)}" for i in range(count))
    draft = path.with_suffix(".new")
    draft.write_text(f"#!/bin/sh\ncat <<END\n{rows}\nEND\n")
    draft.chmod(0o755)
    draft.replace(path)


@pytest.mark.skipif(read_gpus(None).probe == "nvml", reason="NVML answers here")
def test_gpus_that_come_and_go(tmp_path: Path) -> None:
    program = tmp_path / "nvidia-smi"
    smi(program, 2)
    with gateway(PATH=f"{tmp_path}:{os.environ['PATH']}") as running, running.client() as http:

        def seen(count: int) -> dict[str, object] | None:
            status = http.get("/api/admin/status").json()
            return status if len(status["gpus"]) == count else None

        status = eventually(lambda: seen(2), 30)
        assert status["system"]["gpu_probe"] == "gputil"
        assert status["system"]["driver"] == "550.90.07"
        assert status["system"]["gpu_problems"] == ["NVML: libnvidia-ml.so.1 not found"]
        assert [gpu["load"] for gpu in status["gpus"]] == [0.0, 10.0]
        program.unlink()
        status = eventually(lambda: seen(0), 30)
        assert status["system"]["gpu_probe"] == "none"
        assert "GPUtil: nvidia-smi not found" in status["system"]["gpu_problems"]
        smi(program, 1)
        eventually(lambda: seen(1), 30)

        history = http.get("/api/admin/history").json()
        assert history["interval_seconds"] == 2
        samples = history["samples"]
        assert [s["at"] for s in samples] == sorted(s["at"] for s in samples)
        counts = [len(s["gpus"]) for s in samples]
        assert list(dict.fromkeys(counts)) == [2, 0, 1]
        assert samples[0]["gpus"][1] == {
            "index": 1,
            "load": 10.0,
            "memory_used": 1024 << 20,
            "temperature": 31.0,
        }
        said = [line for line in running.output().splitlines() if "backend.app.gpu" in line]
        assert sum("NVML: libnvidia-ml.so.1 not found" in line for line in said) == 1
        assert sum("GPUtil: nvidia-smi not found" in line for line in said) == 2  # and no longer
