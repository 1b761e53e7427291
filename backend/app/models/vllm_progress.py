"""What vLLM prints while it starts, read as progress.

The wording is that of vLLM 0.19.1 and 0.32.0, on CPU and GPU. A line that says nothing new, or is
worded differently in another version, is no progress: then the phase before stays on display.
"""

from __future__ import annotations

import re

from backend.app.models.state import Phase, Progress

_SHARDS = re.compile(r"[Ll]oading [^:]*: +\d+% Completed \| (\d+)/(\d+) \[")
"""`Loading safetensors checkpoint shards:  50% Completed | 2/4 [00:01<00:01,  1.25it/s]`"""

_GRAPHS = re.compile(r"Capturing [^:]*CUDA graphs[^:]*: +\d+%\|[^|]*\| (\d+)/(\d+) \[")
"""`Capturing CUDA graphs (decode, FULL):  40%|████      | 14/35 [00:02<00:03,  6.9it/s]`"""

_MESSAGES = (
    (
        Phase.STARTING,
        "API server",
        re.compile(r"vLLM (?:API )?server version|Resolved architecture: "),
    ),
    (Phase.STARTING, "engine", re.compile(r"Initializing a V1 LLM engine")),
    (Phase.WEIGHTS, "", re.compile(r"Starting to load model |Loading model from scratch")),
    (Phase.WEIGHTS, "loaded", re.compile(r"Loading weights took |Model loading took ")),
    (
        Phase.COMPILING,
        "kernels",
        re.compile(r"FlashInfer autotune with|JIT kernel warmup starting"),
    ),
    (Phase.COMPILING, "CUDA graphs", re.compile(r"Profiling CUDA graph memory|Capturing encoder ")),
    (
        Phase.COMPILING,
        "torch.compile",
        re.compile(
            r"Starting torch\.compile|for vLLM's torch\.compile|Dynamo bytecode transform time"
            r"|Cache the graph of compile range|Compiling a graph for compile range"
            r"|Directly load the compiled graph|Directly load AOT compilation"
            r"|torch\.compile took |[Cc]ompile and warming up model"
            r"|Warming up model for the compilation"
        ),
    ),
    (Phase.WARM_UP, "", re.compile(r"Graph capturing finished|Warming up done\.|\binit engine \(")),
    (
        Phase.WARM_UP,
        "API server",
        re.compile(r"Starting vLLM server on|Application startup complete"),
    ),
)


_CACHE = re.compile(r"Available KV cache memory: ([\d.]+) GiB")
"""`Available KV cache memory: 61.37 GiB`, once for all GPUs of an engine, each having as much."""


def cache_bytes(line: str) -> int | None:
    """How much of each GPU vLLM keeps for its cache, where the line says so."""
    match = _CACHE.search(line)
    return int(float(match[1]) * 1024**3) if match else None


def parse_line(line: str) -> Progress | None:
    """The progress that one line of vLLM's output reports, or None."""
    if match := _SHARDS.search(line):
        return _counted(Phase.WEIGHTS, "shards", match)
    if match := _GRAPHS.search(line):
        return _counted(Phase.COMPILING, "CUDA graphs", match)
    for phase, detail, pattern in _MESSAGES:
        if pattern.search(line):
            return Progress(phase, detail)
    return None


def _counted(phase: Phase, detail: str, match: re.Match[str]) -> Progress:
    return Progress(phase, detail, done=float(match[1]), total=float(match[2]))
