"""GET /api/admin/events: a snapshot, then every change, resumable."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header
from fastapi.responses import StreamingResponse

from backend.app.api.deps import Gate

router = APIRouter()


@router.get("/events", operation_id="admin_events", response_class=StreamingResponse)
async def events(
    gateway: Gate, last_event_id: Annotated[int | None, Header()] = None
) -> StreamingResponse:
    """Server-sent events. With `Last-Event-ID` it resumes where a broken connection left off."""
    frames = gateway.events.subscribe(last_event_id).frames(gateway.settings.sse_keepalive_s)
    return StreamingResponse(
        frames,
        media_type="text/event-stream",
        headers={"cache-control": "no-cache", "x-accel-buffering": "no"},
    )
