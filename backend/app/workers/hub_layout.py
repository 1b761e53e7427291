"""How a model repository lies on disk: the Hub's own cache layout, and what we keep beside it.

    models--owner--name/
        blobs/<etag>              contents, named by SHA-256 (LFS) or by git's SHA-1
        snapshots/<commit>/…      the files of a commit, as links into blobs
        refs/<branch or tag>      the commit that it stood for
        manifests/<commit>.json   every file of that commit with its size and hash (ours)
        partials/<etag>           downloads to be resumed (ours)

Shared by the gateway, which only looks, and the download child, which writes. Names that come from
a Hub are checked before they become paths.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import secrets
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

COMMIT = re.compile(r"[0-9a-f]{40}")
SHA1 = COMMIT
SHA256 = re.compile(r"[0-9a-f]{64}")
_ETAG = re.compile(r"[\w-][\w.-]{0,127}")
_NAME = re.compile(r"[A-Za-z0-9_][\w.-]{0,95}")
DEFAULT_REVISION = "main"
PREFIX = "models--"
LONGEST_PART = 255
"""Bytes in one part of a path, as on every usual file system."""
NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class BadName(ValueError):
    """A name that must not become part of a path."""


class Entry(msgspec.Struct, frozen=True):
    """One file of a commit: path in the repository, bytes, and the name of its blob."""

    path: str
    size: int
    etag: str


class Want(msgspec.Struct, frozen=True):
    """A repository, and which of its files are needed. Making one raises BadName."""

    repo: str
    revision: str | None = None
    """Commit, tag or branch; None for the newest."""
    allow: tuple[str, ...] = ("*",)
    ignore: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    """Each must match at least one file: without it the repository is of no use."""
    follow: bool = False
    """Its config.yaml names further repositories (a pyannote pipeline)."""

    def __post_init__(self) -> None:
        check_repo(self.repo)
        check_revision(self.revision)

    def select(self, entries: Iterable[Entry]) -> list[Entry]:
        def matches(path: str, patterns: Sequence[str]) -> bool:
            return any(fnmatchcase(path, pattern) for pattern in patterns)

        return [
            e for e in entries if matches(e.path, self.allow) and not matches(e.path, self.ignore)
        ]

    def unmatched(self, entries: Iterable[Entry]) -> str | None:
        """A required pattern that matches none of `entries`."""
        paths = [entry.path for entry in entries]
        return next((p for p in self.required if not any(fnmatchcase(x, p) for x in paths)), None)


class Manifest(msgspec.Struct, frozen=True):
    """What one commit consists of, all of it: patterns are applied when it is read."""

    repo: str
    commit: str
    files: tuple[Entry, ...]
    needs: tuple[Want, ...] = ()
    """Repositories that this one refers to."""


def digest_of(entry: Entry) -> Any:
    """A hash object that the file's bytes are to be fed into; None for an etag of another kind."""
    if SHA256.fullmatch(entry.etag):
        return hashlib.sha256()
    if SHA1.fullmatch(entry.etag):
        return hashlib.sha1(b"blob %d\0" % entry.size, usedforsecurity=False)
    return None


def check_repo(repo: str) -> str:
    """`repo` itself. Raises BadName unless it is written owner/name (or name, for old ones)."""
    parts = repo.split("/")
    fine = len(parts) <= 2 and all(_NAME.fullmatch(p) for p in parts)
    if not fine or "--" in repo or ".." in repo:
        raise BadName(f"'{repo}' is no repository name: write owner/name")
    return repo


def check_revision(revision: str | None) -> str | None:
    """`revision` itself. Raises BadName for what can be no commit, tag or branch."""
    if revision is not None:
        try:
            _relative(revision)
        except BadName:
            raise BadName(f"'{revision}' is no revision: write a commit, tag or branch") from None
    return revision


def folder_name(repo: str) -> str:
    return PREFIX + check_repo(repo).replace("/", "--")


