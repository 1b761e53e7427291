"""Names of variables that were meant for us and are none of ours. They would be ignored in silence.

What stands in `.env` is meant for us. The environment is everybody's: there only a name that
begins like one of ours and resembles it counts.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from backend.app.config import (
    CanarySettings,
    PyannoteSettings,
    QwenSettings,
    Settings,
    dotenv_names,
    environment_names,
    variables,
)

_OURS_ALONE = ("QWEN_", "CANARY_", "PYANNOTE_")
_NOBODYS = frozenset({"OPENAI", "HF", "HUGGINGFACE", "SSL"})
"""First words of ours with which well-known variables of others begin too: SSL_CERT_FILE."""
_LIKE, _VERY_LIKE = 0.7, 0.8


class Stranger(NamedTuple):
    """A variable that has no effect, and the setting that was probably meant."""

    name: str
    dotenv: bool
    nearest: str | None

    def __str__(self) -> str:
        where = "in .env " if self.dotenv else ""
        hint = f"; did you mean {self.nearest}?" if self.nearest else ""
        return f"{self.name} {where}is no setting and has no effect{hint}"


def strangers() -> list[Stranger]:
    """Those of `.env`, then those of the environment."""
    return [*_find(dotenv_names(), environment_names())]


def known() -> list[str]:
    """Every variable that is a setting."""
    groups = (Settings, QwenSettings, CanarySettings, PyannoteSettings)
    return [name for group in groups for name in variables(group)]


def _find(dotenv: Iterable[str], environment: Iterable[str]) -> Iterator[Stranger]:
    ours = known()
    words = {name.partition("_")[0] for name in ours} - _NOBODYS
    for name in dotenv:
        if name.upper() not in ours:
            yield Stranger(name, True, _nearest(name, ours, _LIKE))
    for name in environment:
        if name.upper() in ours or name.upper().partition("_")[0] not in words:
            continue
        alone = name.upper().startswith(_OURS_ALONE)
        nearest = _nearest(name, ours, _LIKE if alone else _VERY_LIKE)
        if nearest:
            yield Stranger(name, False, nearest)


def _nearest(name: str, ours: list[str], cutoff: float) -> str | None:
    return next(iter(difflib.get_close_matches(name.upper(), ours, n=1, cutoff=cutoff)), None)
