"""Lines as vLLM prints them: the CPU ones from a run of 0.32.0, the GPU ones from both sources."""

from __future__ import annotations

import pytest

from backend.app.models.state import Phase, Progress
from backend.app.models.vllm_progress import parse_line

CORE = "(EngineCore pid=19084) INFO 11-23 18:27:05 "
WORKER = "(Worker_TP0 pid=34322) INFO 05-06 20:59:57 "
API = "(APIServer pid=18470) INFO 11-23 18:26:25 "


def bar(percent: int) -> str:
    return f"{percent:3d}%|{'█' * (percent // 10):10}|"


CPU_START = [
    (
        API + "[model.py:733] Resolved architecture: Qwen3VLMoeForConditionalGeneration",
        Phase.STARTING,
    ),
    (
        CORE + "[core.py:133] Initializing a V1 LLM engine (v0.32.0) with config: model='x'",
        Phase.STARTING,
    ),
    (CORE + "[cpu_model_runner.py:68] Starting to load model demo/models/qwen...", Phase.WEIGHTS),
    ("Loading safetensors checkpoint shards:   0% Completed | 0/4 [00:00<?, ?it/s]", Phase.WEIGHTS),
    (
        "Loading safetensors checkpoint shards: 100% Completed | 4/4 [00:00<00:00, 269.50it/s]",
        Phase.WEIGHTS,
    ),
    (CORE + "[default_loader.py:501] Loading weights took 0.02 seconds", Phase.WEIGHTS),
    (CORE + "[cpu_model_runner.py:87] Warming up model for the compilation...", Phase.COMPILING),
    (CORE + "[cpu_model_runner.py:91] Warming up done.", Phase.WARM_UP),
    (
        CORE + "[core.py:402] init engine (profile, create kv cache, warmup model) took 55.62 s",
        Phase.WARM_UP,
    ),
    (
        API + "[entry.py:140] Starting vLLM server on unix:/tmp/stllm-wi4zcdh5/api.sock",
        Phase.WARM_UP,
    ),
    ("INFO:     Application startup complete.", Phase.WARM_UP),
]

GPU_START = [
    (WORKER + "[gpu_model_runner.py:4736] Starting to load model Qwen/Qwen3-VL...", Phase.WEIGHTS),
    (
        "Loading safetensors checkpoint shards:  56% Completed | 5/9 [00:13<00:11,  2.87s/it]",
        Phase.WEIGHTS,
    ),
    (
        WORKER + "[gpu_model_runner.py:4879] Model loading took 12.66 GiB memory and 31.65 seconds",
        Phase.WEIGHTS,
    ),
    (WORKER + "[monitor.py:40] [backbone] Starting torch.compile", Phase.COMPILING),
    (
        WORKER + "[backends.py:1069] Using cache directory: /c/7b/rank_0_0/backbone for vLLM's"
        " torch.compile",
        Phase.COMPILING,
    ),
    (WORKER + "[backends.py:1128] Dynamo bytecode transform time: 3.54 s", Phase.COMPILING),
    (
        WORKER + "[backends.py:391] Compiling a graph for compile range (1, 8192) takes 9.12 s",
        Phase.COMPILING,
    ),
    (
        WORKER + "[backends.py:292] Directly load the compiled graph(s) for compile range (1, 8192)"
        " from the cache, took 5.684 s",
        Phase.COMPILING,
    ),
    (WORKER + "[monitor.py:53] torch.compile took 14.85 s in total", Phase.COMPILING),
    (
        f"Capturing CUDA graphs (mixed prefill-decode, PIECEWISE): {bar(39)} 20/51 [00:02<00:03]",
        Phase.COMPILING,
    ),
    (f"Capturing CUDA graphs (FULL): {bar(100)} 35/35 [00:05<00:00,  6.91it/s]", Phase.COMPILING),
    (
        WORKER + "[gpu_model_runner.py:6047] Graph capturing finished in 9 secs, took 0.84 GiB",
        Phase.WARM_UP,
    ),
    (
        CORE
        + "[core.py:284] init engine (profile, create kv cache, warmup model) took 48.1 seconds",
        Phase.WARM_UP,
    ),
]


@pytest.mark.parametrize(("line", "phase"), [*CPU_START, *GPU_START])
def test_each_step_of_a_start(line: str, phase: Phase) -> None:
    found = parse_line(line)
    assert found is not None
    assert found.phase is phase


@pytest.mark.parametrize("start", [CPU_START, GPU_START])
def test_phases_never_go_back(start: list[tuple[str, Phase]]) -> None:
    order = list(Phase)
    seen = [order.index(found.phase) for line, _ in start if (found := parse_line(line))]
    assert seen == sorted(seen)


@pytest.mark.parametrize(
    ("line", "done", "total", "percent"),
    [
        ("Loading safetensors checkpoint shards:  50% Completed | 2/4 [00:01<00:01]", 2, 4, 50),
        ("Loading pt checkpoint shards:   0% Completed | 0/3 [00:00<?, ?it/s]", 0, 3, 0),
        ("Multi-thread loading shards:  33% Completed | 1/3 [00:24<00:49]", 1, 3, 33.3),
        (f"Capturing CUDA graphs (decode, FULL): {bar(40)} 14/35 [00:02<00:03]", 14, 35, 40),
        (f"Capturing eagle CUDA graphs (FULL): {bar(10)} 1/10 [00:02<00:03]", 1, 10, 10),
    ],
)
def test_what_is_counted_has_a_percentage(
    line: str, done: float, total: float, percent: float
) -> None:
    found = parse_line(line)
    assert found is not None
    assert (found.done, found.total, found.percent) == (done, total, percent)


def test_what_is_not_counted_has_none() -> None:
    found = parse_line(CORE + "[default_loader.py:501] Loading weights took 0.02 seconds")
    assert found == Progress(Phase.WEIGHTS, "loaded")
    assert found.percent is None


@pytest.mark.parametrize(
    "line",
    [
        "",
        API + "[launcher.py:195] Route: /v1/chat/completions, Methods: POST",
        CORE + "[kv_cache_utils.py:2327] CPU KV cache size: 262,144 tokens",
        WORKER + "[gpu_model_runner.py:5966] Skipping CUDA graph capture. To turn on CUDA graph"
        " capture, ensure `cudagraph_mode` was not manually set to `NONE`",
        "INFO:     Waiting for application startup.",
        "INFO 11-23 18:28:05 loggers.py:257] Engine 000: Avg prompt throughput: 12.3 tokens/s",
    ],
)
def test_other_lines_are_no_progress(line: str) -> None:
    assert parse_line(line) is None
