"""What the status shows of a model, as plain JSON values."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from backend.app.models.change import shown
from backend.app.models.runtime import failure_json, progress_json
from backend.app.models.state import State

if TYPE_CHECKING:
    from backend.app.models.base import BaseModelWrapper
    from backend.app.models.replica import Replica


def snapshot(model: BaseModelWrapper) -> dict[str, Any]:
    """One entry of `models` in `GET /api/admin/status`; also the payload of its events."""
    spec, runtime, state = model.spec, model.runtime, model.state.value
    return {
        "key": spec.key,
        "kind": spec.kind.value,
        "source": spec.source,
        "demo": spec.demo,
        "waiting": list(shown(model.configuration.waiting)),
        "names": list(spec.names),
        "state": state,
        "preferred_device_ids": list(model.preferred_device_ids),
        "pinned": spec.pin,
        **traffic(model),
        "load_seconds": model.supervisor.load_seconds,
        "runtime": {
            "state": state,
            "progress": progress_json(model.progress),
            "status": runtime.status,
            "details": dict(runtime.details),
            "server": [str(r.engine.address) for r in model.replicas if r.engine],
            "downloaded": model.downloaded,
            "files": model.files.files,
            "files_stale": model.files.stale,
            "last_error": failure_json(runtime.last_error),
            "updated_at": runtime.updated_at,
            "timeline": [vars(action) for action in runtime.timeline],
        },
        "replicas": [_replica(model, replica) for replica in model.replicas],
        "receipt": vars(model.supervisor.receipt) if model.supervisor.receipt else None,
    }


def traffic(model: BaseModelWrapper) -> dict[str, Any]:
    """What changes too often for an event each: `machine` events bring it."""
    left = model.supervisor.idle_left_s if model.state is State.READY else None
    return {
        "in_flight": model.in_flight,
        "queued": model.admission.queued,
        "idle_unload_at": None if left is None else time.time() + left,
    }


def _replica(model: BaseModelWrapper, replica: Replica) -> dict[str, Any]:
    memory = model.placer.meter.memory(replica.name)
    return {
        "name": replica.name,
        "state": replica.state.value,
        "gpu_ids": list(replica.grant.gpu_ids) if replica.grant else [],
        "memory": asdict(memory) if memory else None,
        "in_flight": replica.in_flight,
        "restarts": replica.restarts,
        "since": replica.since,
        "loading_since": replica.loading_since,
        "progress": progress_json(replica.progress),
        "failure": failure_json(replica.failure),
        "argv": list(replica.engine.argv) if replica.engine else [],
    }
