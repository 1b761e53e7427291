"""VllmModel: a checkpoint on vLLM's own API server, one process group per replica.

vLLM's command line is its stable interface; the same one serves 0.19 and 0.32. It is built from
small steps over one frozen context, so that each flag has one place and one reason.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

from backend.app.engines.client import EngineClient
from backend.app.engines.launcher import Address, EngineSpec
from backend.app.errors import EngineError
from backend.app.models.base import BaseModelWrapper
from backend.app.models.placement import GIB, Grant
from backend.app.models.spec import Kind, ModelSpec
from backend.app.models.state import Progress
from backend.app.models.vllm_progress import cache_bytes, parse_line

NO_MEDIA_DOMAIN = "media.invalid"
"""A name that can never resolve (RFC 2606): the engine fetches nothing, the gateway does."""
SHARE_FLAG = "--gpu-memory-utilization"
CPU_CONTEXT = 2048
"""Tokens; what the demo model was trained for, and all that is bearable without a GPU."""
GPU_CONTEXT = 32768
CPU_SEQUENCES = 32
MOST_CHOICES = 16
"""Of one request (`n`): each is a sequence of its own in the engine's batch, which all share."""
ROLE = {
    Kind.CHAT: ("--enable-auto-tool-choice", "--tool-call-parser", "hermes"),
    Kind.EMBEDDING: ("--runner", "pooling"),
}
"""What vLLM makes of a checkpoint: the same Qwen3 generates text or gives one vector."""
DEMO = ("--structured-outputs-config", '{"backend": "xgrammar", "disable_any_whitespace": true}')
"""Where a grammar lets it, the tiny demo model writes blanks for ever."""

_JSON = [(b"content-type", b"application/json")]


@dataclass(frozen=True)
class Launch:
    """Everything the command line depends on."""

    spec: ModelSpec
    path: str
    longest: int | None
    """Tokens that the checkpoint can read at once, where it says so."""
    grant: Grant
    address: Address
    stop_s: float
    """From SIGTERM to SIGKILL."""

    @property
    def on_cpu(self) -> bool:
        return not self.grant.gpu_ids


def _listening(launch: Launch) -> list[str]:
    address = launch.address
    if address.socket:
        return ["--uds", address.socket]
    return ["--host", str(address.host), "--port", str(address.port)]


def _context(launch: Launch) -> list[str]:
    wanted = launch.spec.max_model_len or (CPU_CONTEXT if launch.on_cpu else GPU_CONTEXT)
    return ["--max-model-len", str(min(wanted, launch.longest or wanted))]


def _serving(launch: Launch) -> list[str]:
    return [
        "--served-model-name",
        *launch.spec.names,
        *ROLE[launch.spec.kind],
        *(DEMO if launch.spec.demo else ()),
        "--allowed-media-domains",
        NO_MEDIA_DOMAIN,
        "--disable-uvicorn-access-log",
        "--shutdown-timeout",
        str(int(launch.stop_s / 2)),  # the gateway has drained it; the other half is for its exit
    ]


def _device(launch: Launch) -> list[str]:
    if launch.on_cpu:
        # without an explicit size vLLM claims nearly all memory for its cache
        return [
            "--enforce-eager",
            "--kv-cache-memory-bytes",
            "256M",
            "--max-num-seqs",
            str(min(CPU_SEQUENCES, launch.spec.max_in_flight)),
            "--max-num-batched-tokens",
            str(CPU_CONTEXT),
            "--distributed-executor-backend",
            "uni",
        ]
    return [
        "--max-num-seqs",  # never more than we send, or our queue would hide an idle batch
        str(launch.spec.max_in_flight),
        "--tensor-parallel-size",
        str(len(launch.grant.gpu_ids)),
        SHARE_FLAG,
        str(launch.grant.memory_share),
    ]


def command(launch: Launch) -> list[str]:
    """The engine's whole command line. An operator's own arguments come last and win."""
    return [
        launch.spec.python,
        "-m",
        "vllm.entrypoints.openai.api_server",
        "--model",
        launch.path,
        *_listening(launch),
        *_serving(launch),
        *_context(launch),
        *_device(launch),
        *launch.spec.engine_args,
    ]


