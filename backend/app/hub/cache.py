"""HFCacheManager: MODEL_CACHE_DIR, what is in it, what is on its way there."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from backend.app.errors import Conflict, InvalidRequest, NotFound
from backend.app.hub import download
from backend.app.hub.disk import on_disk
from backend.app.hub.files import HubFiles
from backend.app.hub.identity import HubIdentity
from backend.app.hub.locks import locked
from backend.app.hub.snapshot import FilesState, status_of
from backend.app.hub.token_store import TokenStore
from backend.app.workers.hub_layout import BadName, RepoDir, Want, folder_name, repo_name
from backend.app.workers.hub_protocol import Done, Job, Limits, Transfer, size_of

TRASH = ".trash-"
DELETE_S = 600.0
"""How long who deletes a repository waits for the disk to be done with it; it goes on beyond."""
log = logging.getLogger(__name__)
Report = Callable[[Transfer], None]


@dataclass(frozen=True)
class CachedRepo:
    """A repository in the cache. `bytes` is all it takes on the disk."""

    repo: str
    state: FilesState
    bytes: int
    files: int
    revision: str | None
    """The commit."""
    refs: dict[str, str]
    changed_at: float
    """Unix time."""


@dataclass
class _Running:
    """A download under way and those who wait for it."""

    task: asyncio.Task[Done]
    reports: list[Report]


class HFCacheManager:
    """For use by one event loop. `env` is what children inherit, without secrets."""

    def __init__(
        self,
        cache_dir: Path,
        tokens: TokenStore,
        env: Mapping[str, str],
        *,
        xet: bool = False,
        limits: Limits | None = None,
    ) -> None:
        self.cache_dir = cache_dir
        self.tokens = tokens
        endpoint = env.get("HF_ENDPOINT") or None
        self.identity = HubIdentity(endpoint)
        self._env = download.environment(env, str(cache_dir), xet=xet)
        self._xet = xet
        self._limits = limits or Limits()
        self._running: dict[Want, _Running] = {}
        self._handed_out: list[HubFiles] = []

    # ---- models -----------------------------------------------------------------------------

    def artifacts(self, want: Want) -> HubFiles:
        """The files of one model; `patterns` says what each kind of model wants."""
        files = HubFiles(self.cache_dir, want, self._fetch)
        self._handed_out.append(files)
        return files

    def release(self, files: HubFiles) -> None:
        """No model needs these files any more; they stay where they are."""
        self._handed_out.remove(files)

    def repositories(self) -> list[str]:
        """Every repository that a model of this gateway needs."""
        named = (repo for files in self._handed_out for repo in files.repos)
        return list(dict.fromkeys(named))

    def needed_by(self, repo: str) -> tuple[str, ...]:
        """The repositories that the model from `repo` needs, itself included."""
        return next((f.repos for f in self._handed_out if f.want.repo == repo), (repo,))

    async def _fetch(self, want: Want, report: Report) -> None:
        """Join the download of just this, or begin it. The last to leave stops it.

        Who wants other files of the same repository has a download of their own; the children
        take turns.
        """
        token = await on_disk(self.tokens.get)
        running = self._running.get(want)
        if running is None or running.task.done():
            running = self._running[want] = self._begin(want, token.value)
        running.reports.append(report)
        try:
            await asyncio.wait({running.task})
            running.task.result()
        finally:
            running.reports.remove(report)
            if not running.reports:
                if self._running.get(want) is running:
                    del self._running[want]
                running.task.cancel()
                await asyncio.wait({running.task})

    def _begin(self, want: Want, token: str | None) -> _Running:
        reports: list[Report] = []

        def tell(transfer: Transfer) -> None:
            for report in list(reports):
                report(transfer)

        job = Job(
            cache_dir=str(self.cache_dir),
            wants=(want,),
            token=token,
            endpoint=self._env.get("HF_ENDPOINT") or None,
            xet=self._xet,
            limits=self._limits,
        )
        task = asyncio.ensure_future(self._run(job, tell))
        return _Running(task, reports)

    async def _run(self, job: Job, tell: Report) -> Done:
        done = await download.run(job, self._env, tell)
        repo = job.wants[0].repo
        log.info("%s: %s fetched, all of it verified. %s", repo, size_of(done.fetched), done.note)
        for name in done.repaired:
            log.warning("%s was damaged and has been fetched again", name)
        return done

    # ---- the cache --------------------------------------------------------------------------

    def inventory(self) -> list[CachedRepo]:
        """Every repository here, by name. Looks at every file: not for the event loop."""
        found = []
        with contextlib.suppress(OSError):
            for folder in sorted(os.listdir(self.cache_dir)):
                repo = repo_name(folder)
                if repo is not None and (self.cache_dir / folder).is_dir():
                    found.append(self._describe(repo))
        return found

    def _describe(self, repo: str) -> CachedRepo:
        directory = RepoDir(self.cache_dir, repo)
        refs = _refs(directory)
        status = status_of(directory, self._want(directory, refs))
        size, changed_at = _measure(directory.root)
        commit, files = status.commit, status.files
        return CachedRepo(repo, status.state, size, files, commit, refs, changed_at)

    def _want(self, directory: RepoDir, refs: Mapping[str, str]) -> Want:
        """What a model wants of it; for one that nobody uses, all of it."""
        for files in self._handed_out:
            for want in files.wants():
                if want.repo == directory.repo:
                    return want
        snapshots = sorted(p.name for p in directory.root.glob("snapshots/*"))
        others = [*refs, *snapshots]
        revision = None if "main" in refs or not others else others[0]
        return Want(directory.repo, revision)

    async def delete(self, repo: str) -> int:
        """Remove a repository; how many bytes that freed. In one step: nobody finds half of it.

        Raises InvalidRequest, NotFound, or Conflict: being downloaded, or a link to elsewhere.
        Whether a model uses it is the caller's to know, without awaiting anything in between.
        """
        root = self._contained(repo)
        if any(want.repo == repo for want in self._running):
            raise Conflict(f"{repo} is being downloaded; cancel that first.")
        with locked(self.cache_dir, repo):
            trash = self.cache_dir / f"{TRASH}{secrets.token_hex(4)}"
            os.rename(root, trash)
        return await on_disk(partial(_destroy, self.cache_dir, trash), DELETE_S)

    def _contained(self, repo: str) -> Path:
        """The folder of a repository, which must really lie in the cache."""
        try:
            root = self.cache_dir / folder_name(repo)
        except BadName as exc:
            raise InvalidRequest(f"{exc}.", param="repo") from None
        if not os.path.lexists(root):
            raise NotFound(f"{repo} is not in the cache.", param="repo")
        if root.is_symlink() or root.resolve() != self.cache_dir.resolve() / root.name:
            raise Conflict(f"{root} leads out of the cache; remove it by hand.", param="repo")
        return root


def _refs(directory: RepoDir) -> dict[str, str]:
    base = directory.root / "refs"
    names = (p.relative_to(base).as_posix() for p in sorted(base.glob("**/*")) if p.is_file())
    found = ((name, directory.commit_of(name)) for name in names)
    return {name: commit for name, commit in found if commit}


def _measure(root: Path) -> tuple[int, float]:
    """(bytes on the disk, time of the last change); links count nothing."""
    size, changed_at = 0, 0.0
    for base, _, names in os.walk(root):
        for name in names:
            with contextlib.suppress(OSError):
                found = os.lstat(os.path.join(base, name))
                size += found.st_blocks * 512
                changed_at = max(changed_at, found.st_mtime)
    return size, changed_at


def _destroy(cache_dir: Path, trash: Path) -> int:
    """Also what an earlier deletion left, should the machine have stopped meanwhile."""
    size, _ = _measure(trash)
    for folder in cache_dir.glob(f"{TRASH}*"):
        shutil.rmtree(folder, ignore_errors=True)
    return size
