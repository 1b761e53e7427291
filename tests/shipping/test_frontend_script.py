"""tools/setup/frontend: the dashboard is built, or it is said why not and nothing else stops."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NODE = """#!/bin/sh
[ "$1" = --version ] && { echo v18.19.1; exit; }
exit 1
"""
"""Ubuntu 24.04's: what is asked of it fails."""


def run(
    directory: Path, *arguments: str, npm: str | None = "exit 0", node: str | None = None
) -> tuple[int, str]:
    """Its status and what it complained of; `npm` is a shell script, `node` too or the real one."""
    for name in ("tools/setup", "frontend", "bin"):
        (directory / name).mkdir(parents=True)
    shutil.copy(ROOT / "tools/setup/frontend", directory / "tools/setup")
    (directory / "frontend/package.json").touch()
    if npm is not None:
        (directory / "bin/npm").write_text(f"#!/bin/sh\necho npm $1 $2 >>calls\n{npm}\n")
        (directory / "bin/npm").chmod(0o755)
    if node is not None:
        (directory / "bin/node").write_text(node)
        (directory / "bin/node").chmod(0o755)
    else:
        (directory / "bin/node").symlink_to(str(shutil.which("node")))
    for name in ("bash", "env", "dirname"):
        (directory / "bin" / name).symlink_to(str(shutil.which(name)))
    done = subprocess.run(
        [str(directory / "tools/setup/frontend"), *arguments],
        env={"PATH": str(directory / "bin")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr


def test_it_installs_and_builds(tmp_path: Path) -> None:
    assert run(tmp_path) == (0, "")
    assert (tmp_path / "frontend/calls").read_text() == "npm ci --no-audit\nnpm run build\n"


def test_without_npm(tmp_path: Path) -> None:
    code, said = run(tmp_path, npm=None)
    assert code == 0
    assert said == "npm is missing: the dashboard is not built. The API works without it.\n"


def test_an_old_node_is_named(tmp_path: Path) -> None:
    code, said = run(tmp_path, node=NODE)
    assert code == 0
    assert "Node v18.19.1 is too old for the dashboard, which is built with 20.19" in said
    assert "The API works without it" in said
    assert not (tmp_path / "frontend/calls").exists()


def test_a_failed_build_is_said(tmp_path: Path) -> None:
    code, said = run(tmp_path, npm="[ $1 = ci ]")
    assert code == 0
    assert said == "The dashboard could not be built, see above. The API works without it.\n"


@pytest.mark.parametrize("step", ["packages", "build"])
def test_in_the_image_a_failure_stops_the_build(tmp_path: Path, step: str) -> None:
    code, _ = run(tmp_path, step, npm="exit 7")
    assert code == 7


def test_it_asks_for_what_the_package_asks_for() -> None:
    package = json.loads((ROOT / "frontend/package.json").read_text())
    assert package["engines"]["node"] == ">=20.19"
    assert "b >= 19" in (ROOT / "tools/setup/frontend").read_text()
