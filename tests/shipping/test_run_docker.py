"""run_docker.sh, on a fake docker: the guide's variables, what leaks in and what must not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.docker import SECRET, Docker, options, run, started, succeed

ADDRESSES = """#!/bin/sh
echo '2: eth0    inet 10.1.2.3/24 brd 10.1.2.255 scope global eth0'
echo '3: docker0    inet 172.17.0.1/16 brd 172.17.255.255 scope global docker0'
echo '4: br-0123456789ab    inet 172.18.0.1/16 scope global br-0123456789ab'
"""
pytestmark = pytest.mark.usefixtures("own_files")
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")


def test_the_defaults(docker: Docker) -> None:
    argv, output = succeed(docker)
    assert argv[-1] == "servertestllm:latest"
    assert options(argv, "--gpus") == ["all"]
    assert options(argv, "--publish") == ["8000:8000"]
    assert options(argv, "--name") == ["servertestllm"]
    assert options(argv, "--shm-size") == ["16g"]
    assert options(argv, "--restart") == ["unless-stopped"]
    assert {"--init", "--detach"} <= set(argv)
    assert options(argv, "-v") == [
        f"{docker.work}/model_cache:/models",
        f"{docker.work}/logs:/var/log/servertestllm",
    ]
    assert "http://localhost:8000" in output
    assert "docker logs servertestllm" in output


def test_the_ready_curl_is_for_the_status(docker: Docker) -> None:
    _, output = succeed(docker, HOST_PORT="9000")
    assert (
        'curl -H "Authorization: Bearer $(docker exec servertestllm python -m backend.app'
        ' admin-key)" http://localhost:9000/api/admin/status' in output
    )


def test_host_port_and_bind_address(docker: Docker) -> None:
    argv, output = succeed(docker, HOST_PORT="9000", HOST_BIND_ADDRESS="127.0.0.1")
    assert options(argv, "--publish") == ["127.0.0.1:9000:8000"]
    assert "API_PORT=8000" in options(argv, "-e")
    assert "  http://127.0.0.1:9000\n" in output
    assert "localhost" not in output


def test_an_ipv6_bind_address_is_bracketed(docker: Docker) -> None:
    argv, output = succeed(docker, HOST_BIND_ADDRESS="::1")
    assert options(argv, "--publish") == ["[::1]:8000:8000"]
    assert "http://[::1]:8000" in output


def test_the_link_to_the_dashboard_has_this_hosts_address(docker: Docker) -> None:
    _, output = succeed(docker, HOST_PORT="9000", CONTAINER_NAME="second")
    link = "http://localhost:9000/#key=$(docker exec second python -m backend.app admin-key)"
    assert f'  echo "{link}"\n' in output


@pytest.mark.parametrize("given", ["", " ", " , "])
def test_no_advertised_hosts(docker: Docker, given: str) -> None:
    _, output = succeed(docker, ADVERTISED_HOSTS=given)
    assert "  http://localhost:8000\n" in output


@pytest.mark.parametrize("given", ["gpu.example.com, 10.0.0.5", "gpu.example.com 10.0.0.5,"])
def test_advertised_hosts(docker: Docker, given: str) -> None:
    docker.fake_command("ip", ADDRESSES)
    _, output = succeed(docker, ADVERTISED_HOSTS=given)
    assert "  http://gpu.example.com:8000\n  http://10.0.0.5:8000\n" in output
    assert "10.1.2.3" not in output
    assert "http://gpu.example.com:8000/api/admin/status" in output


def test_dockers_own_addresses_are_left_out(docker: Docker) -> None:
    docker.fake_command("ip", ADDRESSES)
    _, output = succeed(docker)
    assert "  http://localhost:8000\n  http://10.1.2.3:8000\n" in output
    assert "172." not in output


def test_without_ip_the_host_is_asked(docker: Docker) -> None:
    (docker.system / "ip").unlink(missing_ok=True)
    docker.fake_command("hostname", "#!/bin/sh\necho '10.1.2.3 172.17.0.1 fd00::1 '\n")
    _, output = succeed(docker)
    assert "  http://localhost:8000\n  http://10.1.2.3:8000\n" in output
    assert "172." not in output
    assert "fd00" not in output


@needs_root
@pytest.mark.parametrize("owner", [1000, 4321])
def test_it_runs_as_the_owner_of_the_models(docker: Docker, tmp_path: Path, owner: int) -> None:
    for name in ("cache", "log"):
        (tmp_path / name).mkdir()
        os.chown(tmp_path / name, owner, owner)
    argv, _ = succeed(docker, MODEL_CACHE_DIR=f"{tmp_path}/cache", LOG_DIR=f"{tmp_path}/log")
    assert options(argv, "--user") == [f"{owner}:{owner}"]
    assert f"{tmp_path}/cache:/models" in options(argv, "-v")
    told = options(argv, "-e")
    assert {"MODEL_CACHE_DIR=/models", "LOG_DIR=/var/log/servertestllm"} <= set(told)
    assert not {"MODEL_CACHE_DIR", "LOG_DIR"} & set(told)


@needs_root
def test_directories_that_are_missing_are_made_for_an_ordinary_user(
    docker: Docker, tmp_path: Path
) -> None:
    argv, _ = succeed(docker, MODEL_CACHE_DIR=f"{tmp_path}/new/m", LOG_DIR=f"{tmp_path}/new/l")
    assert options(argv, "--user") == ["1000:1000"]
    assert (tmp_path / "new/m").stat().st_uid == 1000
    assert (tmp_path / "new/l").stat().st_uid == 1000


@needs_root
def test_a_log_directory_that_is_missing_is_made_for_the_owner_of_the_models(
    docker: Docker,
) -> None:
    os.chown(docker.work / "model_cache", 1500, 1501)
    (docker.work / "logs").rmdir()
    argv, _ = succeed(docker)
    assert options(argv, "--user") == ["1500:1501"]
    made = (docker.work / "logs").stat()
    assert (made.st_uid, made.st_gid) == (1500, 1501)


@needs_root
def test_models_of_root_are_refused_with_the_cure(docker: Docker) -> None:
    models = docker.work / "model_cache"
    os.chown(models, 0, 0)
    code, output = run(docker)
    assert code == 1
    assert f"sudo chown -R 1000:1000 {models}\n" in output
    assert not docker.calls("run")
    (models / "etc").mkdir()
    code, output = run(docker)
    assert code == 1
    assert "chown" not in output, "it is more than the models'"
    assert f"{models}/etc" in output
    os.chown(docker.work / "logs", 0, 0)
    argv, _ = succeed(docker, CONTAINER_USER="0:0")
    assert options(argv, "--user") == ["0:0"]


@needs_root
def test_logs_of_another_are_refused_with_the_cure(docker: Docker) -> None:
    os.chown(docker.work / "logs", 4321, 4321)
    code, output = run(docker)
    assert code == 1
    assert f"sudo chown -R 1000:1000 {docker.work}/logs\n" in output
    (docker.work / "logs").chmod(0o777)
    succeed(docker)


def test_a_second_one_beside_it(docker: Docker) -> None:
    succeed(docker)
    docker.forget()
    argv, output = succeed(docker, CONTAINER_NAME="preproduction", HOST_PORT="8001")
    assert options(argv, "--name") == ["preproduction"]
    logs = f"{docker.work}/logs-preproduction"
    assert f"{logs}:/var/log/servertestllm" in options(argv, "-v")  # not into the first one's
    assert "http://localhost:8001" in output
    assert not docker.calls("stop")
    assert not docker.calls("rm")


def test_it_replaces_its_own_old_one_gently(docker: Docker) -> None:
    succeed(docker)
    docker.forget()
    _, output = succeed(docker)
    assert "Replacing the container servertestllm" in output
    verbs = [call.argv[0] for call in docker.calls()]
    assert verbs.index("stop") < verbs.index("rm") < verbs.index("run")


def test_a_container_of_someone_else_is_left_alone(docker: Docker) -> None:
    docker.set("container-servertestllm", "")
    code, output = run(docker)
    assert code == 1
    assert "CONTAINER_NAME" in output
    assert not docker.calls("rm")


def test_the_stop_timeout_holds_the_drain(docker: Docker) -> None:
    argv, _ = succeed(docker, DRAIN_S="120", ENGINE_TERM_S="15.5")
    assert options(argv, "--stop-timeout") == ["155"]
    assert started(docker).env["DRAIN_S"] == "120"
    docker.forget()
    argv, _ = succeed(docker)
    assert options(argv, "--stop-timeout") == ["60"]
    assert started(docker).env["DRAIN_S"] == "30"


def test_options_of_docker_go_behind_two_dashes(docker: Docker) -> None:
    argv, _ = succeed(docker, "mine:1", "--", "--memory", "64g")
    assert argv[-3:] == ["--memory", "64g", "mine:1"]
    docker.forget()
    argv, _ = succeed(docker, "--", "--cpus", "8")
    assert argv[-3:] == ["--cpus", "8", "servertestllm:latest"]


@pytest.mark.parametrize("arguments", [("mine:1", "--memory", "1g"), ("--memory", "1g")])
def test_options_elsewhere_are_refused(docker: Docker, arguments: tuple[str, ...]) -> None:
    code, output = run(docker, *arguments)
    assert code == 1
    assert "-- --memory" in output
    assert not docker.calls()


def test_following_the_logs(docker: Docker) -> None:
    _, output = succeed(docker)
    assert not docker.calls("logs")
    _, output = run(docker, FOLLOW_CONTAINER_LOGS="1")
    assert docker.calls()[-1].argv == ["logs", "--follow", "servertestllm"]
    assert output.rstrip().endswith("the last words of the gateway")


@pytest.mark.parametrize("yes", ["1", "true", "yes", "on"])
def test_dry_run_touches_nothing(docker: Docker, tmp_path: Path, yes: str) -> None:
    code, output = run(
        docker, DRY_RUN=yes, HUGGINGFACE_TOKEN=SECRET, MODEL_CACHE_DIR=f"{tmp_path}/new"
    )
    assert code == 0
    assert output.startswith("docker run --detach --name servertestllm ")
    assert SECRET not in output
    assert not docker.calls()
    assert not (tmp_path / "new").exists()


def test_help(docker: Docker) -> None:
    code, output = run(docker, "--help")
    assert code == 0
    assert "HOST_PORT (8000)" in output
    assert "set -e" not in output


def test_gpus_may_be_shared_out(docker: Docker) -> None:
    argv, _ = succeed(docker, GPUS='"device=0,1"')
    assert options(argv, "--gpus") == ['"device=0,1"']
    docker.forget()
    argv, _ = succeed(docker, GPUS="none")
    assert "--gpus" not in argv
