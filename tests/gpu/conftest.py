"""For machines with an NVIDIA GPU: `make test ARGS=tests/gpu`. Elsewhere they are skipped."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from backend.app.gpu.probe import Gpu, read_gpus
from tests.support.gateway import GatewayProcess, demo_gateway


@pytest.fixture(scope="session")
def gpus() -> tuple[Gpu, ...]:
    reading = read_gpus(None)
    if not reading.gpus:
        pytest.skip(f"no GPU here: {'; '.join(reading.problems)}")
    return reading.gpus


@pytest.fixture(scope="session")
def on_gpu(gpus: tuple[Gpu, ...]) -> Iterator[GatewayProcess]:
    """A gateway with the demo models, which the engines run on the first GPU."""
    first = str(gpus[0].index)
    chosen = {f"{key}_GPU_IDS": first for key in ("CANARY", "PYANNOTE")}
    # beside two other engines on the same device vLLM must not take nearly all of it
    small = {"QWEN_GPU_IDS": first, "QWEN_ENGINE_ARGS": "--gpu-memory-utilization 0.3"}
    with demo_gateway(**chosen, **small) as running:
        yield running
