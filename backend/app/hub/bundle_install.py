"""Verifies a bundle, and lays it into the cache in the Hub's own layout, without a network."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import IO

from backend.app.hub.bundle import Bundle, BundledFile, BundledRepo, BundleError, Source
from backend.app.hub.bundle_make import READ_BYTES
from backend.app.hub.locks import locked
from backend.app.workers.hub_layout import NO_SPACE, Entry, RepoDir, digest_of
from backend.app.workers.hub_protocol import size_of

Tell = Callable[[str], None]


def verify(source: Source, bundle: Bundle) -> None:
    """Read every byte. Raises BundleError for the first file that is not what it should be."""
    for repo in bundle.repositories:
        entries = {entry.path: entry for entry in repo.manifest.files}
        for file in repo.files:
            with source.open(file.sha256) as content:
                _copy(content, file, entries[file.path], None)


def install(
    source: Source, bundle: Bundle, cache_dir: Path, *, reserve_bytes: int, tell: Tell
) -> int:
    """Lay it into the cache; how many bytes were missing there or damaged.

    A file is verified before it gets its name. A model becomes complete only when all of it is
    there: first contents, then the list, the links and at last the revision. What is there already
    is verified and kept. Raises BundleError, and Conflict while another process writes there.
    """
    missing = _missing(bundle, cache_dir)
    free = shutil.disk_usage(cache_dir).free
    if missing and free < missing + reserve_bytes:
        raise BundleError(
            f"{size_of(missing)} are to be installed in {cache_dir}, where {size_of(free)} are free"
            f" and {size_of(reserve_bytes)} are to stay so. Free some space or choose another"
            " MODEL_CACHE_DIR."
        )
    try:
        with contextlib.ExitStack() as locks:
            for name in sorted({repo.repo for repo in bundle.repositories}):
                locks.enter_context(locked(cache_dir, name))
            written = sum(_contents(source, repo, cache_dir, tell) for repo in bundle.repositories)
            for repo in reversed(bundle.repositories):  # what others refer to comes last in a list
                _show(repo, cache_dir)
    except OSError as exc:
        full = exc.errno in NO_SPACE
        reason = "the disk is full" if full else exc.strerror or str(exc)
        raise BundleError(
            f"{cache_dir} cannot be written: {reason}. What was installed is kept; install again to"
            " go on from there."
        ) from None
    return written


def _missing(bundle: Bundle, cache_dir: Path) -> int:
    missing = 0
    for repo in bundle.repositories:
        directory = RepoDir(cache_dir, repo.repo)
        entries = {entry.path: entry for entry in repo.manifest.files}
        for file in repo.files:
            blob = directory.blob(entries[file.path])
            if not blob.is_file() or blob.stat().st_size != file.size:
                missing += file.size
    return missing


def _contents(source: Source, repo: BundledRepo, cache_dir: Path, tell: Tell) -> int:
    directory = RepoDir(cache_dir, repo.repo)
    directory.blobs.mkdir(parents=True, exist_ok=True)
    entries = {entry.path: entry for entry in repo.manifest.files}
    written = 0
    for file in repo.files:
        entry = entries[file.path]
        blob = directory.blob(entry)
        if _intact(blob, file, entry):
            continue
        tell(f"  {repo.repo} {file.path} {size_of(file.size)}")
        draft = blob.with_name(f"{blob.name}.{secrets.token_hex(4)}.incomplete")
        try:
            with source.open(file.sha256) as content, draft.open("xb") as place:
                _copy(content, file, entry, place)
                place.flush()
                os.fsync(place.fileno())
            os.replace(draft, blob)
        finally:
            draft.unlink(missing_ok=True)
        written += file.size
    return written


def _show(repo: BundledRepo, cache_dir: Path) -> None:
    """Let snapshot and revision show what is there by now."""
    directory, commit = RepoDir(cache_dir, repo.repo), repo.manifest.commit
    directory.keep(repo.manifest)
    entries = {entry.path: entry for entry in repo.manifest.files}
    for file in repo.files:
        directory.link(commit, entries[file.path])
    directory.point(repo.revision, commit)


def _intact(blob: Path, file: BundledFile, entry: Entry) -> bool:
    try:
        with blob.open("rb") as content:
            _copy(content, file, entry, None)
    except (FileNotFoundError, BundleError):
        return False
    return True


def _copy(content: IO[bytes], file: BundledFile, entry: Entry, place: IO[bytes] | None) -> None:
    """Copy and check: SHA-256, length, and the hash that the blob is named by."""
    sha256, own, length = hashlib.sha256(), digest_of(entry), 0
    while chunk := content.read(READ_BYTES):
        length += len(chunk)
        sha256.update(chunk)
        if own is not None and entry.etag != file.sha256:
            own.update(chunk)
        if place is not None:
            place.write(chunk)
    right = own is None or entry.etag == file.sha256 or own.hexdigest() == entry.etag
    if length != file.size or sha256.hexdigest() != file.sha256 or not right:
        raise BundleError(
            f"{file.path} is not what its checksum says: the bundle was damaged on its way. Copy it"
            " again. Nothing of this file was installed."
        )
