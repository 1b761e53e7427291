"""build_docker.sh, on a fake docker."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.docker import Docker, checkout, git, options

DRIVER = "#!/bin/sh\necho {}\n"


@pytest.fixture
def build(docker: Docker) -> Docker:
    checkout(docker.work)
    return docker


def run(docker: Docker, *arguments: str, **settings: str) -> tuple[int, str]:
    # the script in the checkout, so that it builds there
    done = docker.script(str(docker.work / "build_docker.sh"), *arguments, **settings)
    return done.returncode, done.stdout + done.stderr


def built(docker: Docker) -> list[str]:
    """The arguments of the one build."""
    builds = [c.argv for c in docker.calls() if "--tag" in c.argv]
    assert len(builds) == 1
    return builds[0]


def test_cuda_12_unless_asked(build: Docker) -> None:
    build.fake_command("nvidia-smi", DRIVER.format("580.65.06"))
    code, output = run(build)
    assert code == 0, output
    assert "CUDA_STACK=12" in options(built(build), "--build-arg")
    assert "Hint: driver 580.65.06" in output
    assert "CUDA_STACK=13" in output


@pytest.mark.parametrize("driver", ["550.54.15", "570.1", ""])
def test_no_hint_for_an_older_driver(build: Docker, driver: str) -> None:
    build.fake_command("nvidia-smi", DRIVER.format(driver))
    code, output = run(build, "mine:1")
    assert code == 0, output
    assert "Hint" not in output
    assert options(built(build), "--tag") == ["mine:1"]


def test_cuda_13_when_asked(build: Docker) -> None:
    build.fake_command("nvidia-smi", DRIVER.format("580.65.06"))
    code, output = run(build, CUDA_STACK="13", NODE_VERSION="22")
    assert code == 0, output
    assert {"CUDA_STACK=13", "NODE_VERSION=22"} <= set(options(built(build), "--build-arg"))
    assert "Hint" not in output
    # beside what CUDA_STACK=12 makes
    tags = options(built(build), "--tag")
    assert tags == ["servertestllm:0.1.0-unknown-cuda13", "servertestllm:latest-cuda13"]
    build.forget()
    assert run(build, "mine:1", CUDA_STACK="13")[0] == 0
    assert options(built(build), "--tag") == ["mine:1"]


@pytest.mark.parametrize("stack", ["11", "12.overrides", "012", " 13", "12 13"])
def test_an_unknown_stack(build: Docker, stack: str) -> None:
    code, output = run(build, CUDA_STACK=stack)
    assert code == 1
    assert "Use 12 or 13" in output
    assert not build.calls()


def test_the_classic_builder_pulls_one_cuda_image(build: Docker) -> None:
    code, output = run(build)
    assert code == 0, output
    arguments = options(built(build), "--build-arg")
    dockerfile = (build.work / "Dockerfile").read_text()
    wanted = next(a for a in arguments if a.startswith("CUDA13_IMAGE="))
    assert f"ARG CUDA12_IMAGE={wanted.partition('=')[2]}\n" in dockerfile
    assert build.calls("build")[0].env["DOCKER_BUILDKIT"] == "0"


def test_buildx_with_the_engines_own_builder_needs_no_cache(build: Docker) -> None:
    build.set("buildx", "docker")
    code, output = run(build)
    assert code == 0, output
    argv = built(build)
    assert argv[:2] == ["buildx", "build"]
    assert "--load" in argv
    assert not options(argv, "--cache-to")


def test_buildx_in_a_container_keeps_layers_here(build: Docker) -> None:
    build.set("buildx", "docker-container")
    code, output = run(build, BUILD_CACHE_DIR="layers")
    assert code == 0, output
    argv = built(build)
    assert options(argv, "--cache-to") == ["type=local,dest=layers,mode=max"]
    assert not options(argv, "--cache-from")  # there is none yet, which would be an error
    build.forget()
    (build.work / "layers").mkdir()
    assert run(build, BUILD_CACHE_DIR="layers")[0] == 0
    assert options(built(build), "--cache-from") == ["type=local,src=layers"]


def test_the_version_comes_from_git(build: Docker) -> None:
    run(build)
    assert "VERSION=0.1.0-unknown" in options(built(build), "--build-arg")
    git(build.work, "init", "-q")
    git(build.work, "add", ".")
    git(build.work, "commit", "-q", "-m", "first")
    git(build.work, "tag", "v1.2.3")
    build.forget()
    run(build)
    assert "VERSION=1.2.3" in options(built(build), "--build-arg")
    assert options(built(build), "--tag") == ["servertestllm:1.2.3", "servertestllm:latest"]
    (build.work / "Dockerfile").write_text("changed")
    build.forget()
    run(build)
    assert "VERSION=1.2.3-dirty" in options(built(build), "--build-arg")


def test_everything_printed_is_in_the_log(build: Docker, tmp_path: Path) -> None:
    build.set("fail-build", "step 4: write error: No space left on device")
    code, output = run(build, BUILD_LOG=str(tmp_path / "logs" / "build.log"))
    assert code == 1
    assert "ran out of disk" in output
    assert "step 4" in (tmp_path / "logs" / "build.log").read_text()


def test_a_failed_build_names_its_log(build: Docker) -> None:
    build.set("fail-build", "npm ERR!")
    code, output = run(build)
    assert code == 1
    assert "build/docker-build.log" in output


def test_without_docker(build: Docker) -> None:
    build.without("docker")
    code, output = run(build)
    assert code == 1
    assert "docker is not installed" in output


def test_without_an_engine(build: Docker) -> None:
    build.set("fail-info", "permission denied while trying to connect to the docker API")
    code, output = run(build)
    assert code == 1
    assert "permission denied" in output
    assert "group docker" in output


def test_too_little_disk(build: Docker) -> None:
    build.free_disk(11)
    code, output = run(build)
    assert code == 1
    assert "11 GB are free in /" in output
    assert not build.calls("build")
    assert run(build, MIN_FREE_GB="10")[0] == 0


@pytest.mark.parametrize("given", ["abc", "1.5", "-1", "60G"])
def test_a_limit_that_is_no_number(build: Docker, given: str) -> None:
    code, output = run(build, MIN_FREE_GB=given)
    assert (code, output) == (1, f"MIN_FREE_GB={given} is not a whole number from 0 to 999999.\n")
    assert not build.calls()


def test_free_disk_that_cannot_be_told_is_mentioned(build: Docker) -> None:
    build.fake_command("df", "#!/bin/sh\nexit 1\n")
    code, output = run(build)
    assert code == 0
    assert "df does not tell how much is free in /" in output


@pytest.mark.parametrize("yes", ["1", "true", "yes", "on"])
def test_dry_run_builds_nothing(build: Docker, yes: str) -> None:
    code, output = run(build, DRY_RUN=yes)
    assert code == 0
    assert output.startswith("docker build ")
    assert not build.calls("build")


def test_a_proxy_is_passed_on_without_its_password(build: Docker) -> None:
    code, output = run(build, HTTPS_PROXY="http://me:secret@proxy:3128", no_proxy="")
    assert code == 0, output
    assert "HTTPS_PROXY" in options(built(build), "--build-arg")
    assert "no_proxy" not in options(built(build), "--build-arg")
    assert not any("secret" in argument for call in build.calls() for argument in call.argv)
    assert "secret" not in output


def test_from_another_directory_and_by_another_name(build: Docker, tmp_path: Path) -> None:
    link = tmp_path / "elsewhere"
    link.symlink_to(build.work / "build_docker.sh")
    for command in ((str(link),), ("/usr/bin/env", "-C", "..", "work/build_docker.sh")):
        assert "CUDA_STACK=13" in build.script(*command, "--help").stdout
        assert build.script(*command, "mine:1").returncode == 0
    assert [options(call.argv, "--tag") for call in build.calls("build")] == [["mine:1"]] * 2
    assert (build.work / "build/docker-build.log").is_file()


def test_help_and_mistakes(build: Docker) -> None:
    code, output = run(build, "--help")
    assert code == 0
    assert "CUDA_STACK=13" in output
    assert "set -e" not in output
    assert run(build, "--push")[0] == 1
    assert not build.calls()
