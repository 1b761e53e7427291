"""GET /api/admin/logs: the gateway's own last lines."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query

from backend.app.api.admin.schemas import LogEntry
from backend.app.api.deps import Gate
from backend.app.setting_types import LogLevel

router = APIRouter()


@router.get("/logs", operation_id="gateway_logs", response_model=list[LogEntry])
async def gateway_logs(
    gateway: Gate,
    limit: Annotated[int, Query(ge=1, le=5000)] = 200,
    after: Annotated[int, Query(ge=0, description="Only lines above this id.")] = 0,
    level: LogLevel = "debug",
    contains: str = "",
    request_id: str | None = None,
) -> list[dict[str, Any]]:
    """Newest last. An engine's are at /api/admin/models/{key}/logs."""
    found = gateway.logs.entries(
        limit, after=after, level=level, contains=contains, request_id=request_id
    )
    return [asdict(entry) for entry in found]
