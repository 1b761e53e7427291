"""What is in MODEL_CACHE_DIR, and how to get rid of it."""

from __future__ import annotations

import contextlib
import shutil
from functools import partial
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from backend.app.api.deps import Gate, Gateway
from backend.app.api.refusals import refusals
from backend.app.errors import Conflict, NotFound, Unavailable
from backend.app.hub.cache import CachedRepo
from backend.app.hub.disk import on_disk
from backend.app.hub.snapshot import FilesState
from backend.app.models.state import State

router = APIRouter(prefix="/cache", responses=refusals(Unavailable))

AT_REST = frozenset({State.ABSENT, State.IDLE, State.FAILED})


class CachedRepository(BaseModel):
    repo: str
    state: FilesState = Field(description="none, partial or complete, of what a model here needs.")
    bytes: int = Field(description="All it takes on the disk.")
    files: int
    revision: str | None = Field(description="The commit.")
    refs: dict[str, str]
    changed_at: float = Field(description="Unix time.")
    in_use: bool
    used_by: list[str] = Field(description="Keys of the models that need it.")


class Cache(BaseModel):
    directory: str
    disk_free: int | None
    disk_total: int | None
    repos: list[CachedRepository]


class Deleted(BaseModel):
    repo: str
    freed_bytes: int


def _users(gateway: Gateway) -> dict[str, list[str]]:
    """Repository to the models that need it. Blocking: looks at the disk."""
    users: dict[str, list[str]] = {}
    for key, model in list(gateway.registry.models.items()):
        if not model.spec.local:
            for repo in gateway.hub.needed_by(model.spec.source):
                users.setdefault(repo, []).append(key)
    return users


def _busy(gateway: Gateway, keys: list[str]) -> list[str]:
    """Those of the models that use their files now, or are about to."""
    models = [gateway.registry.models[key] for key in keys if key in gateway.registry.models]
    return [m.key for m in models if m.state not in AT_REST or not m.supervisor.settled]


@router.get("", operation_id="cache", response_model=Cache)
async def cache(gateway: Gate) -> Any:
    """Repositories with what they take, what is there of them, and who uses them."""
    directory = gateway.hub.cache_dir

    def look() -> tuple[list[CachedRepo], dict[str, list[str]], Any]:
        disk = None
        with contextlib.suppress(OSError):
            disk = shutil.disk_usage(directory)
        return gateway.hub.inventory(), _users(gateway), disk

    found, users, disk = await on_disk(look)
    repos = []
    for repo in found:
        keys = users.get(repo.repo, [])
        repos.append(vars(repo) | {"used_by": keys, "in_use": bool(_busy(gateway, keys))})
    return {
        "directory": str(directory),
        "disk_free": disk.free if disk else None,
        "disk_total": disk.total if disk else None,
        "repos": repos,
    }


@router.delete(
    "/{repo:path}",
    operation_id="delete_cached",
    response_model=Deleted,
    responses=refusals(NotFound, Conflict),
)
async def delete(repo: str, gateway: Gate) -> Any:
    """Delete a repository. 409 while a model uses it or downloads it."""
    users = (await on_disk(partial(_users, gateway))).get(repo, [])
    busy = _busy(gateway, users)
    if busy:
        raise Conflict(
            f"{repo} is in use by {', '.join(busy)}; unload that first.", code="cache_in_use"
        )
    freed = await gateway.hub.delete(repo)
    for key in users:
        if model := gateway.registry.models.get(key):
            model.look_again()
    return {"repo": repo, "freed_bytes": freed}
