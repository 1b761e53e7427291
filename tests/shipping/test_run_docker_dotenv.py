"""run_docker.sh beside a `.env`: what the gateway will read there counts for the container too."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.docker import SECRET, Docker, options, run, started, succeed

pytestmark = pytest.mark.usefixtures("own_files")


def write(docker: Docker, text: str) -> None:
    (docker.work / ".env").write_text(text)


def test_it_is_mounted(docker: Docker) -> None:
    write(docker, "LOG_LEVEL=debug\n")
    argv, _ = succeed(docker)
    assert f"{docker.work}/.env:/app/.env:ro" in options(argv, "-v")
    assert "LOG_LEVEL" not in options(argv, "-e")


@pytest.mark.parametrize(
    "text",
    [
        "DRAIN_S=120\nENGINE_TERM_S=15\nMODEL_SET=demo\n",
        "export drain_s = '120'  # long\r\nENGINE_TERM_S=\"15\"\r\nMODEL_SET=demo # small\r\n",
        "DRAIN_S=1\nENGINE_TERM_S=1\nMODEL_SET=real\nDRAIN_S=120\nENGINE_TERM_S=15\nMODEL_SET=demo",
    ],
)
def test_it_beats_the_images_own_values(docker: Docker, text: str) -> None:
    write(docker, text)
    argv, _ = succeed(docker)
    told = {name: started(docker).env[name] for name in ("DRAIN_S", "ENGINE_TERM_S", "MODEL_SET")}
    assert told == {"DRAIN_S": "120", "ENGINE_TERM_S": "15", "MODEL_SET": "demo"}
    assert options(argv, "--stop-timeout") == ["155"]


def test_the_environment_beats_it(docker: Docker) -> None:
    write(docker, "DRAIN_S=120\nENGINE_TERM_S=15\n")
    argv, _ = succeed(docker, DRAIN_S="60", ENGINE_TERM_S="")
    assert options(argv, "--stop-timeout") == ["90"]  # blank is the default


def test_what_is_no_assignment_does_not_count(docker: Docker) -> None:
    write(docker, "# DRAIN_S=120\nMY_DRAIN_S=120\nDRAIN_SLOW=120\n")
    argv, _ = succeed(docker)
    assert options(argv, "--stop-timeout") == ["60"]


def test_a_drain_that_is_no_number(docker: Docker) -> None:
    write(docker, "DRAIN_S=soon\n")
    code, output = run(docker)
    assert (code, output) == (1, "DRAIN_S=soon is not a number of seconds, such as 30 or 2.5.\n")
    assert not docker.calls()


def test_its_files_are_mounted_and_it_speaks_https(docker: Docker) -> None:
    for name in ("cert.pem", "key.pem", "models.toml"):
        (docker.work / name).touch()
    (docker.work / "qwen").mkdir()
    write(
        docker,
        f"SSL_CERTFILE={docker.work}/cert.pem\nSSL_KEYFILE=key.pem\nMODELS_FILE=models.toml\n"
        "QWEN_MODEL=./qwen\nCANARY_MODEL=nvidia/canary-1b-v2\n",
    )
    argv, output = succeed(docker)
    mounted = options(argv, "-v")
    for name in ("cert.pem", "key.pem", "models.toml", "qwen"):
        assert f"{docker.work}/{name}:{docker.work}/{name}:ro" in mounted
    told = started(docker).env
    # by its whole name: the gateway in the container has another working directory
    assert told["SSL_KEYFILE"] == f"{docker.work}/key.pem"
    assert "https://localhost:8000/api/admin/status" in output
    assert "CANARY_MODEL" not in options(argv, "-e")


def test_directories_of_the_host(docker: Docker, tmp_path: Path) -> None:
    for name in ("m", "l"):
        (tmp_path / name).mkdir()
        if os.getuid() == 0:
            os.chown(tmp_path / name, 1000, 1000)
    write(docker, f"MODEL_CACHE_DIR={tmp_path}/m\nLOG_DIR={tmp_path}/l\n")
    argv, _ = succeed(docker)
    mounted = options(argv, "-v")
    assert {f"{tmp_path}/m:/models", f"{tmp_path}/l:/var/log/servertestllm"} <= set(mounted)


def test_keys_in_it_change_the_curl_and_are_not_shown(docker: Docker) -> None:
    write(docker, f"ADMIN_API_KEYS='{SECRET}'\n")
    _, output = succeed(docker)
    assert 'curl -H "Authorization: Bearer $ADMIN_KEY" http' in output
    assert "admin-key" not in output
    assert SECRET not in output
    assert not any(SECRET in argument for call in docker.calls() for argument in call.argv)


def test_an_open_door_needs_no_key(docker: Docker) -> None:
    write(docker, "ADMIN_AUTH=off\n")
    _, output = succeed(docker)
    assert "  curl http://localhost:8000/api/admin/status" in output
    assert "#key=" not in output
