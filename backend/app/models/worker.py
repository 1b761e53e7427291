"""What the wrappers of our own workers share: launch, health, phases, proof."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from backend.app.directories import usable_cache_dir
from backend.app.engines.client import EngineClient
from backend.app.engines.launcher import Address, EngineSpec
from backend.app.errors import EngineError
from backend.app.models.base import BaseModelWrapper
from backend.app.models.placement import Grant
from backend.app.models.state import Phase, Progress
from backend.app.workers.protocol import PARAMS_HEADER

ROOT = Path(__file__).resolve().parents[3]
SCRATCH = Path("/var/tmp")
_PHASE = re.compile(r"PHASE (starting|weights|warm-up)\s?(.*)")


def listening(address: Address) -> list[str]:
    """Where a worker is told to listen."""
    if address.socket:
        return ["--uds", address.socket]
    return ["--host", str(address.host), "--port", str(address.port), "--token", str(address.token)]


def environment(grant: Grant, scratch: Path, cache: Path) -> dict[str, str]:
    """Variables of a worker's process. Our sources are found wherever it is started.

    `scratch` is where NeMo unpacks a checkpoint of gigabytes; the run directory may be memory.
    `cache` is where a pipeline finds the other repositories that it names.
    """
    common = {
        "PYTHONPATH": str(ROOT),
        "TMPDIR": str(scratch),
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_CACHE": str(cache),
        "PYANNOTE_METRICS_ENABLED": "0",
    }
    if grant.gpu_ids:
        mask = ",".join(str(i) for i in grant.gpu_ids)
        return common | {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": mask}
    return common | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}


class WorkerModel(BaseModelWrapper):
    """A model served by `python -m backend.app.workers.<name>`."""

    worker: str
    route: str
    probe_params: str
    """What a proof sends along with a second of silence."""

    def options(self) -> list[str]:
        """More of the worker's command line."""
        return []

    def engine_spec(self, index: int, grant: Grant) -> EngineSpec:
        path = self.model_path

        def argv(address: Address) -> Sequence[str]:
            return [
                self.spec.python,
                "-m",
                f"backend.app.workers.{self.worker}",
                "--model",
                path,
                "--device",
                "cuda" if grant.gpu_ids else "cpu",
                *listening(address),
                *self.options(),
                *self.spec.engine_args,
            ]

        scratch = self.settings.spool_dir or SCRATCH
        cache = usable_cache_dir(self.settings)[0]
        return EngineSpec(f"{self.key}-{index}", argv, environment(grant, scratch, cache))

    async def prove(self, client: EngineClient, timeout_s: float) -> None:
        """One second through the model itself: the worker decodes a probe though it is silent."""
        answer = await client.request(
            "POST",
            self.route,
            headers=[(PARAMS_HEADER.encode(), self.probe_params.encode())],
            body=bytes(32_000),
            head_timeout=timeout_s,
        )
        try:
            content = await answer.read(timeout=timeout_s)
            if answer.status != 200 or b'"type":"done"' not in content:
                raise EngineError(f"the engine answered {answer.status}: {content[:200]!r}")
        finally:
            answer.close()

    def parse_line(self, line: str) -> Progress | None:
        found = _PHASE.match(line)
        return Progress(Phase(found[1]), found[2]) if found else None
