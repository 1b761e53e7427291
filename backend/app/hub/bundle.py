"""A bundle: models on their way to a machine without a network, as a tar or a directory.

    bundle.json       what is in it: `Bundle`
    files/<sha256>    contents, named by their SHA-256

No name inside a bundle ever becomes a path: where a file belongs follows from `bundle.json`, whose
names are checked as those of a Hub are. `bundle_make` writes one, `bundle_install` reads it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Protocol

import msgspec

from backend.app.workers.hub_layout import (
    COMMIT,
    SHA256,
    BadName,
    Manifest,
    RepoDir,
)

INDEX = "bundle.json"
FILES = "files/"
FORMAT = 1
MOST_INDEX_BYTES = 64 << 20
_MEMBER = re.compile(re.escape(FILES) + f"({SHA256.pattern})")


class BundleError(Exception):
    """The message says what is wrong and what to do about it."""


class BundledFile(msgspec.Struct, frozen=True):
    path: str
    size: int
    sha256: str


class BundledRepo(msgspec.Struct, frozen=True):
    """One repository at one commit. `files` are those of its manifest that are in the bundle."""

    repo: str
    revision: str | None
    """What the gateway asks for: a branch, a tag or a commit. None: the newest."""
    manifest: Manifest
    files: tuple[BundledFile, ...]


class Bundle(msgspec.Struct, frozen=True):
    gateway: str
    """The version that made it."""
    models: dict[str, tuple[str, ...]]
    """Key to the repositories that the model needs."""
    repositories: tuple[BundledRepo, ...]
    format: int = FORMAT

    @property
    def contents(self) -> dict[str, int]:
        """SHA-256 to size, each once."""
        return {file.sha256: file.size for repo in self.repositories for file in repo.files}


class Source(Protocol):
    """Where a bundle is read from."""

    sizes: dict[str, int]
    """SHA-256, as named, to size."""

    def index(self) -> bytes: ...

    def open(self, sha256: str) -> IO[bytes]: ...


class DirectorySource:
    def __init__(self, root: Path) -> None:
        self._root = root
        self.sizes = {}
        for path in _everything(root):
            name = path.relative_to(root).as_posix()
            found = path.lstat()
            if stat.S_ISDIR(found.st_mode) and f"{name}/" == FILES:
                continue
            sha256 = _sha256_of(name, regular=stat.S_ISREG(found.st_mode))
            if sha256 is not None:
                self.sizes[sha256] = found.st_size

    def index(self) -> bytes:
        with contextlib.suppress(FileNotFoundError), self._open(INDEX) as file:
            return file.read(MOST_INDEX_BYTES)
        raise BundleError(f"{self._root} holds no {INDEX}: it is no bundle.")

    def open(self, sha256: str) -> IO[bytes]:
        return self._open(FILES + sha256)

    def _open(self, name: str) -> IO[bytes]:
        return os.fdopen(os.open(self._root / name, os.O_RDONLY | os.O_NOFOLLOW), "rb")


class TarSource:
    """Not compressed: weights do not shrink, and what a member claims is what it holds."""

    def __init__(self, archive: tarfile.TarFile) -> None:
        self._archive = archive
        self._members: dict[str, tarfile.TarInfo] = {}
        self.sizes = {}
        for member in archive:
            sha256 = _sha256_of(member.name, regular=member.isreg() and not member.issparse())
            if member.name in self._members:
                raise BundleError(f"It holds {member.name} twice. Nothing was installed.")
            self._members[member.name] = member
            if sha256 is not None:
                self.sizes[sha256] = member.size

    def index(self) -> bytes:
        if INDEX not in self._members:
            raise BundleError(f"It holds no {INDEX}: it is no bundle.")
        return self._open(INDEX).read(MOST_INDEX_BYTES)

    def open(self, sha256: str) -> IO[bytes]:
        return self._open(FILES + sha256)

    def _open(self, name: str) -> IO[bytes]:
        file = self._archive.extractfile(self._members[name])
        assert file is not None  # it is a regular file
        return file


@contextlib.contextmanager
def opened(path: Path) -> Iterator[tuple[Source, Bundle]]:
    """A bundle whose list makes sense and fits what is there. Raises BundleError."""
    try:
        if path.is_dir():
            yield from _checked(DirectorySource(path))
        else:
            with tarfile.open(path, "r:") as archive:
                yield from _checked(TarSource(archive))
    except (tarfile.TarError, EOFError) as exc:
        raise BundleError(f"{path} is no whole tar ({exc}). Copy it again.") from None
    except OSError as exc:
        raise BundleError(f"{exc.filename or path}: {exc.strerror}.") from None


def fingerprint(source: Source) -> str:
    """Tells one bundle from every other: the SHA-256 of its list, which holds all the others."""
    return hashlib.sha256(source.index()).hexdigest()


def encode(bundle: Bundle) -> bytes:
    return msgspec.json.format(msgspec.json.encode(bundle), indent=1)


def _checked(source: Source) -> Iterator[tuple[Source, Bundle]]:
    try:
        bundle = msgspec.json.decode(source.index(), type=Bundle)
    except msgspec.DecodeError as exc:
        raise BundleError(f"{INDEX} cannot be understood ({exc}).") from None
    if bundle.format != FORMAT:
        raise BundleError(
            f"It has format {bundle.format}, made by gateway {bundle.gateway}; this gateway reads"
            f" format {FORMAT}. Install it with the gateway that made it."
        )
    try:
        for repo in bundle.repositories:
            _check_names(repo)
    except BadName as exc:
        raise BundleError(f"{INDEX}: {exc}. Nothing was installed.") from None
    wanted = bundle.contents
    if any(file.size != wanted[file.sha256] for r in bundle.repositories for file in r.files):
        raise BundleError(f"{INDEX}: one SHA-256 has two sizes.")
    for sha256, size in wanted.items():
        if source.sizes.get(sha256) != size:
            there = source.sizes.get(sha256, "no")
            raise BundleError(
                f"{FILES}{sha256} should have {size} bytes and has {there}. Copy the bundle again."
            )
    superfluous = source.sizes.keys() - wanted.keys()
    if superfluous:
        raise BundleError(f"{FILES}{min(superfluous)} is not in {INDEX}.")
    yield source, bundle


def _check_names(repo: BundledRepo) -> None:
    """Raises BadName or BundleError for what fits no place in a cache."""
    manifest, directory = repo.manifest, RepoDir(Path(), repo.repo)
    directory.ref(repo.revision)
    fixed = repo.revision is not None and COMMIT.fullmatch(repo.revision)
    if not COMMIT.fullmatch(manifest.commit) or (fixed and repo.revision != manifest.commit):
        raise BadName(f"'{manifest.commit}' is not the commit of {repo.repo}")
    if manifest.repo != repo.repo:
        raise BadName(f"the list of {repo.repo} is that of '{manifest.repo}'")
    for need in manifest.needs:
        RepoDir(Path(), need.repo).ref(need.revision)
    sizes = {}
    for entry in manifest.files:
        directory.file(manifest.commit, entry)
        directory.blob(entry)
        sizes[entry.path] = entry.size
    for file in repo.files:
        if not SHA256.fullmatch(file.sha256):
            raise BadName(f"'{file.sha256}' is no SHA-256")
        if sizes.get(file.path) != file.size:
            raise BadName(f"'{file.path}' is no file of {repo.repo}, or has another size there")


def _sha256_of(name: str, *, regular: bool) -> str | None:
    """Of a file in a bundle; None of its index. Raises BundleError for everything else."""
    found = _MEMBER.fullmatch(name)
    if not regular or (found is None and name != INDEX):
        raise BundleError(f"It holds '{name}', which has no place in a bundle.")
    return found[1] if found else None


def _everything(root: Path) -> Iterable[Path]:
    for base, folders, files in os.walk(root):
        for name in sorted([*folders, *files]):
            yield Path(base, name)