def environment(grant: Grant, max_pixels: int, max_in_flight: int) -> dict[str, str]:
    """Variables of the engine's process, and of no other."""
    common = {
        "VLLM_PLUGINS": "",  # NeMo registers one that breaks vLLM's worker
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": "600",  # longer than our client keeps an idle connection
        "VLLM_MEDIA_URL_ALLOW_REDIRECTS": "0",
        "VLLM_MAX_IMAGE_PIXELS": str(max_pixels),
        # one request takes one of our places, however many sequences it makes of it
        "VLLM_MAX_N_SEQUENCES": str(min(MOST_CHOICES, max_in_flight)),
        "VLLM_MAX_COMPLETION_PROMPTS": str(max_in_flight),
        "HF_HUB_OFFLINE": "1",
    }
    if grant.gpu_ids:
        mask = ",".join(str(i) for i in grant.gpu_ids)
        return common | {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": mask}
    return common | {
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",  # two OpenMP threads on two shared cores stall each other
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        # a function for logprobs is compiled at its first use, and a request waits 20 s for it
        "TORCH_COMPILE_DISABLE": "1",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    }


def text_config(path: str) -> dict[str, object]:
    """The language part of a checkpoint's config.json; empty when there is none."""
    try:
        config = json.loads((Path(path) / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(config, dict):
        return {}
    text = config.get("text_config", config)
    return text if isinstance(text, dict) else {}


def longest_context(path: str) -> int | None:
    """Tokens that a checkpoint can read at once; None when it does not say."""
    known = text_config(path).get("max_position_embeddings")
    return known if isinstance(known, int) else None


def legal_parallel_sizes(path: str, limit: int = 16) -> list[int]:
    """Over how many GPUs vLLM can spread this checkpoint: its attention heads must divide."""
    config = text_config(path)
    heads, groups = config.get("num_attention_heads"), config.get("num_key_value_heads")
    if not isinstance(heads, int):
        return [1]
    kv = groups if isinstance(groups, int) else heads
    return [n for n in range(1, limit + 1) if heads % n == 0 and (kv % n == 0 or n % kv == 0)]


class VllmModel(BaseModelWrapper):
    """Subclasses say what proves that the engine works."""

    proof_path: str
    """One of vLLM's routes, which every engine of this kind answers."""
    proof_body: ClassVar[dict[str, Any]]
    least_cache = 2 * GIB

    def legal_sizes(self) -> list[int]:
        path = self.files.path
        return legal_parallel_sizes(path) if path else [1]

    def own_share(self) -> float | None:
        """An operator's own --gpu-memory-utilization wins on the command line, so here too."""
        words = " ".join(self.spec.engine_args).replace("=", " ").split()
        own = [value for name, value in pairwise(words) if name == SHARE_FLAG]
        with contextlib.suppress(ValueError, IndexError):
            return float(own[-1])
        return None

    def engine_spec(self, index: int, grant: Grant) -> EngineSpec:
        path, stop_s = self.model_path, self.settings.engine_term_s
        longest = longest_context(path)

        def argv(address: Address) -> Sequence[str]:
            return command(Launch(self.spec, path, longest, grant, address, stop_s))

        pixels = self.settings.max_media_pixels
        return EngineSpec(
            f"{self.key}-{index}", argv, environment(grant, pixels, self.spec.max_in_flight)
        )

    async def prove(self, client: EngineClient, timeout_s: float) -> None:
        body = {"model": self.key, **self.proof_body}
        answer = await client.request(
            "POST",
            self.proof_path,
            headers=_JSON,
            body=json.dumps(body).encode(),
            head_timeout=timeout_s,
        )
        try:
            content = await answer.read(timeout=timeout_s)
            if answer.status != 200:
                raise EngineError(f"the engine answered {answer.status}: {content[:200]!r}")
        finally:
            answer.close()

    def parse_line(self, line: str) -> Progress | None:
        return parse_line(line)

    def cache_bytes(self, line: str) -> int | None:
        return cache_bytes(line)
