"""What is being answered and what was: counts and times, no prompts unless KEEP_CONTENT."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from backend.app.api.admin.schemas import Requests
from backend.app.api.deps import Gate
from backend.app.api.refusals import refusals
from backend.app.errors import NotFound
from backend.app.services.activity import Outcome

router = APIRouter(prefix="/requests")


@router.get("", operation_id="requests", response_model=Requests)
async def requests(
    gateway: Gate,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    model: str | None = None,
    outcome: Outcome | None = None,
    request_id: str | None = None,
) -> dict[str, list[dict[str, Any]]]:
    """Those in flight, and the newest that have ended."""
    activity = gateway.activity
    recent = activity.recent(limit, model=model, outcome=outcome, request_id=request_id)
    return {
        "in_flight": [record.snapshot() for record in activity.in_flight()],
        "recent": [record.snapshot() for record in recent],
    }


@router.post(
    "/{request_id:path}/cancel", operation_id="cancel_request", responses=refusals(NotFound)
)
async def cancel_request(request_id: str, gateway: Gate) -> dict[str, str]:
    """Stop a request in flight; its client is told that an operator did it."""
    if not gateway.activity.cancel(request_id):
        raise NotFound(f"No request '{request_id}' is in flight.", param="request_id")
    return {"cancelled": request_id}
