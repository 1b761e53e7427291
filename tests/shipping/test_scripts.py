"""Every shell script, seen by shellcheck."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def _scripts() -> list[str]:
    """Tracked files that a shell runs, by their first line."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        timeout=30,
    )
    found = []
    for name in filter(None, listed.stdout.decode().split("\0")):
        path = ROOT / name
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                first = file.readline(80)
            if first.startswith(b"#!") and first.rstrip().endswith(b"sh"):
                found.append(name)
    return found


SCRIPTS = _scripts()


def test_the_scripts_are_found() -> None:
    assert {"build_docker.sh", "run_docker.sh", "deploy/healthcheck"} <= set(SCRIPTS)


@pytest.mark.parametrize("script", SCRIPTS)
def test_shellcheck(script: str) -> None:
    assert shutil.which("shellcheck"), "install shellcheck (make test does)"
    checked = subprocess.run(
        ["shellcheck", script], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert checked.returncode == 0, checked.stdout
