"""What routes need, handed to them by the composition root."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request
from starlette.types import Scope

from backend.app.admin_key import GeneratedKey
from backend.app.auth import caller_of
from backend.app.config import Settings
from backend.app.engines.launcher import Launcher
from backend.app.errors import Draining
from backend.app.events import EventBus
from backend.app.gpu.monitor import GPUMonitor
from backend.app.hub.cache import HFCacheManager
from backend.app.logs import LogRing
from backend.app.metrics import Metrics
from backend.app.middleware import request_id_of
from backend.app.models.change import Change
from backend.app.models.placer import Placer
from backend.app.models.registry import ModelRegistry
from backend.app.models.reload import Reloader
from backend.app.services.activity import Activity, Record
from backend.app.services.dependency_inspector import DependencyInspector
from backend.app.services.makers import Makers
from backend.app.services.media_fetch import MediaFetcher

LAST_WORDS_S = 2.0
"""How long those that are cut off may take to be told so."""


@dataclass
class Gateway:
    """The rooms of one running gateway."""

    settings: Settings
    registry: ModelRegistry
    launcher: Launcher
    reloader: Reloader
    activity: Activity
    metrics: Metrics
    events: EventBus
    media: MediaFetcher
    makers: Makers
    model_set: str
    model_set_reason: str
    cache_dir: Path
    monitor: GPUMonitor
    dependencies: DependencyInspector
    placer: Placer
    hub: HFCacheManager
    logs: LogRing
    admin_key: GeneratedKey | None = None
    draining: bool = False

    async def reload(self, *, restart: bool = False, wait_s: float | None = None) -> list[Change]:
        """See `Reloader.reload`. Raises Draining when there is no more to come."""
        if self.draining:
            raise Draining("The gateway is shutting down.", retry_after=5)
        return await self.reloader.reload(restart=restart, wait_s=wait_s)

    async def drain(self) -> None:
        """Refuse new work, wait for what runs, and end with an error what outlasts DRAIN_S."""
        self.draining = True
        self.events.close()
        self.registry.turn_away()
        if await self.activity.quiet(self.settings.drain_s):
            return
        await self._cut_off()

    async def abandon(self) -> None:
        """Wait for nothing any more: end with an error what still runs, kill the engines."""
        await self._cut_off()
        await self.launcher.close()

    async def _cut_off(self) -> None:
        for record in self.activity.in_flight():
            record.cancel("shutdown")
        await self.activity.quiet(LAST_WORDS_S)


async def get_gateway(request: Request) -> Gateway:
    """Async, because FastAPI would run a plain function in a thread, for each request."""
    gateway: Gateway = request.app.state.gateway
    return gateway


Gate = Annotated[Gateway, Depends(get_gateway)]


def begin(gateway: Gateway, scope: Scope, model: str, route: str, *, stream: bool) -> Record:
    """The record of a request to a model. Raises Draining when no new work is taken."""
    if gateway.draining:
        raise Draining("The gateway is shutting down.", retry_after=5)
    caller = caller_of(scope)
    return gateway.activity.begin(model, route, caller.label, request_id_of(scope), stream)
