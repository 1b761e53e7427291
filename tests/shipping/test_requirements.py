"""requirements/*.txt: pinned by hash, in step with pyproject.toml, naming no index."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
FILES = {
    path.stem: path
    for path in sorted((ROOT / "requirements").glob("*.txt"))
    if path.stem != "uv" and not path.stem.endswith(".overrides")
}
each = pytest.mark.parametrize("name", FILES)


def _pins(name: str) -> list[Requirement]:
    text = re.sub(r"\\\n\s*--hash=\S+", "", FILES[name].read_text())
    text = re.sub(r"\s*\\?\n?\s+--hash=\S+ ?\\?", "", text)
    return [Requirement(line) for line in text.splitlines() if line and not line.startswith("#")]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_one_file_for_each_extra_and_one_for_the_gateway() -> None:
    assert FILES.keys() == {*EXTRAS, "gateway"}


@each
def test_it_names_its_pythons(name: str) -> None:
    first = FILES[name].read_text().splitlines()[0]
    assert re.fullmatch(r"# python:( 3\.1[0-9](\.\d+)?)+", first)


@each
def test_every_line_is_a_pin_with_its_hashes(name: str) -> None:
    lines = FILES[name].read_text().splitlines()[1:]
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if line.startswith("    --hash=sha256:"):
            continue
        assert re.match(r"[\w.-]+(\[[\w,-]+\])?==\S+ ", line), line
        assert following.startswith("    --hash=sha256:"), f"{line} has no hash"
    assert not re.search(r"^-|https?://|--(index|extra|find)", "\n".join(lines), re.MULTILINE)


@each
def test_it_is_in_step_with_the_project(name: str) -> None:
    """`make lock` was run after the last change of dependencies."""
    pinned: dict[str, list[Requirement]] = {}
    for pin in _pins(name):
        pinned.setdefault(_normal(pin.name), []).append(pin)
    overridden = ROOT / "requirements" / f"{name}.overrides.txt"
    over = {
        _normal(Requirement(line).name)
        for line in (overridden.read_text().splitlines() if overridden.exists() else [])
        if line and not line.startswith("#")
    }
    for line in [*PROJECT["dependencies"], *EXTRAS.get(name, [])]:
        wanted = Requirement(line)
        key = _normal(wanted.name)
        if wanted.marker and key not in pinned:
            continue
        assert key in pinned, f"{line} is missing in requirements/{name}.txt: make lock"
        for pin in pinned[key]:
            (version,) = pin.specifier
            assert key in over or wanted.specifier.contains(version.version, prereleases=True), (
                f"{pin} does not fit {line}: make lock"
            )


def test_torchcodec_goes_with_its_torch() -> None:
    """Nothing in its metadata says so: 0.17 does not load beside torch 2.10."""
    pairs = {"2.10.0": "0.10.0", "2.13.0": "0.17.0"}
    for name in ("cpu", "cuda12", "cuda13"):
        found = {_normal(pin.name): next(iter(pin.specifier)).version for pin in _pins(name)}
        assert pairs[found["torch"]] == found["torchcodec"]


def test_lock_knows_every_file() -> None:
    script = (ROOT / "tools" / "setup" / "lock").read_text()
    assert set(re.findall(r"^compile (\w+) ", script, re.MULTILINE)) == FILES.keys()
    for name, path in FILES.items():
        pythons = path.read_text().splitlines()[0].removeprefix("# python: ")
        assert f'compile {name} "{pythons}"' in script


def test_no_python_that_fits_is_said(tmp_path: Path) -> None:
    wanted = tmp_path / "future.txt"
    wanted.write_text("# python: 9.9\n")
    done = subprocess.run(
        [str(ROOT / "tools/setup/venv"), str(tmp_path / "venv"), str(wanted)],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin"},  # and no HOME: a builder may have none
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "wants one of: 9.9" in done.stderr


def make_venv(
    directory: Path, wanted: str, pythons: dict[str, str], **settings: str
) -> subprocess.CompletedProcess[str]:
    """tools/setup/venv beside Pythons that are told their version and can do nothing else."""
    requirements = directory / "future.txt"
    requirements.write_text(f"# python: {wanted}\n")
    for name, version in pythons.items():
        fake = directory / name
        minor, _, micro = version.rpartition(".")
        fake.write_text(
            f'#!/bin/sh\ncase "$1" in -c) echo {minor} {micro};; --version) echo Python {version};;'
            ' *) mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; echo no ensurepip; exit 1;; esac\n'
        )
        fake.chmod(0o755)
    return subprocess.run(
        [str(ROOT / "tools/setup/venv"), str(directory / "venv"), str(requirements)],
        cwd=ROOT,
        env={"PATH": f"{directory}:/usr/bin:/bin", **settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("fits", [True, False])
def test_the_python_that_is_named_and_no_other(tmp_path: Path, fits: bool) -> None:
    """Even where another one fits better: the one found first may lie in somebody's home."""
    pythons = {"python3": "9.8.0", "named": "9.9.0" if fits else "9.7.0"}
    done = make_venv(tmp_path, "9.8 9.9", pythons, PYTHON=str(tmp_path / "named"))
    assert done.returncode == 1  # none of them is a real Python
    if fits:
        assert done.stdout.startswith(f"Making {tmp_path}/venv with Python 9.9.0\n")
    else:
        assert done.stdout == ""
        assert f"PYTHON={tmp_path}/named does not fit" in done.stderr


@pytest.mark.parametrize("version", ["9.9.3", "9.9.4", "9.9.10", "9.10.4"])
def test_a_python_that_is_too_old_is_passed_over(tmp_path: Path, version: str) -> None:
    done = make_venv(tmp_path, "9.9.4 9.8", {"python3": version, "python9.8": "9.8.0"})
    chosen = version if version in {"9.9.4", "9.9.10"} else "9.8.0"
    assert done.stdout.startswith(f"Making {tmp_path}/venv with Python {chosen}\n")


def test_an_environment_that_was_not_finished_is_none(tmp_path: Path) -> None:
    """Debian's python3 without python3-venv makes half of one, which has no pip."""
    done = make_venv(tmp_path, "9.9", {"python3": "9.9.0"})
    assert done.returncode == 1
    assert "no ensurepip" in done.stdout
    assert not (tmp_path / "venv").exists()
