from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic_settings import BaseSettings

from backend.app import config
from backend.app.config import (
    CanarySettings,
    ConfigError,
    ModelSettings,
    PyannoteSettings,
    QwenSettings,
    Settings,
    is_explicit,
    load_settings,
)
from backend.app.directories import usable_cache_dir


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable of ours and no `.env` but what a test puts there."""
    groups: dict[str, type[BaseSettings]] = {
        "": config.Settings,
        "QWEN_": config.QwenSettings,
        "CANARY_": config.CanarySettings,
        "PYANNOTE_": config.PyannoteSettings,
    }
    for prefix, group in groups.items():
        for field in group.model_fields:
            monkeypatch.delenv(prefix + field.upper(), raising=False)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.chdir(tmp_path)


def secrets(settings: Settings) -> list[str]:
    return [key.get_secret_value() for key in settings.openai_api_keys]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a,b", ["a", "b"]),
        ("a, b", ["a", "b"]),
        (" a ,, b , ", ["a", "b"]),
        ('["a","b"]', ["a", "b"]),
        ("name:key", ["name:key"]),
        ("12345", ["12345"]),
        ("[]", []),
        ("null", []),
        ("None", []),
        ("", []),
        ("  ", []),
    ],
)
def test_every_way_to_write_a_list(
    monkeypatch: pytest.MonkeyPatch, text: str, wanted: list[str]
) -> None:
    monkeypatch.setenv("OPENAI_API_KEYS", text)
    monkeypatch.setenv("CORS_ORIGINS", text)
    settings = load_settings()
    assert secrets(settings) == wanted
    assert list(settings.cors_origins) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("1", (1,)), ("0,2", (0, 2)), ("0, 2", (0, 2)), ("[1,2]", (1, 2)), ("", ()), ("null", ())],
)
def test_every_way_to_write_device_ids(
    monkeypatch: pytest.MonkeyPatch, text: str, wanted: tuple[int, ...]
) -> None:
    monkeypatch.setenv("QWEN_GPU_IDS", text)
    assert load_settings().qwen.gpu_ids == wanted


def test_without_anything_set_the_defaults_of_the_operations_guide_hold() -> None:
    settings = load_settings()
    assert (settings.api_host, settings.api_port) == ("0.0.0.0", 8000)
    assert settings.huggingface_token is None
    assert settings.model_cache_dir == Path("/models")
    assert settings.openai_api_keys == ()
    assert settings.lazy_load_models is True
    assert settings.frontend_dist == Path("/app/frontend")
    assert settings.log_level == "info"


def test_a_blank_value_means_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = load_settings()
    for group, prefix in ((Settings, ""), (config.QwenSettings, "QWEN_")):
        for field in group.model_fields:
            monkeypatch.setenv(prefix + field.upper(), "")
    settings = load_settings()
    assert settings.model_dump() == defaults.model_dump()
    assert settings.qwen.model_dump() == defaults.qwen.model_dump()
    assert settings.model_fields_set == set()


def test_a_blank_variable_hides_what_dotenv_says(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("OPENAI_API_KEYS=from-file\nAPI_PORT=9000\n")
    monkeypatch.setenv("OPENAI_API_KEYS", "")
    settings = load_settings()
    assert secrets(settings) == []
    assert settings.api_port == 9000


def test_the_environment_wins_over_dotenv_for_every_group(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("API_PORT=9000\nLOG_LEVEL=debug\nQWEN_REPLICAS=2\nCANARY_REPLICAS=3\n")
    monkeypatch.setenv("API_PORT", "9001")
    monkeypatch.setenv("QWEN_REPLICAS", "4")
    settings = load_settings()
    assert (settings.api_port, settings.log_level) == (9001, "debug")
    assert (settings.qwen.replicas, settings.canary.replicas) == (4, 3)
    assert settings.pyannote.replicas == 1


def test_what_was_loaded_does_not_change_with_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("QWEN_GPU_IDS", "1")
    settings = load_settings()
    monkeypatch.setenv("QWEN_GPU_IDS", "7")
    assert settings.qwen.gpu_ids == (1,)


def test_each_model_reads_its_own_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for number, key in enumerate(("QWEN", "CANARY", "PYANNOTE")):
        monkeypatch.setenv(f"{key}_MODEL", f"org/{key.lower()}")
        monkeypatch.setenv(f"{key}_IDLE_UNLOAD_S", str(number))
        monkeypatch.setenv(f"{key}_ENGINE_ARGS", "--x 'a b'")
        monkeypatch.setenv(f"{key}_PYTHON", "~/python")
        monkeypatch.setenv(f"{key}_ALIASES", "one, two")
    settings = load_settings()
    parts: list[ModelSettings] = [settings.qwen, settings.canary, settings.pyannote]
    for number, part in enumerate(parts):
        assert part.model == "org/" + ("qwen", "canary", "pyannote")[number]
        assert part.idle_unload_s == number
        assert part.engine_args == "--x 'a b'"
        assert part.python == Path.home() / "python"
        assert part.aliases == ("one", "two")


def test_the_hub_token_has_two_names_and_ours_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    def token() -> str | None:
        value = load_settings().huggingface_token
        return value.get_secret_value() if value else None

    assert token() is None
    monkeypatch.setenv("HF_TOKEN", "hf_theirs")
    assert token() == "hf_theirs"
    monkeypatch.setenv("HUGGINGFACE_TOKEN", "hf_ours")
    assert token() == "hf_ours"
    for text in ("", "null"):
        monkeypatch.delenv("HF_TOKEN", raising=False)
        monkeypatch.setenv("HUGGINGFACE_TOKEN", text)
        assert token() is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("API_PORT", "eight"),
        ("API_PORT", "70000"),
        ("LAZY_LOAD_MODELS", "perhaps"),
        ("LOG_LEVEL", "loud"),
        ("LOG_FORMAT", "xml"),
        ("ADMIN_AUTH", "maybe"),
        ("MODEL_SET", "some"),
        ("MAX_BODY_MB", "0"),
        ("DRAIN_S", "-1"),
        ("DRAIN_S", "inf"),
        ("LOAD_WAIT_S", "nan"),
        ("REQUEST_IDLE_S", "1e300"),
        ("MAX_AUDIO_S", "inf"),
        ("QWEN_IDLE_UNLOAD_S", "nan"),
        ("CORS_ORIGINS", "[a"),
        ("QWEN_GPU_IDS", "-1"),
        ("QWEN_GPU_IDS", "a"),
        ("QWEN_MAX_MODEL_LEN", "5"),
        ("CANARY_REPLICAS", "0"),
        ("PYANNOTE_MAX_IN_FLIGHT", "x"),
    ],
)
def test_a_wrong_value_names_the_variable_and_itself(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=rf"{name}=.*{value.lstrip('[')}"):
        load_settings()


def test_all_wrong_values_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("API_PORT", "LOG_LEVEL", "QWEN_REPLICAS", "CANARY_REPLICAS", "PYANNOTE_REPLICAS")
    for name in names:
        monkeypatch.setenv(name, "?")
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert all(f"  {name}='?': " in str(caught.value) for name in names)


@pytest.mark.parametrize(
    ("text", "count"), [("1", 1), (" 64 ", 64), ("auto", "auto"), ("AUTO", "auto")]
)
def test_replicas_are_a_number_or_auto(
    monkeypatch: pytest.MonkeyPatch, text: str, count: object
) -> None:
    monkeypatch.setenv("QWEN_REPLICAS", text)
    monkeypatch.setenv("QWEN_PIN", "true")
    assert load_settings().qwen.replicas == count
    assert load_settings().qwen.pin


@pytest.mark.parametrize("text", ["0", "65", "-1", "1.5", "many", "[1]"])
def test_any_other_number_of_replicas_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("QWEN_REPLICAS", text)
    with pytest.raises(ConfigError) as refused:
        load_settings()
    assert str(refused.value).count("QWEN_REPLICAS") == 1
    assert "write a number from 1 to 64, or auto" in str(refused.value)


@pytest.mark.parametrize("name", ["OPENAI_API_KEYS", "ADMIN_API_KEYS"])
def test_a_complaint_never_shows_a_key(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for text in ("[sk-hidden", '["sk-hidden", null]', '["sk-hidden", {"a": "sk-hidden"}]'):
        monkeypatch.setenv(name, text)
        with pytest.raises(ConfigError, match=name) as caught:
            load_settings()
        assert "sk-hidden" not in str(caught.value)


@pytest.mark.parametrize("level", ["INFO", "Debug", " warning "])
def test_a_log_level_may_be_written_in_capitals(
    monkeypatch: pytest.MonkeyPatch, level: str
) -> None:
    monkeypatch.setenv("LOG_LEVEL", level)
    assert load_settings().log_level == level.strip().lower()


def test_home_is_understood_in_dotenv() -> None:
    Path(".env").write_text("MODEL_CACHE_DIR=~/models\nLOG_DIR='~/logs'\n")
    settings = load_settings()
    assert settings.model_cache_dir == Path.home() / "models"
    assert settings.log_dir == Path.home() / "logs"


def test_a_dotenv_that_cannot_be_parsed_names_its_lines() -> None:
    Path(".env").write_text("API_PORT=9000\nthis is 'not a setting\nLOG_LEVEL=debug\nX='open\n")
    with pytest.raises(ConfigError, match=r"\.env: .*line 2, 4"):
        load_settings()


def test_a_dotenv_of_bytes_is_a_clear_error() -> None:
    Path(".env").write_bytes(b"API_PORT=9000\xff\n")
    with pytest.raises(ConfigError, match=r"\.env cannot be read"):
        load_settings()


def test_a_dotenv_that_is_a_directory_is_a_clear_error() -> None:
    Path(".env").mkdir()
    with pytest.raises(ConfigError, match=r"\.env is a directory"):
        load_settings()


def test_no_number_of_seconds_may_be_infinite() -> None:
    groups = (Settings, QwenSettings, CanarySettings, PyannoteSettings)
    numbers = [f for group in groups for f in group.model_fields.values() if f.annotation is float]
    assert len(numbers) > 20
    assert all("allow_inf_nan=False" in repr(field.metadata) for field in numbers)


def test_a_good_dotenv_may_hold_comments_blank_lines_and_strange_variables() -> None:
    Path(".env").write_text(
        "# ours\n\nexport API_PORT=9000 # the door\nUNKNOWN=x\nLOG_FORMAT='json'\n"
    )
    settings = load_settings()
    assert (settings.api_port, settings.log_format) == (9000, "json")


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("localhost", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
    ],
)
def test_which_hosts_are_loopback(host: str, loopback: bool) -> None:
    assert Settings(api_host=host).loopback is loopback


def test_settings_are_frozen_and_explicit_ones_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_DIR", "/var/log/servertestllm")
    settings = load_settings()
    assert is_explicit(settings, "log_dir")
    assert not is_explicit(settings, "model_cache_dir")
    with pytest.raises(ValueError, match="frozen"):
        settings.api_port = 1


def test_children_inherit_the_environment_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in config.SCRUBBED:
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("LANG", "fr_FR.UTF-8")
    child = config.child_environment()
    assert "secret" not in child.values()
    assert child["LANG"] == "fr_FR.UTF-8"


def test_user_directories_follow_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert config.user_dir("state") == tmp_path / "servertestllm"
    monkeypatch.delenv("XDG_STATE_HOME")
    assert config.user_dir("state") == Path.home() / ".local/state/servertestllm"
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "gone"))
    assert config.runtime_base(99) == Path("/tmp")
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    with monkeypatch.context() as everywhere:  # whatever directory there may be by chance
        everywhere.setattr(os, "access", lambda path, mode: True)
        assert config.runtime_base(99) == Path("/tmp")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    room = len(os.fsencode(tmp_path))
    assert config.runtime_base(room) == tmp_path
    assert config.runtime_base(room - 1) == Path("/tmp")


def test_a_cache_of_another_user_is_refused_with_the_cure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MODEL_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may always
    with pytest.raises(ConfigError) as told:
        usable_cache_dir(load_settings())
    assert f"\n  chown -R {os.geteuid()}:{os.getegid()} {tmp_path}" in str(told.value)


def test_a_cache_that_is_no_directory_is_not_a_matter_of_rights(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MODEL_CACHE_DIR", str(tmp_path / "file"))
    with pytest.raises(ConfigError, match="File exists") as told:
        usable_cache_dir(load_settings())
    assert "chown" not in str(told.value)
