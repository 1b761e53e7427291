"""HubFiles: the files of one model in the cache, looked at without a network."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from backend.app.hub.patterns import PIPELINE_PARTS
from backend.app.hub.snapshot import FilesState, FilesStatus, status_of
from backend.app.workers.hub_layout import BadName, RepoDir, Want
from backend.app.workers.hub_protocol import Transfer

log = logging.getLogger(__name__)

RECHECK_S = 30.0
"""A file that changed its size in place is noticed after so long; anything else at once."""
CLOCK_NS = 50_000_000
"""A change so shortly before another may leave a directory's time of change as it was."""


class _Look(NamedTuple):
    """What was found, and the directories whose times of change say whether it still holds."""

    path: str | None
    directories: tuple[Path, ...]
    changed: tuple[int, ...]
    at: float

    def holds(self) -> bool:
        if time.monotonic() - self.at > RECHECK_S:
            return False
        return all(_changed_at(d) == c for d, c in zip(self.directories, self.changed, strict=True))


NEVER = _Look(None, (), (), float("-inf"))


class HubFiles:
    """Implements `Artifacts` for a Hub repository and those that it refers to.

    `fetch` is given by the cache manager.
    """

    def __init__(
        self,
        cache_dir: Path,
        want: Want,
        fetch: Callable[[Want, Callable[[Transfer], None]], Awaitable[None]],
    ) -> None:
        self.want = want
        self._cache_dir = cache_dir
        self._fetch = fetch
        self._parts = PIPELINE_PARTS.get(want.repo, ()) if want.follow else ()
        self._last = NEVER

    # ---- Artifacts --------------------------------------------------------------------------

    def has_any(self) -> bool:
        """At least one finished file is on disk."""
        directory = RepoDir(self._cache_dir, self.want.repo)
        try:
            with os.scandir(directory.blobs) as blobs:
                if any(not blob.name.endswith(".incomplete") for blob in blobs):
                    return True
        except OSError:
            pass
        return any(path.is_file() for path in directory.root.glob("snapshots/*/**/*"))

    def path(self) -> str | None:
        """The snapshot, once every file of it is there, and every repository it refers to.

        None too where the disk or what lies on it cannot be read. Raises nothing: whoever shows
        the state of a model asks this.
        """
        if not self._last.holds():
            try:
                self._last = self._look()
            except (OSError, BadName) as exc:
                log.warning("%s cannot be looked at: %s", self.want.repo, exc)
                self._last = NEVER._replace(at=time.monotonic())
        return self._last.path

    async def fetch(self, on_progress: Callable[[Transfer], None]) -> None:
        """Download what is missing, verify and repair the rest. Raises DownloadFailed."""
        try:
            await self._fetch(self.want, on_progress)
        finally:
            self._last = NEVER

    # ---- more -------------------------------------------------------------------------------

    @property
    def repos(self) -> tuple[str, ...]:
        """The repository and those that it refers to, as far as that is known."""
        named = tuple(want.repo for want in self.wants())
        return named if len(named) > 1 else (*named, *self._parts)

    def status(self) -> FilesStatus:
        """All of it together; looks at every file."""
        parts = [status_of(RepoDir(self._cache_dir, want.repo), want) for want in self.wants()]
        states = {part.state for part in parts}
        totals = [part.total_bytes for part in parts]
        return FilesStatus(
            states.pop() if len(states) == 1 else FilesState.PARTIAL,
            bytes=sum(part.bytes for part in parts),
            total_bytes=None if None in totals else sum(t for t in totals if t is not None),
            files=sum(part.files for part in parts),
            commit=parts[0].commit,
        )

    def wants(self) -> tuple[Want, ...]:
        """The repository itself and what its manifest refers to."""
        if not self.want.follow:
            return (self.want,)
        directory = RepoDir(self._cache_dir, self.want.repo)
        commit = directory.commit_of(self.want.revision)
        manifest = directory.manifest(commit) if commit else directory.newest_manifest()
        if manifest is not None:
            return (self.want, *manifest.needs)
        return (self.want, *(Want(repo) for repo in self._parts))

    def _look(self) -> _Look:
        """Times first: what changes while the files are looked at is then seen the next time."""
        wants = self.wants()
        dirs = [RepoDir(self._cache_dir, want.repo) for want in wants]
        watched = tuple(path for directory in dirs for path in _watched(directory))
        changed = tuple(_changed_at(path) for path in watched)
        settled = max(changed, default=0) < time.time_ns() - CLOCK_NS
        at = time.monotonic() if settled else float("-inf")
        path = None
        if all(
            status_of(*pair).state is FilesState.COMPLETE for pair in zip(dirs, wants, strict=True)
        ):
            commit = dirs[0].commit_of(self.want.revision)
            path = str(dirs[0].snapshot(commit)) if commit else None
        return _Look(path, watched, changed, at)


def _watched(directory: RepoDir) -> Iterator[Path]:
    """Where something changes whenever a file of the repository comes, goes or is replaced."""
    yield directory.manifests
    yield directory.blobs
    for part in ("refs", "snapshots"):
        for base, _, _ in os.walk(directory.root / part):
            yield Path(base)


def _changed_at(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
