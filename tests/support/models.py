"""A chat model on fake engine processes, without HTTP in front."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from backend.app.config import QwenSettings, Settings
from backend.app.engines.child import LocalLauncher
from backend.app.gpu.probe import Reading
from backend.app.hub.local import LocalFiles
from backend.app.models.placer import Placer
from backend.app.models.qwen import QwenModel
from backend.app.models.registry import ModelRegistry
from backend.app.models.spec import Kind, build_spec

FAKE_PYTHON = Path(__file__).resolve().parents[1] / "fakes" / "python"

QUICK = {
    "engine_start_s": 10,
    "engine_proof_s": 5,
    "engine_probe_s": 60,
    "engine_probe_timeout_s": 1,
    "engine_stall_s": 60,
    "engine_term_s": 3,
    "drain_s": 5,
    "load_wait_s": 20,
    "crash_backoff_s": 0.05,
    "failed_retry_s": 60,
}


def settings_for(tmp: Path, **changes: Any) -> Settings:
    """Settings with short deadlines and directories below `tmp`."""
    given = {"model_set": "demo", "model_cache_dir": tmp, "log_dir": tmp} | QUICK | changes
    return Settings.model_validate(given)


@contextlib.asynccontextmanager
async def fake_model(
    tmp: Path, engine_args: str = "", *, settings: dict[str, Any] | None = None, **model: Any
) -> AsyncIterator[QwenModel]:
    """A supervised QwenModel whose engines are fakes started with `engine_args`."""
    (tmp / "model").mkdir(exist_ok=True)
    (tmp / "model" / "config.json").write_text("{}")
    limits = settings_for(tmp, **(settings or {}))
    given = {"model": str(tmp / "model"), "python": FAKE_PYTHON, "engine_args": engine_args}
    own = QwenSettings.model_validate(given | model)
    spec = build_spec("qwen", Kind.CHAT, own, demo_set=True)
    launcher = LocalLauncher(tmp / "logs", Path("/tmp"), {"PATH": "/usr/bin:/bin"})
    placer = Placer(lambda: Reading("none", ()), lambda s: s.source, cpu_allowed=True)
    wrapper = QwenModel(
        spec,
        settings=limits,
        launcher=launcher,
        artifacts=LocalFiles(spec.source),
        place=placer.place,
        publish=lambda kind, data: None,
    )
    registry = ModelRegistry([wrapper])
    registry.begin(load_all=False)
    try:
        yield wrapper
    finally:
        await asyncio.wait_for(registry.close(), 30)
        await launcher.close()
