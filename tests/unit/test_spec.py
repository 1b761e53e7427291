"""What a model is: where its files come from and under which names it is served."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from backend.app.config import (
    REAL_MODELS,
    CanarySettings,
    ConfigError,
    ModelSettings,
    QwenSettings,
    Settings,
)
from backend.app.models.configured import build_specs
from backend.app.models.spec import Kind, ModelSpec, build_spec, check_names, demo_path


def qwen(demo_set: bool = False, **own: object) -> ModelSpec:
    return build_spec("qwen", Kind.CHAT, QwenSettings.model_validate(own), demo_set)


def test_the_model_set_chooses_the_source() -> None:
    real, demo = qwen(), qwen(demo_set=True)
    assert (real.source, real.local, real.demo) == (REAL_MODELS["qwen"], False, False)
    assert (demo.source, demo.local, demo.demo) == (str(demo_path("qwen")), True, True)


@pytest.mark.parametrize("demo_set", [False, True])
def test_what_the_user_names_wins_over_the_set(tmp_path: Path, demo_set: bool) -> None:
    hub = qwen(demo_set, model="Qwen/Qwen3-VL-8B-Instruct", revision="abc")
    assert (hub.source, hub.local, hub.demo) == ("Qwen/Qwen3-VL-8B-Instruct", False, False)
    assert hub.revision == "abc"
    local = qwen(demo_set, model=str(tmp_path))
    assert (local.source, local.local, local.demo) == (str(tmp_path), True, False)


def test_a_demo_model_named_by_its_path_is_still_one() -> None:
    assert qwen(model=str(demo_path("qwen"))).demo


def test_paths_are_understood_as_a_shell_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "org" / "name").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    expected = str(tmp_path / "org" / "name")
    for written in ("~/org/name", "./org/name", "org/name", expected):
        assert qwen(model=written).source == expected


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("/no/such/path", "QWEN_MODEL=/no/such/path: there is no such path"),
        ("./nothing", "there is no such path"),
        ("just-a-name", "write a Hub repository as owner/name"),
        ("a/b/c", "or a path that begins with"),
        ("org/x--y", r"QWEN_MODEL=org/x--y: .* without -- or \.\."),
        ("org/..", "owner/name"),
        ("org/a b", "owner/name"),
        ("org/" + "x" * 97, "owner/name"),
    ],
)
def test_a_source_that_cannot_be_is_named(name: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        qwen(model=name)


@pytest.mark.parametrize("name", ["/main", "../../x", "a/../b", ".", "a\\b", "a\0b", "x" * 256])
def test_a_revision_that_cannot_be_is_named(name: str) -> None:
    with pytest.raises(ConfigError, match=r"QWEN_REVISION=.*write a commit, a tag or a branch"):
        qwen(model="org/name", revision=name)


@pytest.mark.parametrize("name", ["main", "v1.0", "refs/pr/7", "feature/x", "a" * 40])
def test_what_may_be_a_revision_is_one(name: str) -> None:
    assert qwen(model="org/name", revision=name).revision == name


def test_gpus_that_replicas_cannot_share_are_no_setting() -> None:
    with pytest.raises(ConfigError, match=r"QWEN_GPU_IDS=0,1,2: 3 GPUs .* 2 replicas"):
        qwen(gpu_ids=[0, 1, 2], replicas=2)
    with pytest.raises(ConfigError, match="QWEN_GPU_IDS=0,0: the same GPU is named twice"):
        qwen(gpu_ids=[0, 0])
    assert qwen(gpu_ids=[0, 1, 2], replicas="auto").gpu_ids == (0, 1, 2)


def test_names_key_first_then_repository_then_aliases_each_once() -> None:
    spec = qwen(model="Qwen/Other", aliases="gpt-4o,qwen,Qwen/Other,house")
    assert spec.names == ("qwen", "Qwen/Other", "gpt-4o", "house")


def test_a_local_path_is_no_name(tmp_path: Path) -> None:
    assert qwen(model=str(tmp_path)).names == ("qwen",)


def test_canary_answers_to_the_names_clients_hard_code_unless_told_otherwise() -> None:
    def names(**own: object) -> tuple[str, ...]:
        settings = CanarySettings.model_validate(own)
        return build_spec("canary", Kind.ASR, settings, demo_set=True).names

    assert "whisper-1" in names()
    assert names(aliases="mine") == ("canary", "mine")


def test_engine_arguments_are_split_as_by_a_shell() -> None:
    spec = qwen(engine_args="--a 'b c' --d=\"e f\"")
    assert spec.engine_args == ("--a", "b c", "--d=e f")
    with pytest.raises(ValidationError, match="it cannot be split"):
        qwen(engine_args="--a 'b")


def test_an_engine_runs_in_our_python_unless_another_is_named() -> None:
    assert qwen().python == sys.executable
    assert qwen(python="/bin/false").python == "/bin/false"
    with pytest.raises(ConfigError, match="QWEN_PYTHON=/no/python: there is no such program"):
        qwen(python="/no/python")


def test_only_chat_has_a_context_length() -> None:
    assert qwen(max_model_len=4096).max_model_len == 4096
    other = build_spec("canary", Kind.ASR, ModelSettings(), demo_set=True)
    assert other.max_model_len is None


def test_every_model_is_configured_by_its_own_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where no .env lies
    monkeypatch.setenv("QWEN_ALIASES", "gpt-4o")
    monkeypatch.setenv("QWEN_REPLICAS", "2")
    specs = {spec.key: spec for spec in build_specs(Settings(), demo_set=True)}
    assert specs["qwen"].names == ("qwen", "gpt-4o")
    assert specs["qwen"].replicas == 2


def test_a_name_that_two_models_claim_is_refused() -> None:
    canary = CanarySettings.model_validate({"aliases": "speech,qwen"})
    specs = [qwen(), build_spec("canary", Kind.ASR, canary, demo_set=True)]
    with pytest.raises(ConfigError, match=r"CANARY_ALIASES=.*'qwen' is claimed .* qwen and canary"):
        check_names(specs)
    check_names(specs[:1])


@pytest.mark.parametrize("names", [(), ("en", "xx"), ("english",)])
def test_candidates_that_nobody_speaks_are_no_setting(names: tuple[str, ...]) -> None:
    own = CanarySettings.model_validate({"languages": names})
    with pytest.raises(ConfigError, match=r"^CANARY_LANGUAGES="):
        build_spec("canary", Kind.ASR, own, demo_set=True)
