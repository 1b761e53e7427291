"""What run_docker.sh passes into the container: names on the command line, never values."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from backend.app.setting_names import known
from tests.support.docker import ROOT, SECRET, Docker, options, run, started, succeed

pytestmark = pytest.mark.usefixtures("own_files")

HOSTS_OWN = {"MODEL_CACHE_DIR", "LOG_DIR", "API_HOST", "API_PORT", "FRONTEND_DIST"}
PATHS = {"SSL_CERTFILE", "SSL_KEYFILE", "SPOOL_DIR", "MODELS_FILE"}


ALWAYS = {"DRAIN_S", "ENGINE_TERM_S", "MODEL_SET"}
"""Told in any case: the image sets them itself."""
MODELS = ("QWEN_", "CANARY_", "PYANNOTE_")


def _settings() -> list[str]:
    return [name for name in known() if name not in HOSTS_OWN and not name.endswith("_PYTHON")]


def test_every_setting_is_passed_by_name(docker: Docker) -> None:
    given = {name: f"value-of-{name}" for name in _settings() if name not in PATHS | {"DRAIN_S"}}
    given |= {"ENGINE_TERM_S": "11", "HF_ENDPOINT": "value-of-hub", "https_proxy": "value-of-proxy"}
    argv, _ = succeed(docker, **given)
    passed = options(argv, "-e")
    forgotten = sorted(given.keys() - set(passed))
    assert forgotten == [], "add them to `settings` in run_docker.sh"
    assert not any("value-of-" in argument for argument in argv)
    call = started(docker)
    assert {name: call.env[name] for name in given} == given


def test_the_script_lists_the_settings_and_nothing_else() -> None:
    script = (ROOT / "run_docker.sh").read_text()
    listed = set(script.partition("\nsettings='\n")[2].partition("'\n")[0].split())
    others = {name for name in listed if name.lower().endswith("_proxy")} | {"TZ", "HF_ENDPOINT"}
    ours = {name for name in _settings() if not name.startswith(MODELS)} - ALWAYS
    assert listed - others == ours | {f"{model}MODEL" for model in MODELS}


def test_what_is_no_setting_stays_outside(docker: Docker) -> None:
    names = ("HEALTH_WAIT_S", "AWS_SECRET_S", "VAULT_MB", "LOG_TOKEN", "MAX_SECRET", "BATCH_KEY")
    argv, _ = succeed(docker, **dict.fromkeys(names, "1"))
    assert not set(names) & set(options(argv, "-e"))


def test_a_mistyped_setting_of_a_model_goes_in(docker: Docker) -> None:
    """The gateway says that it is none; here it would be lost in silence."""
    argv, _ = succeed(docker, QWEN_GPUS="0")
    assert "QWEN_GPUS" in options(argv, "-e")


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
    assert "QWEN_PYTHON=" in passed  # nor does one from .env, which the gateway reads, count
    assert not {
        *("API_HOST", "API_PORT", "FRONTEND_DIST", "QWEN_PYTHON"),
        *("CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH", "HF_HOME", "SOME_PASSWORD", "PATH", "HOME"),
    } & set(passed)


@pytest.mark.parametrize("name", sorted(PATHS | {"QWEN_MODEL"}))
def test_files_of_the_host_are_mounted_where_they_are(docker: Docker, name: str) -> None:
    thing = docker.work / "a thing"
    thing.mkdir()
    if os.getuid() == 0:
        os.chown(thing, 1000, 1000)
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
