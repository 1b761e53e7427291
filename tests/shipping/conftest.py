"""Fixtures of the tests of what is shipped."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.docker import Docker


@pytest.fixture
def docker(tmp_path: Path) -> Docker:
    return Docker(tmp_path)


@pytest.fixture
def own_files(docker: Docker) -> None:
    """Directories for models and logs that belong to an ordinary user, as they do on a host."""
    for name in ("model_cache", "logs"):
        (docker.work / name).mkdir()
        if os.getuid() == 0:
            os.chown(docker.work / name, 1000, 1000)
