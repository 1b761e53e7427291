"""Models on fake engine processes, without HTTP in front."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from backend.app.config import QwenSettings, Settings
from backend.app.engines.child import LocalLauncher
from backend.app.gpu.probe import Reading
from backend.app.hub.local import LocalFiles
from backend.app.models.base import BaseModelWrapper
from backend.app.models.embedding import EmbeddingModel
from backend.app.models.needs import Needs
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


NO_GPU = Reading("none", ())
WRAPPERS: dict[Kind, type[BaseModelWrapper]] = {
    Kind.CHAT: QwenModel,
    Kind.EMBEDDING: EmbeddingModel,
}


@contextlib.asynccontextmanager
async def fake_model(
    tmp: Path, engine_args: str = "", *, settings: dict[str, Any] | None = None, **model: Any
) -> AsyncIterator[BaseModelWrapper]:
    """A supervised QwenModel whose engines are fakes started with `engine_args`."""
    models = {"qwen": model | {"engine_args": engine_args}}
    async with fake_models(tmp, models, settings=settings) as registry:
        yield registry.get("qwen")


@contextlib.asynccontextmanager
async def fake_models(
    tmp: Path,
    models: dict[str, dict[str, Any]],
    *,
    read: Callable[[], Reading] = lambda: NO_GPU,
    settings: dict[str, Any] | None = None,
) -> AsyncIterator[ModelRegistry]:
    """Supervised models on fake engines: key -> settings, and `kind`, `weights` (bytes).

    Each lies in a directory below `tmp` that is named `model` or like its key.
    """
    limits = settings_for(tmp, **(settings or {}))
    launcher = LocalLauncher(tmp / "logs", Path("/tmp"), {"PATH": "/usr/bin:/bin"})
    registry: ModelRegistry
    placer = Placer(
        read, lambda: registry, settings=limits, needs=Needs(tmp), cpu_allowed=read() is NO_GPU
    )
    wrappers = []
    for key, given in models.items():
        own = dict(given)
        kind, weights = own.pop("kind", Kind.CHAT), own.pop("weights", 0)
        directory = tmp / ("model" if key == "qwen" else key)
        directory.mkdir(exist_ok=True)
        heads = {"num_attention_heads": 32, "num_key_value_heads": 4} if weights else {}
        (directory / "config.json").write_text(json.dumps(heads))
        if weights:
            with (directory / "model.safetensors").open("wb") as file:
                file.truncate(weights)  # a hole: it takes no room on disk
        spec = build_spec(
            key,
            kind,
            QwenSettings.model_validate({"model": str(directory), "python": FAKE_PYTHON} | own),
            demo_set=True,
        )
        wrappers.append(
            WRAPPERS[kind](
                spec,
                settings=limits,
                launcher=launcher,
                artifacts=LocalFiles(spec.source),
                placer=placer,
                publish=lambda kind, data: None,
            )
        )
    registry = ModelRegistry(wrappers)
    await registry.begin(load_all=False)
    try:
        yield registry
    finally:
        await asyncio.wait_for(registry.close(), 30)
        await launcher.close()
