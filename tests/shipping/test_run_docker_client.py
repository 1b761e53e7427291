"""What the real docker client makes of run_docker.sh's command."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.docker import ROOT, SECRET
from tests.support.docker_engine import engine

pytestmark = pytest.mark.skipif(not shutil.which("docker"), reason="needs docker's client")
SETTINGS = {"HUGGINGFACE_TOKEN": SECRET, "HOST_BIND_ADDRESS": "127.0.0.1", "HOST_PORT": "8123"}
DOTENV = f'ADMIN_API_KEYS="{SECRET} # no comment"\nQWEN_PYTHON=/opt/theirs\nDRAIN_S=40\n'


@pytest.fixture(scope="module")
def container(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    work = tmp_path_factory.mktemp("host") / "with a blank"
    for name in ("model_cache", "logs"):
        (work / name).mkdir(parents=True)
        if os.getuid() == 0:
            os.chown(work / name, 1000, 1000)
    (work / ".env").write_text(DOTENV)
    with tempfile.TemporaryDirectory(prefix="de-") as name, engine(Path(name)) as (server, host):
        done = subprocess.run(
            [str(ROOT / "run_docker.sh"), "mine:1", "--", "--memory", "64g"],
            cwd=work,
            env={"PATH": os.environ["PATH"], "HOME": name, "DOCKER_HOST": host, **SETTINGS},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "http://127.0.0.1:8123/api/admin/status" in done.stdout
        assert SECRET not in done.stdout + done.stderr
        yield {**server.created["servertestllm"], "work": str(work)}


def test_it_is_told_what_the_container_decides(container: dict[str, Any]) -> None:
    told = dict(variable.split("=", 1) for variable in container["Env"])
    assert told == {
        "MODEL_CACHE_DIR": "/models",
        "LOG_DIR": "/var/log/servertestllm",
        "API_HOST": "0.0.0.0",
        "API_PORT": "8000",
        "MODEL_SET": "real",
        "QWEN_PYTHON": "",
        "CANARY_PYTHON": "",
        "PYANNOTE_PYTHON": "",
        "DRAIN_S": "40",
        "ENGINE_TERM_S": "10",
        "HUGGINGFACE_TOKEN": SECRET,
    }
    assert container["Image"] == "mine:1"
    assert container["StopTimeout"] == 70
    if os.getuid() == 0:
        assert container["User"] == "1000:1000"


def test_it_gets_what_engines_need(container: dict[str, Any]) -> None:
    host, work = container["HostConfig"], container["work"]
    (gpus,) = host["DeviceRequests"]
    assert (gpus["Count"], gpus["Capabilities"]) == (-1, [["gpu"]])
    assert host["ShmSize"] == 16 << 30
    assert host["Memory"] == 64 << 30
    limits = {limit["Name"]: limit["Hard"] for limit in host["Ulimits"]}
    assert limits == {"memlock": -1, "stack": 67108864, "nofile": 65536}
    assert sorted(host["Binds"]) == sorted(
        [
            f"{work}/model_cache:/models",
            f"{work}/logs:/var/log/servertestllm",
            f"{work}/.env:/app/.env:ro",
        ]
    )
    assert host["PortBindings"] == {"8000/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8123"}]}


def test_it_may_do_no_more_than_it_must(container: dict[str, Any]) -> None:
    host = container["HostConfig"]
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert host["Init"] is True
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    assert not host["Privileged"]
