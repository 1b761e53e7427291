"""A cache in front of the fake Hub, with deadlines short enough for tests."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from backend.app.hub.cache import HFCacheManager
from backend.app.hub.errors import DownloadFailed
from backend.app.hub.files import HubFiles
from backend.app.hub.token_store import TokenStore
from backend.app.workers.hub_layout import RepoDir, Want
from backend.app.workers.hub_protocol import Limits, Transfer
from tests.fakes.hub.process import FakeHub

QUICK = Limits(
    connect_s=2,
    stall_s=0.5,
    attempts=3,
    list_attempts=2,
    backoff_s=0.05,
    longest_pause_s=5,
    reserve_bytes=0,
    lock_poll_s=0.05,
)
CHAT: dict[str, bytes | int | str] = {
    "config.json": "{}",
    "tokenizer.json": '{"model": 1}',
    "model.safetensors": 3_000_000,
}
WEIGHTS = "model.safetensors"


@dataclass
class Desk:
    """One cache directory and a manager for it."""

    hub: FakeHub
    cache: Path
    token: str | None = None
    limits: Limits = QUICK
    xet: bool = False
    env: dict[str, str] = field(default_factory=dict)
    said: list[Transfer] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.cache.mkdir(exist_ok=True)
        inherited = {k: v for k, v in os.environ.items() if "proxy" not in k.lower()}
        env = {**inherited, "HF_ENDPOINT": self.hub.url, **self.env}
        tokens = TokenStore(self.cache, self.token)
        self.manager = HFCacheManager(self.cache, tokens, env, xet=self.xet, limits=self.limits)

    def files(self, repo: str, revision: str | None = None, **more: Any) -> HubFiles:
        return self.manager.artifacts(Want(repo, revision, **more))

    async def fetch(self, files: HubFiles) -> None:
        self.said.clear()
        await asyncio.wait_for(files.fetch(self.said.append), 60)

    async def failure(self, files: HubFiles) -> DownloadFailed:
        """What a download fails of."""
        try:
            await self.fetch(files)
        except DownloadFailed as failure:
            return failure
        raise AssertionError("it did not fail")

    def repo(self, repo: str) -> RepoDir:
        return RepoDir(self.cache, repo)

    def partials(self, repo: str) -> dict[str, int]:
        directory = self.repo(repo).partials
        if not directory.is_dir():
            return {}
        return {path.name: path.stat().st_size for path in directory.iterdir()}


def children() -> list[psutil.Process]:
    """The download processes that this one has started, without their guards."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            line = process.cmdline()
        except psutil.Error:
            continue
        guarded = any(part.endswith("guard.py") for part in line)
        if "backend.app.workers.download" in line and not guarded:
            found.append(process)
    return found


async def until(condition: Callable[[], Any], what: str, seconds: float = 20) -> Any:
    """Poll; AssertionError when the time is over."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not (found := condition()):
        assert asyncio.get_running_loop().time() < deadline, f"waited {seconds} s for {what}"
        await asyncio.sleep(0.01)
    return found


def run(body: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(body(), 120)

    asyncio.run(bounded())
