"""Makes a bundle of models that are complete in the cache."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import secrets
import shutil
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import msgspec

from backend.app import COMMAND
from backend.app.hub.bundle import (
    FILES,
    INDEX,
    Bundle,
    BundledFile,
    BundledRepo,
    BundleError,
    encode,
)
from backend.app.hub.files import HubFiles
from backend.app.hub.snapshot import tree_of
from backend.app.workers.hub_layout import (
    NO_SPACE,
    SHA256,
    Entry,
    Manifest,
    RepoDir,
    Want,
    digest_of,
)
from backend.app.workers.hub_protocol import size_of

READ_BYTES = 1 << 20
Tell = Callable[[str], None]


class Contents:
    """What a bundle is made of: the list, and where each file of it lies."""

    def __init__(self, bundle: Bundle, places: Mapping[str, Path]) -> None:
        self.bundle = bundle
        self.places = places

    @property
    def size(self) -> int:
        return sum(self.bundle.contents.values())


def collect(gateway: str, cache_dir: Path, models: Mapping[str, HubFiles], tell: Tell) -> Contents:
    """Everything that `models` (by key) need. Raises BundleError when one is not complete."""
    for key, files in models.items():
        if files.path() is None:
            status = files.status()
            there = size_of(status.bytes)
            if status.total_bytes:
                there += f" of {size_of(status.total_bytes)}"
            raise BundleError(
                f"{key} is not complete in {cache_dir} ({there}). Download it first:"
                f" {COMMAND} download {key}"
            )
    repos: dict[tuple[str, str | None], BundledRepo] = {}
    places: dict[str, Path] = {}
    for key, files in models.items():
        wants = files.wants()
        tell(f"{key}: {', '.join(want.repo for want in wants)}")
        for want in wants:
            found = _repository(RepoDir(cache_dir, want.repo), want, wants[1:], places)
            other = repos.get((want.repo, want.revision))
            repos[want.repo, want.revision] = _merged(found, other) if other else found
    named = {key: files.repos for key, files in models.items()}
    return Contents(Bundle(gateway, named, tuple(repos.values())), places)


def write(contents: Contents, out: Path, tell: Tell) -> str:
    """Write it to `out`: a tar when its name ends so, else a directory; all of it or nothing.

    Returns the fingerprint. Raises BundleError.
    """
    out = out.absolute()
    if out.exists():
        raise BundleError(f"{out} exists. Remove it, or give the bundle another name.")
    draft = out.with_name(f".{out.name}.{secrets.token_hex(4)}")
    index = encode(contents.bundle)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(out.parent).free
        if free < contents.size:
            raise BundleError(
                f"The bundle takes {size_of(contents.size)}, and {size_of(free)} are free on the"
                f" disk of {out.parent}."
            )
        _write(contents, index, draft, out.suffix == ".tar", tell)
        os.rename(draft, out)
    except OSError as exc:
        full = exc.errno in NO_SPACE
        reason = "the disk is full" if full else exc.strerror or str(exc)
        raise BundleError(f"{out} cannot be written: {reason}. Nothing was left behind.") from None
    finally:
        if draft.is_dir():
            shutil.rmtree(draft, ignore_errors=True)
        with contextlib.suppress(OSError):
            draft.unlink()
    return hashlib.sha256(index).hexdigest()


# ---- collecting ---------------------------------------------------------------------------------


def _repository(
    directory: RepoDir, want: Want, needs: tuple[Want, ...], places: dict[str, Path]
) -> BundledRepo:
    commit = directory.commit_of(want.revision)
    assert commit is not None  # it is complete
    manifest = directory.manifest(commit) or tree_of(directory, commit) or _seen(directory, commit)
    if want.follow:
        manifest = msgspec.structs.replace(manifest, needs=needs)
    files = []
    for entry in want.select(manifest.files):
        place = directory.file(commit, entry)
        sha256 = entry.etag if SHA256.fullmatch(entry.etag) else _hash(place, entry, directory.repo)
        places[sha256] = place
        files.append(BundledFile(entry.path, entry.size, sha256))
    return BundledRepo(directory.repo, want.revision, manifest, tuple(files))


def _seen(directory: RepoDir, commit: str) -> Manifest:
    """What lies there of a commit that another tool brought, without a list."""
    base = directory.snapshot(commit)
    entries = []
    for path in sorted(p for p in base.rglob("*") if p.is_file()):
        blob = path.resolve()
        etag = blob.name if blob.parent == directory.blobs.resolve() else _sha256(path)
        name = path.relative_to(base).as_posix()
        entries.append(Entry(name, path.stat().st_size, etag))
    return Manifest(directory.repo, commit, tuple(entries))


def _merged(one: BundledRepo, other: BundledRepo) -> BundledRepo:
    """Two models may want different files of one repository."""
    files = {file.path: file for file in (*other.files, *one.files)}
    manifest = one.manifest if one.manifest.needs else other.manifest
    return BundledRepo(one.repo, one.revision, manifest, tuple(files.values()))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while chunk := file.read(READ_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _hash(path: Path, entry: Entry, repo: str) -> str:
    """SHA-256 of a file that its repository knows by another hash, which is checked here."""
    sha256, own = hashlib.sha256(), digest_of(entry)
    with path.open("rb") as file:
        while chunk := file.read(READ_BYTES):
            sha256.update(chunk)
            if own is not None:
                own.update(chunk)
    if own is not None and own.hexdigest() != entry.etag:
        raise _damaged(entry.path, repo)
    return sha256.hexdigest()


def _damaged(path: str, repo: str) -> BundleError:
    return BundleError(
        f"{path} of {repo} is damaged in the cache. Download the model again: that repairs it."
    )


# ---- writing ------------------------------------------------------------------------------------


def _write(contents: Contents, index: bytes, draft: Path, tar: bool, tell: Tell) -> None:
    put = _tar(draft, index) if tar else _directory(draft, index)
    done: set[str] = set()
    with put as add:
        for repo in contents.bundle.repositories:
            for file in repo.files:
                if file.sha256 in done:
                    continue
                done.add(file.sha256)
                tell(f"  {repo.repo} {file.path} {size_of(file.size)}")
                with contents.places[file.sha256].open("rb") as source:
                    reader = _Hashing(source)
                    add(file, reader)
                if reader.digest.hexdigest() != file.sha256:
                    raise _damaged(file.path, repo.repo)


class _Hashing:
    """Hashes what is read through it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def read(self, size: int = READ_BYTES) -> bytes:
        chunk = self._file.read(size)
        self.digest.update(chunk)
        return chunk


Add = Callable[[BundledFile, Any], None]


@contextlib.contextmanager
def _tar(draft: Path, index: bytes) -> Iterator[Add]:
    with (
        draft.open("xb") as raw,
        tarfile.open(fileobj=raw, mode="w") as archive,
    ):

        def add(name: str, size: int, source: Any) -> None:
            member = tarfile.TarInfo(name)  # no owner, no time: the same models, the same bundle
            member.size = size
            archive.addfile(member, source)

        add(INDEX, len(index), io.BytesIO(index))
        yield lambda file, source: add(FILES + file.sha256, file.size, source)
        archive.close()
        raw.flush()
        os.fsync(raw.fileno())


@contextlib.contextmanager
def _directory(draft: Path, index: bytes) -> Iterator[Add]:
    (draft / FILES).mkdir(parents=True)

    def add(file: BundledFile, source: Any) -> None:
        with (draft / FILES / file.sha256).open("xb") as place:
            shutil.copyfileobj(source, place, READ_BYTES)
            place.flush()
            os.fsync(place.fileno())

    (draft / INDEX).write_bytes(index)
    yield add
