"""One writer for each repository of the cache, over all processes."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from backend.app.errors import Conflict
from backend.app.workers.hub_layout import lock_path


@contextlib.contextmanager
def locked(cache_dir: Path, repo: str) -> Iterator[None]:
    """Raises Conflict while another process downloads or installs the repository."""
    path = lock_path(cache_dir, repo)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        with contextlib.suppress(OSError):  # a file system without locks
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Conflict(f"Another process is downloading {repo}.") from None
        yield
