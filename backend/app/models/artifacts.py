"""A model's files in the Hub cache, in the words of the model rooms."""

from __future__ import annotations

from collections.abc import Callable

from backend.app.hub import patterns
from backend.app.hub.cache import HFCacheManager
from backend.app.hub.files import HubFiles
from backend.app.hub.local import LocalFiles
from backend.app.models.contracts import Artifacts
from backend.app.models.spec import Kind, ModelSpec
from backend.app.models.state import Phase, Progress
from backend.app.workers.hub_layout import Want
from backend.app.workers.hub_protocol import Transfer

_WANTED = {
    Kind.CHAT: patterns.chat,
    Kind.EMBEDDING: patterns.chat,
    Kind.ASR: patterns.nemo,
    Kind.DIARIZATION: patterns.pyannote,
}


def wanted(spec: ModelSpec) -> Want:
    """What a model that comes from the Hub needs of its repository."""
    return _WANTED[spec.kind](spec.source, spec.revision)


def artifacts_of(spec: ModelSpec, hub: HFCacheManager) -> Artifacts:
    """Where a model's files come from: a path, or a repository of which only some are needed."""
    if spec.local:
        return LocalFiles(spec.source)
    return HubArtifacts(hub, hub.artifacts(wanted(spec)))


class HubArtifacts:
    """Implements `Artifacts`."""

    def __init__(self, hub: HFCacheManager, files: HubFiles) -> None:
        self._hub = hub
        self._files = files

    def has_any(self) -> bool:
        return self._files.has_any()

    def path(self) -> str | None:
        return self._files.path()

    def release(self) -> None:
        self._hub.release(self._files)

    async def fetch(self, on_progress: Callable[[Progress], None]) -> None:
        await self._files.fetch(lambda transfer: on_progress(as_progress(transfer)))


def as_progress(transfer: Transfer) -> Progress:
    """Bytes, rate and estimate of a download; what it does and which file as detail."""
    words = (transfer.action, transfer.file, transfer.note)
    return Progress(
        Phase.DOWNLOADING,
        " ".join(word for word in words if word),
        done=transfer.done if transfer.total else None,
        total=transfer.total or None,
        rate=transfer.rate,
        eta=transfer.eta,
    )
