"""The scripts that build and run the container, on a fake docker that writes down its calls."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
FAKE = ROOT / "tests" / "fakes" / "bin" / "docker"
SECRET = "hf_0123456789abcdefghij"
HIDDEN = {"docker", "nvidia-smi", "podman"}
"""Commands of this machine that would make a test mean something else."""


class Call(NamedTuple):
    argv: list[str]
    env: dict[str, str]


class Docker:
    """A PATH with a fake docker on it, and whatever other commands a test fakes.

    Every file in `files` is read by the fake docker, see there.
    """

    def __init__(self, directory: Path) -> None:
        self.files = directory / "docker"
        self.home = directory / "home"
        self.work = directory / "work"
        self.commands = directory / "bin"
        self.system = directory / "system"
        for made in (self.files, self.home, self.work, self.commands, self.system):
            made.mkdir()
        for place in ("/usr/bin", "/bin"):
            for command in os.scandir(place):
                link = self.system / command.name
                if command.name not in HIDDEN and not link.is_symlink():
                    link.symlink_to(command.path)
        self.fake_command("docker", FAKE.read_text())
        self.free_disk(500)

    def fake_command(self, name: str, script: str) -> None:
        path = self.commands / name
        path.write_text(script)
        path.chmod(0o755)

    def free_disk(self, gigabytes: int) -> None:
        line = f"/dev/x 900G {900 - gigabytes}G {gigabytes}G 50% /"
        self.fake_command("df", f"#!/bin/sh\necho Filesystem Used Available\necho {line}\n")

    def set(self, name: str, text: str = "yes") -> None:
        (self.files / name).write_text(text)

    def script(
        self, name: str, *arguments: str, **settings: str
    ) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": f"{self.commands}:{self.system}",
            "HOME": str(self.home),
            "FAKE_DOCKER": str(self.files),
        }
        return subprocess.run(
            [str(ROOT / name), *arguments],
            cwd=self.work,
            env=environment | settings,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def without(self, command: str) -> None:
        (self.commands / command).unlink()

    def calls(self, verb: str = "") -> list[Call]:
        path = self.files / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        found = [Call(**json.loads(line)) for line in lines]
        return [call for call in found if call.argv[0] == verb or not verb]

    def forget(self) -> None:
        (self.files / "calls").unlink(missing_ok=True)


def run(docker: Docker, *arguments: str, **settings: str) -> tuple[int, str]:
    """run_docker.sh: its status and everything it printed."""
    done = docker.script("run_docker.sh", *arguments, **settings)
    return done.returncode, done.stdout + done.stderr


def started(docker: Docker) -> Call:
    """The one `docker run`."""
    calls = docker.calls("run")
    assert len(calls) == 1
    return calls[0]


def succeed(docker: Docker, *arguments: str, **settings: str) -> tuple[list[str], str]:
    """The arguments of `docker run`, and what run_docker.sh printed."""
    code, output = run(docker, *arguments, **settings)
    assert code == 0, output
    return started(docker).argv, output


def options(argv: list[str], name: str) -> list[str]:
    """The values of an option that may be given several times."""
    return [after for option, after in itertools.pairwise(argv) if option == name]


def checkout(directory: Path) -> Path:
    """What build_docker.sh reads, in a directory without git."""
    script = ("build_docker.sh", "tools/setup/docker_script")
    for name in (*script, "Dockerfile", "backend/app/__init__.py"):
        target = directory / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target)
    (directory / "requirements").mkdir()
    for stack in ("12", "13"):
        (directory / "requirements" / f"cuda{stack}.txt").touch()
    return directory


def git(directory: Path, *arguments: str) -> None:
    identity: dict[str, Any] = {
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@example.com",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@example.com",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "PATH": os.environ["PATH"],
    }
    subprocess.run(["git", *arguments], cwd=directory, env=identity, check=True)
