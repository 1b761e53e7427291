"""The dashboard's static files at `/`, or a page that says how to get them."""

from __future__ import annotations

import html
import logging
from pathlib import Path

from fastapi import APIRouter, FastAPI
from fastapi.responses import HTMLResponse
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from backend.app.config import Settings, is_explicit

log = logging.getLogger(__name__)

BUILT_HERE = Path(__file__).resolve().parents[3] / "frontend" / "dist"
PAGES = ("models", "playground", "audio", "activity", "reference")
"""Addresses that the dashboard's own router knows; all of them are `index.html`."""
HASHED = "assets/"
"""Below this a file's name holds a digest of what is in it."""

_MISSING = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Gateway</title>
<body><h1>The gateway is running</h1>
<p>The dashboard has not been built: <code>{path}</code> holds no <code>index.html</code>.</p>
<p>Build it with <code>npm ci &amp;&amp; npm run build</code> in <code>frontend/</code>, or set
<code>FRONTEND_DIST</code> to a build.</p>
<p>The API works without it: <a href="/v1/models">/v1/models</a>, <a href="/docs">/docs</a>,
<a href="/readyz">/readyz</a>.</p></body></html>
"""


class Dashboard(StaticFiles):
    """The build. What it does not have is a 404, never a page."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response("index.html" if path in PAGES else path, scope)
        hashed = path.startswith(HASHED) and response.status_code in (200, 304)
        response.headers["cache-control"] = (
            "public, max-age=31536000, immutable" if hashed else "no-cache"
        )
        return response


class _Fallback:
    """Pages for browsers that read; 404 for everything else."""

    def __init__(self, dashboard: Dashboard) -> None:
        self._dashboard = dashboard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if scope["method"] not in {"GET", "HEAD"}:
            raise HTTPException(405 if scope["path"] == "/" else 404)
        await self._dashboard(scope, receive, send)


def dist_path(settings: Settings) -> Path:
    """FRONTEND_DIST; when that is the default and absent, a build beside the sources."""
    wanted = settings.frontend_dist
    if not is_explicit(settings, "frontend_dist") and not wanted.is_dir():
        return BUILT_HERE
    return wanted


def mount(app: FastAPI, settings: Settings) -> None:
    """Serve the build, or explain its absence. Comes after every other route."""
    path = dist_path(settings)
    if (path / "index.html").is_file():
        # asked last, and only for what no route knows: a mount would swallow wrong methods
        app.router.default = _Fallback(Dashboard(directory=path, html=True))
        return
    log.warning("no dashboard: %s holds no index.html", path)
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    async def missing() -> HTMLResponse:
        return HTMLResponse(_MISSING.format(path=html.escape(str(path))))

    app.include_router(router)
