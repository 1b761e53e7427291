"""`python -m backend.app …` as a user types it, with settings of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.gateway import ROOT


class CommandLine:
    """Called with arguments it gives (exit code, stdout, stderr); more variables as keywords."""

    def __init__(self, directory: Path, **env: str) -> None:
        self.directory = directory
        self.env = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "HOME": str(directory),
            "MODEL_CACHE_DIR": str(directory / "models"),
            "LOG_DIR": str(directory / "logs"),
            **env,
        }

    def start(self, *args: str, **env: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "backend.app", *args],
            cwd=self.directory,
            env=self.env | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *args: str, **env: str) -> tuple[int, str, str]:
        process = self.start(*args, **env)
        out, err = process.communicate(timeout=240)
        return process.returncode, out, err
