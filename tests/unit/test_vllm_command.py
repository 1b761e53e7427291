"""vLLM's command line and environment, as VllmModel builds them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from backend.app.config import QwenSettings, child_environment
from backend.app.engines.launcher import Address
from backend.app.models.placement import Grant
from backend.app.models.spec import Kind, ModelSpec, build_spec
from backend.app.models.vllm import (
    CPU_CONTEXT,
    CPU_SEQUENCES,
    GPU_CONTEXT,
    Launch,
    command,
    environment,
    legal_parallel_sizes,
    longest_context,
)

CPU = Grant((), 0.0)
TWO_GPUS = Grant((2, 5), 0.85)
SOCKET = Address(socket="/run/x/api.sock")
PIXELS = 1000


def spec(**own: object) -> ModelSpec:
    settings = QwenSettings.model_validate({"model": "Qwen/Qwen3-VL-30B-A3B-Instruct"} | own)
    return build_spec("qwen", Kind.CHAT, settings, demo_set=False)


def build(
    grant: Grant = CPU, address: Address = SOCKET, path: Path = Path("/m"), **own: object
) -> list[str]:
    return command(Launch(spec(**own), str(path), None, grant, address, stop_s=10.0))


def value(argv: list[str], flag: str) -> str:
    assert argv.count(flag) == 1, f"{flag} in {argv}"
    return argv[argv.index(flag) + 1]


def checkpoint(path: Path, **text: int) -> Path:
    (path / "config.json").write_text(json.dumps({"text_config": text}))
    return path


def test_the_server_is_started_as_a_module_on_the_socket() -> None:
    argv = build(python="/bin/false")
    assert argv[:3] == ["/bin/false", "-m", "vllm.entrypoints.openai.api_server"]
    assert value(argv, "--model") == "/m"
    assert value(argv, "--uds") == SOCKET.socket
    assert "--host" not in argv


def test_an_engine_elsewhere_listens_on_host_and_port() -> None:
    argv = build(address=Address(host="10.0.0.7", port=9000, token="t"))
    assert (value(argv, "--host"), value(argv, "--port")) == ("10.0.0.7", "9000")
    assert "--uds" not in argv


def test_every_name_is_served_and_media_are_not_fetched() -> None:
    argv = build(aliases="gpt-4o,house-model")
    names = argv[argv.index("--served-model-name") + 1 :][:4]
    assert names == ["qwen", "Qwen/Qwen3-VL-30B-A3B-Instruct", "gpt-4o", "house-model"]
    assert value(argv, "--allowed-media-domains").endswith(".invalid")
    assert value(argv, "--tool-call-parser") == "hermes"
    assert "--enable-auto-tool-choice" in argv
    assert "--trust-remote-code" not in argv
    assert value(argv, "--shutdown-timeout") == "5"  # within ENGINE_TERM_S


def test_an_embedding_model_is_pooled_and_calls_no_tools() -> None:
    launch = Launch(replace(spec(), kind=Kind.EMBEDDING), "/m", None, CPU, SOCKET, stop_s=10.0)
    argv = command(launch)
    assert value(argv, "--runner") == "pooling"
    assert not [word for word in argv if "tool" in word]
    assert "--runner" not in build()


def test_on_gpus_the_grant_decides() -> None:
    argv = build(TWO_GPUS)
    assert value(argv, "--tensor-parallel-size") == "2"
    assert value(argv, "--gpu-memory-utilization") == "0.85"
    assert value(argv, "--max-num-seqs") == "64"
    assert value(argv, "--max-model-len") == str(GPU_CONTEXT)
    assert not {"--enforce-eager", "--kv-cache-memory-bytes"} & set(argv)


def test_without_gpus_memory_and_batch_stay_small() -> None:
    argv = build(CPU)
    assert value(argv, "--kv-cache-memory-bytes") == "256M"
    assert value(argv, "--max-num-seqs") == str(CPU_SEQUENCES)
    assert value(argv, "--max-model-len") == str(CPU_CONTEXT)
    assert value(argv, "--distributed-executor-backend") == "uni"
    assert not {"--tensor-parallel-size", "--gpu-memory-utilization"} & set(argv)
    assert value(build(CPU, max_in_flight=3), "--max-num-seqs") == "3"


@pytest.mark.parametrize(
    ("wanted", "known", "expected"),
    [(None, None, 32768), (None, 4096, 4096), (8192, 4096, 4096), (512, 4096, 512), (9, None, 9)],
)
def test_context_length_is_what_is_wanted_but_never_more_than_the_model_knows(
    tmp_path: Path, wanted: int | None, known: int | None, expected: int
) -> None:
    path = str(
        checkpoint(tmp_path, **({} if known is None else {"max_position_embeddings": known}))
    )
    own, longest = replace(spec(), max_model_len=wanted), longest_context(path)
    launch = Launch(own, path, longest, TWO_GPUS, SOCKET, stop_s=10.0)
    assert value(command(launch), "--max-model-len") == str(expected)


@pytest.mark.parametrize("grant", [CPU, TWO_GPUS])
def test_the_operators_own_arguments_come_last(grant: Grant) -> None:
    own = "--max-model-len 777 --limit-mm-per-prompt '{\"image\": 2}'"
    argv = build(grant, engine_args=own)
    assert argv[-4:] == ["--max-model-len", "777", "--limit-mm-per-prompt", '{"image": 2}']
    assert argv[:-4] == build(grant)


def test_a_gpu_engine_sees_its_own_gpus_only() -> None:
    env = environment(TWO_GPUS, PIXELS, 64)
    assert env["CUDA_VISIBLE_DEVICES"] == "2,5"
    assert env["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert not any(name.startswith(("OMP_", "VLLM_CPU")) for name in env)


def test_a_cpu_engine_sees_no_gpu() -> None:
    env = environment(CPU, PIXELS, 64)
    assert env["CUDA_VISIBLE_DEVICES"] == ""
    assert env["OMP_NUM_THREADS"] == "1"


@pytest.mark.parametrize("grant", [CPU, TWO_GPUS])
def test_no_engine_reports_home_fetches_or_loads_foreign_plugins(grant: Grant) -> None:
    env = environment(grant, PIXELS, 64)
    assert env["VLLM_PLUGINS"] == ""
    assert env["VLLM_NO_USAGE_STATS"] == env["DO_NOT_TRACK"] == env["HF_HUB_OFFLINE"] == "1"
    assert env["VLLM_MEDIA_URL_ALLOW_REDIRECTS"] == "0"
    assert env["VLLM_MAX_IMAGE_PIXELS"] == str(PIXELS)


def test_secrets_reach_no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = ("OPENAI_API_KEYS", "ADMIN_API_KEYS", "HUGGINGFACE_TOKEN", "HF_TOKEN")
    for name in secrets:
        monkeypatch.setenv(name, "s3cret")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/kept")
    inherited = child_environment() | environment(TWO_GPUS, PIXELS, 64)
    assert "s3cret" not in inherited.values()
    assert inherited["LD_LIBRARY_PATH"] == "/kept"
    assert "s3cret" not in " ".join(build(TWO_GPUS))


@pytest.mark.parametrize(
    ("heads", "groups", "legal"),
    [(32, 4, [1, 2, 4, 8, 16]), (64, 8, [1, 2, 4, 8, 16]), (28, 4, [1, 2, 4]), (6, 3, [1, 3, 6])],
)
def test_attention_heads_say_over_how_many_gpus_it_spreads(
    tmp_path: Path, heads: int, groups: int, legal: list[int]
) -> None:
    path = checkpoint(tmp_path, num_attention_heads=heads, num_key_value_heads=groups)
    assert legal_parallel_sizes(str(path)) == legal


@pytest.mark.parametrize("content", ["", "[]", '{"text_config": 3}', "{}", "\xff"])
def test_a_config_that_says_nothing_means_one_gpu(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content, encoding="latin-1")
    assert legal_parallel_sizes(str(tmp_path)) == [1]
    assert legal_parallel_sizes(str(tmp_path / "missing")) == [1]


def test_one_request_cannot_fill_the_batch_that_all_share() -> None:
    assert environment(CPU, PIXELS, 64)["VLLM_MAX_N_SEQUENCES"] == "16"
    assert environment(CPU, PIXELS, 4)["VLLM_MAX_N_SEQUENCES"] == "4"
    assert environment(CPU, PIXELS, 64)["VLLM_MAX_COMPLETION_PROMPTS"] == "64"
