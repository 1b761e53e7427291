"""Which engines `make` installs: by the driver, where there is a GPU that works."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NO_DRIVER = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."


def stack(directory: Path, nvidia_smi: str | None, **told: str) -> tuple[int, str, str]:
    """Status, stdout and stderr of tools/setup/stack beside this nvidia-smi."""
    if nvidia_smi is not None:
        fake = directory / "nvidia-smi"
        fake.write_text(f"#!/bin/sh\n{nvidia_smi}\n")
        fake.chmod(0o755)
    for name in ("env", "bash"):
        found = next(p for p in (f"/usr/bin/{name}", f"/bin/{name}") if os.path.exists(p))
        (directory / name).symlink_to(found)
    done = subprocess.run(
        [str(ROOT / "tools" / "setup" / "stack")],
        env={"PATH": str(directory), **told},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("driver", "fits"),
    [
        ("525.60.13", "cuda12"),
        ("550.54.15", "cuda12"),
        ("580.65.06", "cuda13"),
        ("1000.1", "cuda13"),
    ],
)
def test_the_driver_decides(tmp_path: Path, driver: str, fits: str) -> None:
    both = f"echo {driver}; echo {driver}"
    assert stack(tmp_path, both) == (0, f"{fits}\n", "")


def test_without_nvidia_smi(tmp_path: Path) -> None:
    assert stack(tmp_path, None) == (0, "cpu\n", "")


@pytest.mark.parametrize(
    "broken",
    [
        f'echo "{NO_DRIVER}"; exit 9',
        'echo "No devices were found"; exit 6',
        'echo "No devices were found"',
        "echo 580.65.06; exit 9",
        "echo '[N/A]'",
        "echo",
        "exit 0",
    ],
)
def test_a_gpu_that_does_not_work_is_none(tmp_path: Path, broken: str) -> None:
    code, output, said = stack(tmp_path, broken)
    assert (code, output) == (0, "cpu\n")
    assert "ENGINE_STACK" in said


@pytest.mark.parametrize("driver", ["470.256.02", "515.105.01"])
def test_a_driver_from_before_cuda_12(tmp_path: Path, driver: str) -> None:
    code, output, said = stack(tmp_path, f"echo {driver}")
    assert (code, output) == (0, "cpu\n")
    assert f"Driver {driver} is older" in said


def test_engine_stack_decides(tmp_path: Path) -> None:
    assert stack(tmp_path, "exit 9", ENGINE_STACK="cuda12") == (0, "cuda12\n", "")


def test_a_stack_that_there_is_not(tmp_path: Path) -> None:
    code, output, said = stack(tmp_path, None, ENGINE_STACK="rocm")
    assert (code, output, said) == (2, "", "ENGINE_STACK=rocm: use cuda13, cuda12 or cpu.\n")


def test_make_does_not_go_on_without_a_stack() -> None:
    done = subprocess.run(
        ["make", "--dry-run", "install"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "ENGINE_STACK": "rocm"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "ENGINE_STACK=rocm: use cuda13, cuda12 or cpu." in done.stderr
    assert not done.stdout


@pytest.mark.parametrize("other", ["cuda12", "cuda13"])
def test_make_mixes_no_stacks(tmp_path: Path, other: str) -> None:
    for name in ("cuda12", "cuda13", "cpu"):
        (tmp_path / "requirements").mkdir(exist_ok=True)
        (tmp_path / "requirements" / f"{name}.txt").touch()
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / f".{other}").touch()
    (tmp_path / "tools").symlink_to(ROOT / "tools")

    def make(stack: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["make", "-f", str(ROOT / "Makefile"), "--dry-run", f".venv/.{stack}"],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "ENGINE_STACK": stack},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    assert make(other).returncode == 0
    refused = make("cpu")
    assert refused.returncode == 2
    assert ".venv holds another stack than cpu: make clean first" in refused.stderr
    assert not refused.stdout