def repo_name(folder: str) -> str | None:
    """The repository that a folder of the cache belongs to; None when it is something else."""
    if not folder.startswith(PREFIX):
        return None
    with contextlib.suppress(BadName):
        return check_repo(folder[len(PREFIX) :].replace("--", "/"))
    return None


def lock_path(cache_dir: Path, repo: str) -> Path:
    """The file that whoever writes to a repository holds a lock of."""
    return cache_dir / ".locks" / folder_name(repo) / "download.lock"


def _relative(name: str) -> str:
    parts = PurePosixPath(name).parts
    if (
        not parts
        or name.startswith("/")
        or ".." in parts
        or "\\" in name
        or "\0" in name
        or any(len(os.fsencode(part)) > LONGEST_PART for part in parts)
    ):
        raise BadName(f"'{name}' is no path inside a repository")
    return name


def write_atomically(path: Path, content: bytes, mode: int = 0o666) -> None:
    """All of it or nothing, and durable."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


class RepoDir:
    """The folder of one repository. Making one touches nothing."""

    def __init__(self, cache_dir: Path, repo: str) -> None:
        self.repo = repo
        self.root = cache_dir / folder_name(repo)
        self.blobs = self.root / "blobs"
        self.partials = self.root / "partials"
        self.manifests = self.root / "manifests"

    def ref(self, revision: str | None) -> Path:
        return self.root / "refs" / _relative(revision or DEFAULT_REVISION)

    def commit_of(self, revision: str | None) -> str | None:
        """The commit that a revision stands for here. None when that is not known."""
        if revision and COMMIT.fullmatch(revision):
            return revision
        try:
            commit = self.ref(revision).read_text(encoding="ascii", errors="replace").strip()
        except OSError:
            return None
        return commit if COMMIT.fullmatch(commit) else None

    def snapshot(self, commit: str) -> Path:
        return self.root / "snapshots" / commit

    def file(self, commit: str, entry: Entry) -> Path:
        return self.snapshot(commit) / _relative(entry.path)

    def blob(self, entry: Entry) -> Path:
        return self.blobs / self._etag(entry)

    def partial(self, entry: Entry) -> Path:
        return self.partials / self._etag(entry)

    def manifest(self, commit: str) -> Manifest | None:
        """None when there is none, or none that can be read."""
        try:
            content = (self.manifests / f"{commit}.json").read_bytes()
            return msgspec.json.decode(content, type=Manifest)
        except (OSError, msgspec.DecodeError):
            return None

    def newest_manifest(self) -> Manifest | None:
        """Of the commit that was asked for last."""
        try:
            found = max(self.manifests.glob("*.json"), key=lambda p: p.stat().st_mtime_ns)
        except (OSError, ValueError):
            return None
        return self.manifest(found.stem)

    def keep(self, manifest: Manifest) -> None:
        content = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
        write_atomically(self.manifests / f"{manifest.commit}.json", content)

    def has(self, commit: str, entry: Entry) -> bool:
        """The file is where it belongs and has the right size."""
        return _size(self.file(commit, entry)) == entry.size

    def bytes_on_disk(self, commit: str, entry: Entry) -> int:
        """Of one file, finished or not, up to its size."""
        whole = _size(self.file(commit, entry)) or _size(self.blob(entry))
        return min(entry.size, whole or _size(self.partial(entry)) or 0)

    def link(self, commit: str, entry: Entry) -> None:
        """Let the snapshot show the blob, as a relative link."""
        place = self.file(commit, entry)
        target = os.path.relpath(self.blob(entry), place.parent)
        if place.is_symlink() and os.readlink(place) == target:
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        draft = place.with_name(f".{place.name}.{secrets.token_hex(4)}")
        os.symlink(target, draft)
        os.replace(draft, place)

    def point(self, revision: str | None, commit: str) -> None:
        """From now on the revision stands for this commit."""
        if revision == commit:
            return
        if self.commit_of(revision) != commit:
            write_atomically(self.ref(revision), commit.encode())

    def _etag(self, entry: Entry) -> str:
        if not _ETAG.fullmatch(entry.etag):
            raise BadName(f"'{entry.etag}' is no name of a blob")
        return entry.etag


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
