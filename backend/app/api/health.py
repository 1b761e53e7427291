"""Alive, ready, measured."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse

from backend.app.api.deps import Gate
from backend.app.api.refusals import Responses, refusals
from backend.app.errors import (
    EngineError,
    Forbidden,
    InvalidRequest,
    ModelNotFound,
    Unauthorized,
    Unavailable,
)
from backend.app.models.state import State

router = APIRouter(tags=["health"])
METRICS_LIMIT = 8 << 20
_READY: Responses = {503: {"description": "Not ready, and why."}, **refusals(ModelNotFound)}
_ENGINE = refusals(InvalidRequest, Unauthorized, Forbidden, ModelNotFound, EngineError, Unavailable)


@router.get("/healthz", operation_id="healthz")
async def healthz() -> dict[str, str]:
    """The process is alive and its event loop turns."""
    return {"status": "ok"}


@router.get("/readyz", operation_id="readyz", responses=_READY)
async def readyz(gateway: Gate, model: str | None = None) -> Response:
    """200 when requests would be served: not draining, and every model (or the one asked for)
    is ready or loadable. 503 with the reasons' codes otherwise; the status has their words."""
    registry = gateway.registry
    models = [registry.resolve(model)] if model else list(registry.serving.values())
    reasons = {m.key: why.code for m in models if (why := m.why_not())}
    body: dict[str, Any] = {
        "ready": not reasons and not gateway.draining,
        "draining": gateway.draining,
        "models": {m.key: m.state.value for m in models},
        "reasons": reasons,
    }
    return JSONResponse(body, 200 if body["ready"] else 503)


@router.get("/metrics", operation_id="metrics", responses=refusals(Unauthorized, Forbidden))
async def metrics(gateway: Gate) -> Response:
    """The gateway's own figures, for Prometheus."""
    for model in gateway.registry.models.values():
        gateway.metrics.queue_depth(model.key, model.admission.queued)
        gateway.metrics.replica_states(model.key, {r.name: r.state.value for r in model.replicas})
    content, kind = gateway.metrics.render()
    return Response(content, media_type=kind)


@router.get("/metrics/{key}", operation_id="engine_metrics", responses=_ENGINE)
async def engine_metrics(
    key: str, gateway: Gate, replica: Annotated[int, Query(ge=0)] = 0
) -> Response:
    """An engine's own figures, passed through from one of its replicas."""
    model = gateway.registry.get(key)
    ready = [r for r in model.replicas if r.state is State.READY and r.index == replica]
    if not ready or ready[0].client is None:
        raise Unavailable(f"Replica {replica} of '{key}' is not running.", retry_after=10)
    limit = gateway.settings.engine_probe_timeout_s
    answer = await ready[0].client.request("GET", "/metrics", head_timeout=limit)
    try:
        content = await answer.read(timeout=limit, limit=METRICS_LIMIT)
        if answer.status != 200:
            raise EngineError(f"The engine answered {answer.status} to /metrics.")
        return Response(content, media_type="text/plain; version=0.0.4")
    finally:
        answer.close()
