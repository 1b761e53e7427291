"""Which directory is used in the end, when the one that was wanted cannot be written."""

from __future__ import annotations

import os
from pathlib import Path

from backend.app.config import ConfigError, Settings, is_explicit, user_dir

DENIED = "permission denied"


def usable_cache_dir(settings: Settings) -> tuple[Path, str]:
    """MODEL_CACHE_DIR, made if need be, and a remark when the default had to give way.

    Raises ConfigError when it was set explicitly and cannot be written.
    """
    wanted = settings.model_cache_dir
    problem = _not_writable(wanted)
    if problem is None:
        return wanted, ""
    if is_explicit(settings, "model_cache_dir"):
        cure = "Choose another directory."
        if problem == DENIED:
            owner = f"{os.geteuid()}:{os.getegid()}"
            cure = (
                f"Run (in a container: on the host, for the directory that is mounted on {wanted}):"
                f"\n  chown -R {owner} {wanted}"
            )
        raise ConfigError(f"MODEL_CACHE_DIR={wanted} cannot be written ({problem}). {cure}")
    fallback = user_dir("cache") / "models"
    second = _not_writable(fallback)
    if second is None:
        return fallback, f"{wanted} cannot be written ({problem}): models are kept in {fallback}."
    raise ConfigError(
        f"Models can be kept neither in {wanted} ({problem}) nor in {fallback} ({second})."
        " Set MODEL_CACHE_DIR to a directory that can be written."
    )


def readable_cache_dir(settings: Settings) -> Path:
    """Where the models are, for who only reads them: a directory that was set need not be writable.

    Raises ConfigError like `usable_cache_dir` where there is none yet or it cannot be read.
    """
    wanted = settings.model_cache_dir
    readable = wanted.is_dir() and os.access(wanted, os.R_OK | os.X_OK)
    if readable and is_explicit(settings, "model_cache_dir"):
        return wanted
    return usable_cache_dir(settings)[0]


def _not_writable(path: Path) -> str | None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except PermissionError:
        return DENIED
    except OSError as exc:
        return exc.strerror or str(exc)
    return None if os.access(path, os.W_OK | os.X_OK) else DENIED
