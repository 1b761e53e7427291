"""What the commands that work without a running gateway share: the configured models and files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from backend.app.config import ConfigError, Settings, child_environment
from backend.app.directories import usable_cache_dir
from backend.app.errors import Conflict
from backend.app.hub.cache import HFCacheManager
from backend.app.hub.files import HubFiles
from backend.app.hub.token_store import TokenStore
from backend.app.models.artifacts import wanted
from backend.app.models.configured import build_specs
from backend.app.models.spec import ModelSpec
from backend.app.workers.hub_layout import Want
from backend.app.workers.hub_protocol import Transfer


def pick(specs: Sequence[ModelSpec], keys: Sequence[str]) -> list[ModelSpec]:
    """Those with these keys; without keys all. Raises ConfigError for a key that there is not."""
    known = [spec.key for spec in specs]
    unknown = [key for key in keys if key not in known]
    if unknown:
        raise ConfigError(f"There is no model '{unknown[0]}'; there are {', '.join(known)}.")
    return [spec for spec in specs if not keys or spec.key in keys]


def to_fetch(settings: Settings, keys: Sequence[str]) -> list[ModelSpec]:
    """Real models also where MODEL_SET=auto would serve the demo set here."""
    return pick(build_specs(settings, settings.model_set == "demo"), keys)


def files_of(spec: ModelSpec, cache_dir: Path) -> HubFiles:
    """The files of a model from the Hub, only to be looked at."""
    return HubFiles(cache_dir, wanted(spec), _fetch_nothing)


async def _fetch_nothing(want: Want, report: Callable[[Transfer], None]) -> NoReturn:
    raise Conflict(f"{want.repo} is only read here.")


def cache_manager(settings: Settings) -> HFCacheManager:
    """The gateway's own cache, with its token."""
    cache_dir, _ = usable_cache_dir(settings)
    secret = settings.huggingface_token
    tokens = TokenStore(cache_dir, secret.get_secret_value() if secret else None)
    return HFCacheManager(cache_dir, tokens, child_environment(), xet=settings.hf_xet)
