"""The Pythons of this machine, and an environment with the gateway's packages for each."""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SUPPORTED = ("3.10", "3.11", "3.12", "3.13")
ENVIRONMENTS = ROOT / ".venv-gateway"
REQUIREMENTS = ROOT / "requirements" / "gateway.txt"
_VERSION = "import sys; print('%d.%d' % sys.version_info[:2])"


def _is(candidate: str, version: str) -> bool:
    asked = subprocess.run(
        [candidate, "-I", "-S", "-c", _VERSION], capture_output=True, text=True, check=False
    )
    return asked.returncode == 0 and asked.stdout.strip() == version


@functools.cache
def pythons() -> dict[str, str]:
    """Version -> interpreter, for each supported one that is here: on PATH or kept by pyenv."""
    found: dict[str, str] = {}
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for version in SUPPORTED:
        named = shutil.which(f"python{version}")
        kept = sorted(pyenv.glob(f"{version}.*/bin/python"), reverse=True)
        for candidate in filter(None, (named, *map(str, kept))):
            if _is(candidate, version):
                found[version] = candidate
                break
    return found


def gateway_python(version: str) -> str:
    """The interpreter of an environment with exactly the pinned packages of the gateway.

    It is kept for the next run, in a directory that git ignores.
    """
    venv = ENVIRONMENTS / version
    python = str(venv / "bin" / "python")
    stamp, wanted = venv / ".installed", hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    ENVIRONMENTS.mkdir(exist_ok=True)
    with (ENVIRONMENTS / f"{version}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several test runs may be under way
        if not stamp.is_file() or stamp.read_text() != wanted:
            _uv("venv", "--clear", "--python", pythons()[version], str(venv))
            # with bytecode, because Python may be told not to write it later
            pinned = ("--no-deps", "--require-hashes", "--compile-bytecode")
            _uv("pip", "install", *pinned, "--python", python, "-r", str(REQUIREMENTS))
            stamp.write_text(wanted)
    return python


def _uv(*arguments: str) -> None:
    uv = str(Path(sys.executable).with_name("uv"))
    subprocess.run([uv, "--quiet", *arguments], check=True, cwd=ROOT, timeout=240)
