"""GET /api/admin/events: a snapshot, then every change, resumable."""

from __future__ import annotations

import contextlib
from typing import Annotated

from fastapi import APIRouter, Header
from fastapi.responses import StreamingResponse

from backend.app.api.deps import Gate

router = APIRouter()


@router.get("/events", operation_id="admin_events", response_class=StreamingResponse)
async def events(
    gateway: Gate, last_event_id: Annotated[str | None, Header()] = None
) -> StreamingResponse:
    """Server-sent events. With `Last-Event-ID` it resumes where a broken connection left off."""
    await gateway.registry.look()
    seen = None
    with contextlib.suppress(ValueError):  # an EventSource never comes back after a 400
        seen = int(last_event_id or "")
    frames = gateway.events.subscribe(seen).frames(gateway.settings.sse_keepalive_s)
    return StreamingResponse(
        frames,
        media_type="text/event-stream",
        headers={"cache-control": "no-cache", "x-accel-buffering": "no"},
    )
