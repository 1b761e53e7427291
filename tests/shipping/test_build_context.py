"""What the real docker client sends to the builder, by our .dockerignore."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.docker import ROOT
from tests.support.docker_engine import Engine, engine


def _classic_client() -> bool:
    """Docker's client without buildx, which would talk to the engine in a language of its own."""
    if not shutil.which("docker"):
        return False
    asked = ["docker", "buildx", "version"]
    return subprocess.run(asked, capture_output=True, timeout=60, check=False).returncode != 0


pytestmark = pytest.mark.skipif(not _classic_client(), reason="needs docker's classic client")
LEFT_BEHIND = (".env", "backend/.env.local", "frontend/dist/old.js", "models/secret.bin")


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """The tracked files, with things beside them that must not go in, built by the real script."""
    checkout = tmp_path_factory.mktemp("checkout")
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, timeout=30
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, checkout / name)
    for name in LEFT_BEHIND:
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text("HUGGINGFACE_TOKEN=hf_secret")
    with tempfile.TemporaryDirectory(prefix="de-") as name, engine(Path(name)) as (server, host):
        done = subprocess.run(
            [str(checkout / "build_docker.sh"), "mine:1"],
            env={"PATH": os.environ["PATH"], "HOME": name, "DOCKER_HOST": host, "MIN_FREE_GB": "0"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        yield server


def test_the_client_understands_the_command(sent: Engine) -> None:
    assert sent.query["t"] == ["mine:1"]
    assert json.loads(sent.query["buildargs"][0])["CUDA_STACK"] == "12"


def test_only_what_is_copied_goes_in(sent: Engine) -> None:
    assert sent.context
    names = {member.name for member in sent.context.getmembers() if member.isfile()}
    assert not names & set(LEFT_BEHIND)
    top = {name.split("/")[0] for name in names}
    assert top - {"Dockerfile", ".dockerignore"} == {
        *("backend", "demo", "deploy", "frontend", "requirements", "tools"),
    }
    assert {
        *("backend/__init__.py", "backend/app/__main__.py", "deploy/healthcheck"),
        *("frontend/package-lock.json", "requirements/cuda12.txt", "tools/setup/venv"),
    } <= names
    assert not [name for name in names if "node_modules" in name or name.endswith(".pyc")]


def test_it_is_small(sent: Engine) -> None:
    assert sent.context
    assert sum(member.size for member in sent.context.getmembers()) < 40_000_000
