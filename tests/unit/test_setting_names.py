"""Variables that were meant for us are told, and those of others are left alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from backend.app import config, setting_names
from backend.app.setting_names import known, strangers


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(setting_names, "environment_names", list)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("QWEN_MAX_INFLIGHT", "QWEN_MAX_IN_FLIGHT"),
        ("QWEN_GPUS", "QWEN_GPU_IDS"),
        ("PYANNOTE_MODEL_ID", "PYANNOTE_MODEL"),
        ("API_PROT", "API_PORT"),
        ("MAX_BODY_MIB", "MAX_BODY_MB"),
        ("ADMIN_API_KEY", "ADMIN_API_KEYS"),
        ("MODEL_CACHE", "MODEL_CACHE_DIR"),
        ("ENGINE_STALLS", "ENGINE_STALL_S"),
    ],
)
def test_a_mistyped_name_is_told_with_the_one_that_was_meant(
    monkeypatch: pytest.MonkeyPatch, name: str, meant: str
) -> None:
    monkeypatch.setattr(setting_names, "environment_names", lambda: [name])
    (found,) = strangers()
    assert found == (name, False, meant)
    assert str(found) == f"{name} is no setting and has no effect; did you mean {meant}?"


def test_variables_of_others_are_not_ours_to_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    others = ["PATH", "HOME", "LANG", "API_KEY", "API_URL", "API_TOKEN", "API_BASE", "LOG_FILE"]
    others += ["OPENAI_API_KEY", "OPENAI_BASE_URL", "HF_HOME", "HF_ENDPOINT", "LOG_PATH"]
    others += ["HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_HUB_TOKEN", "SSL_CERT_FILE", "SSL_CERT_DIR"]
    others += ["MODEL_NAME", "MODEL_DIR", "MODEL_PATH", "CLIENT_ID", "MAX_WORKERS", "ENGINE_NAME"]
    others += ["CANARY_WEIGHT", "ADMIN_PASSWORD", "CUDA_VISIBLE_DEVICES", "XDG_RUNTIME_DIR"]
    monkeypatch.setattr(setting_names, "environment_names", lambda: others)
    assert strangers() == []


def test_whatever_stands_in_dotenv_is_meant_for_us() -> None:
    Path(".env").write_text("API_PORT=1\nhf_token=x\nCUDA_VISIBLE_DEVICES=0\nAPI_PROT=2\n")
    assert [str(each) for each in strangers()] == [
        "CUDA_VISIBLE_DEVICES in .env is no setting and has no effect",
        "API_PROT in .env is no setting and has no effect; did you mean API_PORT?",
    ]


def test_every_setting_is_known() -> None:
    Path(".env").write_text("".join(f"{name}=1\n" for name in known()))
    assert strangers() == []
    fields = config.Settings.model_fields
    assert {"API_PORT", "HF_TOKEN", "HUGGINGFACE_TOKEN", "QWEN_MODEL"} <= set(known())
    assert len(known()) > len(fields)
