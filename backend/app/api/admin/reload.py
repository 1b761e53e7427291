"""POST /api/admin/models/reload: read the configuration of the models again and apply it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from backend.app.api.deps import Gate
from backend.app.api.refusals import refusals
from backend.app.config import ConfigError
from backend.app.errors import InvalidRequest, Unavailable
from backend.app.models.change import What

router = APIRouter(prefix="/models", responses=refusals(Unavailable))


class ModelChange(BaseModel):
    key: str
    change: What
    fields: list[str] = Field(description="What is different, by the names of MODELS_FILE.")
    waiting: list[str] = Field(description="What needs an engine restart to be in force.")
    detail: str


class Reloaded(BaseModel):
    file: str | None = Field(description="MODELS_FILE; null: there is none.")
    models: list[ModelChange]


@router.post("/reload", operation_id="reload_models", response_model=Reloaded)
async def reload_models(
    gateway: Gate,
    restart: Annotated[
        bool, Query(description="Drain and load again what needs an engine restart.")
    ] = False,
    wait: Annotated[bool, Query(description="Answer when all of it is done.")] = False,
) -> Any:
    """Read MODELS_FILE again. Unchanged models go on undisturbed; a file that is wrong changes
    nothing and is a 400 that names each wrong line."""
    limits = gateway.settings
    wait_s = limits.engine_start_s + limits.engine_proof_s + limits.drain_s if wait else None
    try:
        changes = await gateway.reload(restart=restart, wait_s=wait_s)
    except ConfigError as exc:
        raise InvalidRequest(str(exc), code="wrong_models_file") from None
    return {
        "file": str(limits.models_file) if limits.models_file else None,
        "models": [vars(change) for change in changes],
    }
