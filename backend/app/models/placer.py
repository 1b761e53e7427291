"""One placement decision at a time: reads the GPUs, asks `placement`, explains a refusal."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from backend.app.errors import ModelFailed
from backend.app.gpu.probe import Reading
from backend.app.models.placement import GIB, Grant, Refused, place
from backend.app.models.spec import Kind, ModelSpec
from backend.app.models.vllm import legal_parallel_sizes
from backend.app.waiting import within

log = logging.getLogger(__name__)

LEAST_KV_BYTES = 2 * GIB
ACTIVATION_BYTES = 3 * GIB
PROBE_TIMEOUT_S = 30
CPU_GRANT = Grant((), 0.0)

CUDA_REQUIRED = (
    "CUDA requis: no GPU is visible to the gateway. Check that `nvidia-smi` lists one, that the"
    " container runs with `--gpus all`, and CUDA_VISIBLE_DEVICES. MODEL_SET=demo serves tiny demo"
    " models without a GPU."
)


def weight_bytes(path: str) -> int:
    """What the weights take on disk, which is what they take in memory."""
    root = Path(path)
    if root.is_file():
        return root.stat().st_size
    kinds = ("*.safetensors", "*.nemo", "*.bin")
    return sum(f.stat().st_size for kind in kinds for f in root.rglob(kind))


class Placer:
    """Serialises decisions. `cpu_allowed`: engines may run without a GPU when there is none."""

    def __init__(
        self,
        read: Callable[[], Reading],
        path_of: Callable[[ModelSpec], str],
        *,
        cpu_allowed: bool,
    ) -> None:
        self._read = read
        self._path_of = path_of
        self._cpu_allowed = cpu_allowed
        self._turn = asyncio.Lock()

    async def _look(self) -> Reading:
        try:
            return await within(PROBE_TIMEOUT_S, asyncio.to_thread(self._read))
        except asyncio.TimeoutError:
            reason = f"The GPUs did not answer within {PROBE_TIMEOUT_S} s. Does `nvidia-smi`?"
            raise ModelFailed(reason) from None

    async def place(self, spec: ModelSpec, ids: Sequence[int], replicas: int) -> list[Grant]:
        """Raises Refused with numbers, or ModelFailed `cuda_required` where only a GPU will do."""
        async with self._turn:
            reading = await self._look()
            if not reading.gpus:
                if ids:
                    raise Refused(f"GPU ids {list(ids)} were asked for and no GPU is visible.")
                if not self._cpu_allowed:
                    log.error("no GPU: %s", "; ".join(reading.problems))
                    raise ModelFailed(CUDA_REQUIRED, code="cuda_required")
                return [CPU_GRANT] * replicas
            path = self._path_of(spec)
            need = int(weight_bytes(path) * 1.05) + LEAST_KV_BYTES + ACTIVATION_BYTES
            on_vllm = spec.kind in {Kind.CHAT, Kind.EMBEDDING}
            legal = legal_parallel_sizes(path) if on_vllm else [1]
            return place(reading.gpus, ids=ids, replicas=replicas, need=need, legal=legal)
