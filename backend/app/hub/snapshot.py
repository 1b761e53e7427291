"""What is there of a repository in the cache, told from the disk alone."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path

import msgspec

from backend.app.workers.hub_layout import Entry, Manifest, RepoDir, Want


class FilesState(str, enum.Enum):
    NONE = "none"
    PARTIAL = "partial"
    COMPLETE = "complete"


@dataclass(frozen=True)
class FilesStatus:
    """What is there of a model or a repository. Bytes and files are those that the model needs."""

    state: FilesState
    bytes: int
    total_bytes: int | None
    """None when the list of files is not known: it was brought here by another tool."""
    files: int
    commit: str | None


def status_of(directory: RepoDir, want: Want) -> FilesStatus:
    """What is there of one repository at the revision wanted."""
    commit = directory.commit_of(want.revision)
    manifest = directory.manifest(commit) if commit else directory.newest_manifest()
    if manifest is None and commit is not None:
        manifest = tree_of(directory, commit)
    if manifest is None:
        return _foreign(directory, want, commit)
    entries = want.select(manifest.files)
    sizes = [directory.bytes_on_disk(manifest.commit, entry) for entry in entries]
    there = [e for e in entries if directory.has(manifest.commit, e)]
    whole = commit is not None and len(there) == len(entries) and not want.unmatched(entries)
    state = FilesState.PARTIAL if any(sizes) or there else FilesState.NONE
    return FilesStatus(
        FilesState.COMPLETE if whole else state,
        bytes=sum(sizes),
        total_bytes=sum(entry.size for entry in entries),
        files=len(there),
        commit=manifest.commit,
    )


class _Leaf(msgspec.Struct):
    size: int
    blob_id: str
    lfs_sha256: str | None = None
    lfs_size: int | None = None


class _Tree(msgspec.Struct):
    format_version: int
    files: dict[str, _Leaf]


def tree_of(directory: RepoDir, commit: str) -> Manifest | None:
    """The list of files that huggingface_hub itself keeps, since 2.4."""
    try:
        content = (directory.root / "trees" / f"{commit}.json").read_bytes()
        tree = msgspec.json.decode(content, type=_Tree)
    except (OSError, msgspec.DecodeError):
        return None
    if tree.format_version != 1:
        return None
    files = (
        Entry(path, f.lfs_size if f.lfs_size is not None else f.size, f.lfs_sha256 or f.blob_id)
        for path, f in tree.files.items()
    )
    return Manifest(directory.repo, commit, tuple(files))


def _foreign(directory: RepoDir, want: Want, commit: str | None) -> FilesStatus:
    """Brought here by a tool that left no list: whole as far as one can see."""
    base = directory.snapshot(commit) if commit else directory.root / "snapshots"
    found, broken = [], False
    for path in base.glob("**/*"):
        if path.is_file():
            found.append(Entry(path.relative_to(base).as_posix(), path.stat().st_size, "-"))
        elif path.is_symlink():
            broken = True
    needed = want.select(found)
    if not needed:
        return FilesStatus(FilesState.NONE, 0, None, 0, commit)
    whole = (
        commit is not None
        and not broken
        and want.unmatched(needed) is None
        and not any(directory.blobs.glob("*.incomplete"))
        and all(_shards_there(base, entry) for entry in needed)
    )
    return FilesStatus(
        FilesState.COMPLETE if whole else FilesState.PARTIAL,
        bytes=sum(entry.size for entry in needed),
        total_bytes=None,
        files=len(needed),
        commit=commit,
    )


class _Index(msgspec.Struct):
    weight_map: dict[str, str]


def _shards_there(base: Path, entry: Entry) -> bool:
    """An index of weights names the files that they are spread over."""
    if not entry.path.endswith(".safetensors.index.json"):
        return True
    index = base / entry.path
    try:
        shards = msgspec.json.decode(index.read_bytes(), type=_Index).weight_map.values()
    except (OSError, msgspec.DecodeError):
        return False
    return all((index.parent / shard).is_file() for shard in set(shards))
