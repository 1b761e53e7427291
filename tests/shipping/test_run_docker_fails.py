"""run_docker.sh when something is missing or goes wrong: what it says, what it leaves behind."""

from __future__ import annotations

import os

import pytest

from tests.support.docker import Docker, options, run, succeed

pytestmark = pytest.mark.usefixtures("own_files")

NO_GPU = 'could not select device driver "" with capabilities: [[gpu]].'
NO_VENDOR = "failed to discover GPU vendor from CDI: no known GPU vendor found"
NO_DRIVER = "nvidia-container-cli: initialization error: nvml error: driver not loaded"
OLD_DRIVER = "nvidia-container-cli: requirement error: unsatisfied condition: cuda>=12.4"
TAKEN = "driver failed: Bind for 0.0.0.0:8000 failed: port is already allocated."


def failed(docker: Docker, **settings: str) -> str:
    code, output = run(docker, **settings)
    assert code == 1, output
    return output


def test_without_docker(docker: Docker) -> None:
    docker.without("docker")
    assert "docker is not installed" in failed(docker)


def test_without_an_engine(docker: Docker) -> None:
    docker.set("fail-info", "Cannot connect to the Docker daemon")
    assert "The Docker engine does not answer" in failed(docker)
    assert not docker.calls("run")


def test_without_an_image(docker: Docker) -> None:
    docker.set("fail-image", "No such image")
    output = failed(docker)
    assert "./build_docker.sh servertestllm:latest" in output
    assert "docker pull servertestllm:latest" in output
    assert not docker.calls("run")


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        (NO_GPU, "install nvidia-container-toolkit"),
        (NO_VENDOR, "install nvidia-container-toolkit"),
        (NO_DRIVER, "does nvidia-smi show them here?"),
        (OLD_DRIVER, "driver is too old for the image"),
        (TAKEN, "set HOST_PORT"),
    ],
)
def test_docker_run_fails(docker: Docker, said: str, hint: str) -> None:
    docker.set("fail-run", said)
    output = failed(docker)
    assert said in output
    assert hint in output
    assert docker.calls("rm")  # docker leaves what it made before it failed


@pytest.mark.parametrize("state", ["exited 0", "running 1", "restarting 3"])
def test_a_gateway_that_ends_at_once(docker: Docker, state: str) -> None:
    docker.set("unhealthy")
    docker.set("state", state)
    output = failed(docker)
    assert "The gateway did not start" in output
    assert "the last words of the gateway" in output
    # it is kept, to be looked at, but starts no more
    assert docker.calls("update")
    assert docker.calls("stop")
    assert not docker.calls("rm")


def test_a_gateway_that_never_answers(docker: Docker) -> None:
    docker.set("unhealthy")
    output = failed(docker, HEALTH_WAIT_S="0")
    assert "did not answer in 0 s" in output


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("DRAIN_S", value) for value in ("abc", "1e2", "-1", "1.", "9999999")],
        *[("HOST_PORT", value) for value in ("0", "99999", "http", "8000/tcp", "123456789012345")],
        *[("ENGINE_TERM_S", "x"), ("HEALTH_WAIT_S", "2m"), ("HEALTH_WAIT_S", "1.5")],
        *[("DRY_RUN", "maybe"), ("FOLLOW_CONTAINER_LOGS", "2")],
        *[("CONTAINER_NAME", value) for value in ("a b", "-a", "a/b", "a")],
        *[
            ("MODEL_CACHE_DIR", "${DATA}/m"),
            ("MODEL_CACHE_DIR", "~someone/m"),
            ("LOG_DIR", "~someone/l"),
        ],
        *[("MODEL_CACHE_DIR", "/srv/a:b"), ("LOG_DIR", "/srv/a:b"), ("SPOOL_DIR", "/srv/a:b")],
    ],
)
def test_a_wrong_value_is_named_before_anything_starts(
    docker: Docker, name: str, value: str
) -> None:
    output = failed(docker, **{name: value})
    assert output.startswith(f"{name}={value}")
    assert output.count("\n") == 1
    assert not docker.calls()


def test_a_home_that_is_not_set(docker: Docker) -> None:
    output = failed(docker, HOME="", MODEL_CACHE_DIR="~/models")
    assert "HOME: is not set: MODEL_CACHE_DIR=~/models needs it" in output
    assert run(docker, HOME="")[0] == 0


@pytest.mark.skipif(os.getuid() != 0, reason="root may read what the container's user may not")
@pytest.mark.parametrize("name", [".env", "key.pem"])
def test_a_file_that_the_container_could_not_read(docker: Docker, name: str) -> None:
    """Secrets are often root's alone; the gateway would stop with the reason, over and over."""
    secret = docker.work / name
    secret.touch(0o600)
    settings = {"SSL_KEYFILE": "key.pem"} if name == "key.pem" else {}
    output = failed(docker, **settings)
    cure = f"chgrp 1000 {secret} && sudo chmod g+r {secret}"
    assert f"  sudo {cure}\n" in output
    assert not docker.calls("run")
    os.chown(secret, 0, 1000)
    secret.chmod(0o640)
    succeed(docker, **settings)


@pytest.mark.skipif(os.getuid() != 0, reason="root may read what the container's user may not")
def test_an_access_list_is_believed(docker: Docker) -> None:
    secret = docker.work / ".env"
    secret.touch(0o600)
    docker.fake_command(
        "ls", f"#!/bin/sh\necho '-rw-r-----+ 1 root root 0 Nov 26 03:00 {secret}'\n"
    )
    succeed(docker)


def test_numbers_with_leading_zeros_are_decimal(docker: Docker) -> None:
    argv, _ = succeed(docker, DRAIN_S="08", ENGINE_TERM_S="09.5", HEALTH_WAIT_S="08")
    assert options(argv, "--stop-timeout") == ["37"]


def test_free_room_that_cannot_be_told_is_mentioned(docker: Docker) -> None:
    docker.fake_command("df", "#!/bin/sh\nexit 1\n")
    _, output = succeed(docker)
    assert "df does not tell how much is free" in output


def test_little_room_for_models_is_mentioned(docker: Docker) -> None:
    docker.free_disk(20)
    code, output = run(docker)
    assert code == 0
    assert "20 GB are free" in output
    (docker.work / "model_cache" / "models--Qwen--Qwen3").mkdir()
    assert "are free" not in run(docker)[1]
