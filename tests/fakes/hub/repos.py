"""Repositories of the fake Hub: directories seen as one commit each."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LFS_SUFFIXES = {".safetensors", ".bin", ".nemo", ".npz"}
POINTER_BYTES = 134


@dataclass(frozen=True)
class File:
    name: str
    path: Path
    size: int
    blob_id: str
    sha256: str | None
    """Of files in LFS only."""

    @property
    def etag(self) -> str:
        return self.sha256 or self.blob_id

    def sibling(self) -> dict[str, Any]:
        """As `model_info(files_metadata=True)` lists it."""
        out: dict[str, Any] = {
            "rfilename": self.name,
            "size": self.size,
            "blobId": self.blob_id,
        }
        if self.sha256:
            lfs = {"sha256": self.sha256, "size": self.size, "pointerSize": POINTER_BYTES}
            out["lfs"] = lfs
        return out

    def leaf(self) -> dict[str, Any]:
        """As the tree of a repository lists it."""
        out: dict[str, Any] = {
            "type": "file",
            "path": self.name,
            "size": self.size,
            "oid": self.blob_id,
        }
        if self.sha256:
            lfs = {"oid": self.sha256, "size": self.size, "pointerSize": POINTER_BYTES}
            out["lfs"] = lfs
        return out


class Repos:
    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: dict[tuple[str, int, int], tuple[str, str]] = {}

    def files(self, repo: str) -> list[File] | None:
        """None when there is no such repository."""
        base = self._root / repo
        if repo.count("/") != 1 or not base.is_dir():
            return None
        paths = sorted(path for path in base.rglob("*") if path.is_file())
        return [self._file(base, path) for path in paths]

    def file(self, repo: str, name: str) -> File | None:
        return next((file for file in self.files(repo) or [] if file.name == name), None)

    def commit(self, repo: str) -> str:
        listing = repr([(f.name, f.etag) for f in self.files(repo) or []])
        return hashlib.sha1((repo + listing).encode(), usedforsecurity=False).hexdigest()

    def _file(self, base: Path, path: Path) -> File:
        sha1, sha256 = self._hashes(path)
        lfs = path.suffix in LFS_SUFFIXES
        name = path.relative_to(base).as_posix()
        return File(name, path, path.stat().st_size, sha1, sha256 if lfs else None)

    def _hashes(self, path: Path) -> tuple[str, str]:
        """(git's SHA-1, SHA-256)"""
        found = path.stat()
        key = (str(path), found.st_size, found.st_mtime_ns)
        if key not in self._known:
            sha1 = hashlib.sha1(b"blob %d\0" % found.st_size, usedforsecurity=False)
            sha256 = hashlib.sha256()
            with path.open("rb") as file:
                while chunk := file.read(1 << 20):
                    sha1.update(chunk)
                    sha256.update(chunk)
            self._known[key] = sha1.hexdigest(), sha256.hexdigest()
        return self._known[key]
