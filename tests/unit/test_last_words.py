"""What an engine says before it ends is its reason; other lines are none."""

from __future__ import annotations

import pytest

from backend.app.models.last_words import LONGEST, reason_in

CORE = "(EngineCore_DP0 pid=42) "


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (
            "Loading failed: RuntimeError: --device cuda, but torch sees no GPU here",
            "RuntimeError: --device cuda, but torch sees no GPU here",
        ),
        (
            CORE + "ValueError: No available memory for the cache blocks. Try increasing"
            " `gpu_memory_utilization` when initializing the engine.",
            "ValueError: No available memory for the cache blocks. Try increasing"
            " `gpu_memory_utilization` when initializing the engine.",
        ),
        (
            CORE + "ERROR 11-26 04:16:35 [core.py:866] torch.OutOfMemoryError: CUDA out of memory.",
            "torch.OutOfMemoryError: CUDA out of memory.",
        ),
        (
            "  Value error, User-specified max_model_len (2000000) is greater than the derived"
            " max_model_len. [type=value_error, input_value=ArgsKwargs((), {}), input_type=A]",
            "Value error, User-specified max_model_len (2000000) is greater than the derived"
            " max_model_len.",
        ),
        (
            "api_server.py: error: unrecognized arguments: --no-such-flag",
            "unrecognized arguments: --no-such-flag",
        ),
    ],
)
def test_reasons(line: str, reason: str) -> None:
    assert reason_in(line) == reason


@pytest.mark.parametrize(
    "line",
    [
        "",
        "Traceback (most recent call last):",
        '  File "/x/vllm/engine/arg_utils.py", line 2240, in create_engine_config',
        "    raise ValueError: this is source",
        "(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above.",
        "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig",
        "    For further information visit https://errors.pydantic.dev/2.14/v/value_error",
        "WARNING 11-26 04:12:18 [interface.py:221] Failed to import from vllm._C with ImportError",
        CORE + "INFO 11-26 04:12:18 [core.py:77] Initializing a V1 LLM engine",
    ],
)
def test_other_lines_are_none(line: str) -> None:
    assert reason_in(line) is None


def test_a_long_reason_is_cut() -> None:
    said = reason_in("RuntimeError: " + "x" * 10_000)
    assert said is not None
    assert len(said) == LONGEST
