"""What run_docker.sh passes into the container: names on the command line, never values."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from backend.app.config import CanarySettings, PyannoteSettings, QwenSettings, Settings
from tests.support.docker import SECRET, Docker, options, run, started, succeed

pytestmark = pytest.mark.usefixtures("own_files")

HOSTS_OWN = {"MODEL_CACHE_DIR", "LOG_DIR", "API_HOST", "API_PORT", "FRONTEND_DIST"}
PATHS = {"SSL_CERTFILE", "SSL_KEYFILE", "SPOOL_DIR", "MODELS_FILE"}


def _settings() -> list[str]:
    names = [name.upper() for name in Settings.model_fields]
    for prefix, fields in (
        ("QWEN", QwenSettings.model_fields),
        ("CANARY", CanarySettings.model_fields),
        ("PYANNOTE", PyannoteSettings.model_fields),
    ):
        names += [f"{prefix}_{name.upper()}" for name in fields if name != "python"]
    return [name for name in names if name not in HOSTS_OWN]


def test_every_setting_is_passed_by_name(docker: Docker) -> None:
    given = {name: f"value-of-{name}" for name in _settings() if name not in PATHS | {"DRAIN_S"}}
    given |= {"ENGINE_TERM_S": "10", "HF_ENDPOINT": "value-of-hub", "https_proxy": "value-of-proxy"}
    argv, _ = succeed(docker, **given)
    passed = options(argv, "-e")
    forgotten = sorted(given.keys() - set(passed))
    assert forgotten == [], "add them to `settings` in run_docker.sh"
    assert not any("value-of-" in argument for argument in argv)
    call = started(docker)
    assert {name: call.env[name] for name in given} == given


def test_no_secret_is_on_a_command_line_nor_printed(docker: Docker) -> None:
    names = ("HUGGINGFACE_TOKEN", "HF_TOKEN", "OPENAI_API_KEYS", "ADMIN_API_KEYS")
    _, output = succeed(docker, **dict.fromkeys(names, SECRET))
    assert SECRET not in output
    for call in docker.calls():
        assert not any(SECRET in argument for argument in call.argv)
    assert started(docker).env["HUGGINGFACE_TOKEN"] == SECRET


def test_what_describes_the_host_stays_outside(docker: Docker) -> None:
    argv, _ = succeed(
        docker,
        API_HOST="127.0.0.1",
        API_PORT="9999",
        FRONTEND_DIST="/home/me/dist",
        QWEN_PYTHON="/home/me/python",
        CUDA_VISIBLE_DEVICES="3",
        LD_LIBRARY_PATH="/opt/x",
        HF_HOME="/home/me/hub",
        SOME_PASSWORD="x",
    )
    passed = options(argv, "-e")
    assert "API_HOST=0.0.0.0" in passed
    assert "API_PORT=8000" in passed
    assert not {
        *("API_HOST", "API_PORT", "FRONTEND_DIST", "QWEN_PYTHON"),
        *("CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH", "HF_HOME", "SOME_PASSWORD", "PATH", "HOME"),
    } & set(passed)


@pytest.mark.parametrize("name", sorted(PATHS | {"QWEN_MODEL"}))
def test_files_of_the_host_are_mounted_where_they_are(docker: Docker, name: str) -> None:
    thing = docker.work / "a thing"
    thing.mkdir()
    argv, _ = succeed(docker, **{name: "./a thing"} if name == "QWEN_MODEL" else {name: str(thing)})
    mode = "" if name == "SPOOL_DIR" else ":ro"
    assert f"{thing}:{thing}{mode}" in options(argv, "-v")
    assert started(docker).env[name] == str(thing)


def test_a_path_that_is_missing_is_said(docker: Docker) -> None:
    code, output = run(docker, QWEN_MODEL="~/qwen")
    assert code == 1
    assert "QWEN_MODEL=~/qwen does not exist" in output


def test_a_repository_is_no_path(docker: Docker) -> None:
    argv, _ = succeed(docker, QWEN_MODEL="Qwen/Qwen3-VL-8B-Instruct")
    assert "QWEN_MODEL" in options(argv, "-e")
    assert not any("Qwen" in mount for mount in options(argv, "-v"))


def test_dotenv_is_mounted(docker: Docker) -> None:
    (docker.work / ".env").write_text("LOG_LEVEL=debug\n")
    argv, _ = succeed(docker)
    assert f"{docker.work}/.env:/app/.env:ro" in options(argv, "-v")


def test_keys_that_were_given_and_an_open_door_change_the_curl(docker: Docker) -> None:
    _, output = succeed(docker, ADMIN_API_KEYS=SECRET)
    assert 'curl -H "Authorization: Bearer $ADMIN_KEY" http' in output
    _, output = run(docker, ADMIN_AUTH="off")
    assert "  curl http://localhost:8000/api/admin/status" in output


def test_https(docker: Docker, tmp_path: Path) -> None:
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).touch()
    _, output = succeed(
        docker, SSL_CERTFILE=f"{tmp_path}/cert.pem", SSL_KEYFILE=f"{tmp_path}/key.pem"
    )
    assert "https://localhost:8000" in output


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")
def test_a_directory_whose_name_has_blanks(docker: Docker) -> None:
    models = docker.work / "my models"
    models.mkdir()
    os.chown(models, 1000, 1000)
    argv, _ = succeed(docker, MODEL_CACHE_DIR="my models")
    assert f"{models}:/models" in options(argv, "-v")
