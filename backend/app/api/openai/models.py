"""GET /v1/models: every name a client may use."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from backend.app.api.deps import Gate
from backend.app.api.refusals import refusals
from backend.app.errors import ModelNotFound, Unauthorized
from backend.app.models.base import BaseModelWrapper

router = APIRouter(tags=["models"], responses=refusals(Unauthorized, ModelNotFound))
CREATED = 1_700_000_000
"""OpenAI's field wants a date; models by configuration have none that means anything."""


def entry(name: str, model: BaseModelWrapper) -> dict[str, Any]:
    """OpenAI's model object; `state`, `kind`, `demo` and `root` are ours."""
    return {
        "id": name,
        "object": "model",
        "created": CREATED,
        "owned_by": "demo" if model.spec.demo else model.spec.source.split("/")[0] or "local",
        "root": model.key,
        "kind": model.spec.kind.value,
        "state": model.state.value,
        "demo": model.spec.demo,
    }


@router.get("/v1/models", operation_id="list_models")
async def list_models(gateway: Gate) -> dict[str, Any]:
    """All models, under each of their names."""
    return {
        "object": "list",
        "data": [entry(name, model) for name, model in gateway.registry.names()],
    }


@router.get("/v1/models/{model_id:path}", operation_id="retrieve_model")
async def retrieve_model(model_id: str, gateway: Gate) -> dict[str, Any]:
    """One model by any of its names, slashes included."""
    return entry(model_id, gateway.registry.resolve(model_id))
