"""Files of a model that already lie on this machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from backend.app.errors import Conflict
from backend.app.hub.disk import on_disk


class LocalFiles:
    """A directory or a single file given by path: nothing to download, everything to find."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    def has_any(self) -> bool:
        try:
            return self._path.is_file() or (self._path.is_dir() and any(self._path.iterdir()))
        except OSError:
            return False  # it cannot be read: for us it is not there

    def path(self) -> str | None:
        return str(self._path) if self.has_any() else None

    def release(self) -> None:
        """Nothing is held."""

    async def fetch(self, on_progress: Callable[[Any], None]) -> None:
        if not await on_disk(self.has_any):
            raise Conflict(
                f"{self._path} holds no files. It is a local path, so there is nothing to download:"
                " put the model there, or set a Hub repository instead.",
                code="files_missing",
            )
