"""Which files a download is about: asked of the Hub, noted in our manifest, followed further."""

from __future__ import annotations

import fcntl
import importlib
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, get_hf_file_metadata, hf_hub_url
from huggingface_hub.hf_api import ModelInfo

from backend.app.workers.download_errors import Failure
from backend.app.workers.hub_layout import (
    COMMIT,
    BadName,
    Entry,
    Manifest,
    RepoDir,
    Want,
    lock_path,
)

REFERENCE = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")
PARTS = ("segmentation", "embedding", "plda")
"""Parameters of a pyannote pipeline that name a model."""
DEFAULT_PART = "pyannote/speaker-diarization-community-1"
"""Where pyannote.audio 4 takes the parts from that a SpeakerDiarization pipeline does not name."""
PIPELINE = "config.yaml"
MODEL_FILES = ("*.yaml", "*.bin", "*.npz", "*.safetensors", "*.onnx", "*.ckpt")

yaml: Any = importlib.import_module("yaml")


class Planned:
    """One repository of the download, with its folder and the commit it is about."""

    def __init__(self, want: Want, directory: RepoDir, manifest: Manifest) -> None:
        self.want = want
        self.directory = directory
        self.commit = manifest.commit
        self.manifest = manifest
        self.entries = want.select(manifest.files)


def lock(cache_dir: Path, repo: str, wait: Callable[[str], None]) -> int:
    """Be the only one who downloads this repository, here or in another process.

    `wait` is called now and then until the lock is had; it goes with the descriptor returned.
    """
    path = lock_path(cache_dir, repo)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            wait(f"another process is downloading {repo}")
        except OSError:  # a file system without locks: two at once then cost bandwidth, no more,
            return descriptor  # because what they wrote together fails its checksum


class Lister:
    """Asks the Hub what a revision consists of."""

    def __init__(self, endpoint: str | None, token: str | None, timeout_s: float) -> None:
        self._token: str | bool = token or False  # never one that huggingface_hub finds itself
        self._endpoint = endpoint
        self._timeout_s = timeout_s
        self._api = HfApi(endpoint=endpoint, token=self._token)

    def manifest(self, want: Want) -> Manifest:
        """Raises what huggingface_hub raises, and BadName for names that fit no path."""
        info = self._api.model_info(
            want.repo, revision=want.revision, timeout=self._timeout_s, files_metadata=True
        )
        if not info.sha or not COMMIT.fullmatch(info.sha):
            raise BadName(f"'{info.sha}' is no commit")
        return Manifest(want.repo, info.sha, tuple(self._entries(want.repo, info)))

    def _entries(self, repo: str, info: ModelInfo) -> list[Entry]:
        entries = []
        for file in info.siblings or []:
            etag = file.lfs.sha256 if file.lfs else file.blob_id
            size = file.lfs.size if file.lfs else file.size
            if etag is None or size is None:  # a mirror that does not list them
                etag, size = self._ask(repo, file.rfilename, str(info.sha))
            entries.append(Entry(file.rfilename, size, etag))
        return entries

    def _ask(self, repo: str, name: str, commit: str) -> tuple[str, int]:
        url = hf_hub_url(repo, name, revision=commit, endpoint=self._endpoint)
        found = get_hf_file_metadata(url, token=self._token, timeout=self._timeout_s)
        if found.etag is None or found.size is None:
            raise BadName(f"the Hub tells no size or hash of '{name}'")
        return found.etag, found.size


def plan(want: Want, cache_dir: Path, listing: Callable[[], Manifest]) -> tuple[Planned, bool]:
    """List it and note the list. True: the Hub cannot be reached, but all of it is here already.

    Raises Failure.
    """
    try:
        directory = RepoDir(cache_dir, want.repo)
        kept = _complete(want, directory)
        try:
            manifest = listing()
        except Failure as failure:
            if failure.code == "hub_unreachable" and kept is not None:
                return Planned(want, directory, kept), True
            raise
        planned = Planned(want, directory, manifest)
        for entry in manifest.files:
            directory.file(manifest.commit, entry)
            directory.blob(entry)
    except BadName as exc:
        raise Failure("bad_repository", f"{want.repo}: {exc}.") from None
    missing = want.unmatched(planned.entries)
    if missing is not None:
        raise Failure(
            "nothing_to_load",
            f"{want.repo} has no file {missing}: it does not hold a model of the kind wanted.",
        )
    directory.keep(manifest)
    return planned, False


def _complete(want: Want, directory: RepoDir) -> Manifest | None:
    commit = directory.commit_of(want.revision)
    manifest = directory.manifest(commit) if commit else None
    if manifest is None:
        return None
    whole = all(directory.has(manifest.commit, e) for e in want.select(manifest.files))
    return manifest if whole else None


def references(config: Path) -> tuple[Want, ...]:
    """The repositories that a pyannote pipeline's config.yaml names, or takes when it names none.

    Raises Failure when the file makes no sense.
    """
    try:
        pipeline = yaml.safe_load(config.read_text(encoding="utf-8"))["pipeline"]
        params = pipeline.get("params") or {}
        if not isinstance(params, Mapping):
            raise TypeError(params)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError):
        raise Failure(
            "bad_repository", f"{PIPELINE} describes no pyannote pipeline; download it again."
        ) from None
    wants: dict[str, Want] = {}
    whole = str(pipeline.get("name", "")).rpartition(".")[2] == "SpeakerDiarization"
    for name in PARTS:
        value = params.get(name)
        if value is None and whole:
            value = {"checkpoint": DEFAULT_PART, "subfolder": name}
        try:
            want = _reference(value)
        except BadName as exc:
            raise Failure("bad_repository", f"{PIPELINE}, {name}: {exc}.") from None
        if want is not None:
            known = wants.get(want.repo)
            allow = (*known.allow, *want.allow) if known else want.allow
            wants[want.repo] = Want(want.repo, want.revision, allow=tuple(dict.fromkeys(allow)))
    return tuple(wants.values())


def _reference(value: object) -> Want | None:
    """A parameter is `owner/name`, `owner/name@revision`, or a mapping; `$model/…` is no other."""
    subfolder = revision = None
    if isinstance(value, Mapping):
        subfolder, revision = value.get("subfolder"), value.get("revision")
        value = value.get("checkpoint")
    if not isinstance(value, str) or value.startswith("$"):
        return None
    found = REFERENCE.fullmatch(value)
    if found is None:
        return None
    allow = (f"{subfolder}/*",) if subfolder else MODEL_FILES
    named = found["revision"] or revision
    return Want(found["repo"], None if named is None else str(named), allow=allow)
