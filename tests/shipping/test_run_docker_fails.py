"""run_docker.sh when something is missing or goes wrong: what it says, what it leaves behind."""

from __future__ import annotations

import pytest

from tests.support.docker import Docker, options, run, succeed

pytestmark = pytest.mark.usefixtures("own_files")

NO_GPU = 'could not select device driver "" with capabilities: [[gpu]].'
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
    assert "./build_docker.sh servertestllm:latest" in failed(docker)
    assert not docker.calls("run")


@pytest.mark.parametrize(
    ("said", "hint"), [(NO_GPU, "nvidia-container-toolkit"), (TAKEN, "set HOST_PORT")]
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
