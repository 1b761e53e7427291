"""What requests are told that a model does not serve."""

from __future__ import annotations

from backend.app.errors import Draining, ModelFailed, NotFound, Unavailable, Unloaded
from backend.app.hub.errors import DOWNLOAD_CODES, LASTING_CODES
from backend.app.models.state import Failure

RETRY_S = 5.0

_PLAIN = {
    "not_started": "its engine cannot be started.",
    "engine_crashed": "its engine ended.",
    "files_missing": "its files are not there.",
    "gpu_unreadable": "the GPUs cannot be read.",
    "disk_full": "the disk for models is full.",
    "cache_unusable": "the directory for models cannot be used.",
    "download_failed": "the download went wrong.",
    "download_stalled": "the download stood still.",
    "hub_unreachable": "the Hub cannot be reached.",
}
"""What a client is told of failures whose reasons name places on this machine, or may."""


def gone(key: str) -> NotFound:
    message = f"The model '{key}' is configured no more."
    return NotFound(message, param="model", code="model_not_found")


def shutting_down() -> Draining:
    return Draining("The gateway is shutting down.", retry_after=RETRY_S)


def unloaded(key: str) -> Unavailable:
    return Unavailable(f"The model '{key}' was unloaded meanwhile.", retry_after=RETRY_S)


def failed(key: str, failure: Failure, retry_after: float) -> ModelFailed:
    what = "could not be downloaded" if failure.code in DOWNLOAD_CODES else "has failed"
    beginning, plain = f"The model '{key}' {what}: ", _PLAIN.get(failure.code)
    return ModelFailed(
        beginning + (plain or failure.reason),
        detail=plain and beginning + failure.reason,
        code=failure.code,
        retry_after=retry_after,
        permanent=failure.code in LASTING_CODES | {"cuda_required"},
    )


def cut_off(key: str, drain_s: float, *, reloads: bool, shutdown: bool) -> Unloaded:
    """For those that outlast the drain of a model that is taken down."""
    error = Unloaded(
        f"The model '{key}' {'is loaded again' if reloads else 'was unloaded'}; this request did"
        f" not end within {drain_s:g} s (DRAIN_S).",
        retry_after=RETRY_S,
    )
    if shutdown:
        error.by = "shutdown"
    return error
