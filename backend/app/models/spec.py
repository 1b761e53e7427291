"""What a model is: where its files come from, under which names it is served, how it is to run."""

from __future__ import annotations

import enum
import shlex
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from backend.app.config import (
    DEFAULT_ALIASES,
    REAL_MODELS,
    ConfigError,
    ModelSettings,
    QwenSettings,
    Settings,
)

DEMO_ROOT = Path(__file__).resolve().parents[3] / "demo" / "models"


class Kind(str, enum.Enum):
    CHAT = "chat"
    EMBEDDING = "embedding"
    ASR = "asr"
    DIARIZATION = "diarization"


@dataclass(frozen=True)
class ModelSpec:
    """One configured model. `source` is a Hub repository id, or a path when `local`."""

    key: str
    kind: Kind
    source: str
    revision: str | None
    local: bool
    demo: bool
    aliases: tuple[str, ...]
    gpu_ids: tuple[int, ...]
    replicas: int
    idle_unload_s: float
    max_in_flight: int
    max_queue: int
    engine_args: tuple[str, ...]
    python: str
    max_model_len: int | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Every name a client may use; the key first, then the repository id."""
        own = () if self.local else (self.source,)
        return tuple(dict.fromkeys((self.key, *own, *self.aliases)))


def demo_path(key: str) -> Path:
    return DEMO_ROOT / ("pyannote-3.1" if key == "pyannote" else key)


def _source(key: str, own: ModelSettings, demo_set: bool) -> tuple[str, bool, bool]:
    """(source, local, demo). What a user names wins over the model set."""
    if own.model is None:
        if demo_set:
            return str(demo_path(key)), True, True
        return REAL_MODELS[key], False, False
    path = Path(own.model).expanduser()
    if own.model.startswith(("/", "./", "../", "~")) or path.is_dir():
        if not path.exists():
            raise ConfigError(f"{key.upper()}_MODEL={own.model}: there is no such path.")
        return str(path.resolve()), True, path.resolve() == demo_path(key)
    if own.model.count("/") != 1:
        raise ConfigError(
            f"{key.upper()}_MODEL={own.model}: write a Hub repository as owner/name or a path"
            " that begins with / or ./"
        )
    return own.model, False, False


def _engine_args(key: str, text: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(text))
    except ValueError as exc:
        raise ConfigError(f"{key.upper()}_ENGINE_ARGS cannot be split: {exc}.") from None


def build_spec(key: str, kind: Kind, own: ModelSettings, demo_set: bool) -> ModelSpec:
    source, local, demo = _source(key, own, demo_set)
    length = own.max_model_len if isinstance(own, QwenSettings) else None
    return ModelSpec(
        key=key,
        kind=kind,
        source=source,
        revision=own.revision,
        local=local,
        demo=demo,
        aliases=own.aliases or DEFAULT_ALIASES.get(key, ()),
        gpu_ids=own.gpu_ids,
        replicas=own.replicas,
        idle_unload_s=own.idle_unload_s,
        max_in_flight=own.max_in_flight,
        max_queue=own.max_queue,
        engine_args=_engine_args(key, own.engine_args),
        python=str(own.python) if own.python else sys.executable,
        max_model_len=length,
    )


def build_specs(settings: Settings, demo_set: bool) -> list[ModelSpec]:
    """The models this gateway serves. Raises ConfigError when two claim one name."""
    known = [
        build_spec("qwen", Kind.CHAT, settings.qwen, demo_set),
        build_spec("canary", Kind.ASR, settings.canary, demo_set),
        build_spec("pyannote", Kind.DIARIZATION, settings.pyannote, demo_set),
    ]
    # a demo model that this checkout does not carry is not offered
    specs = [spec for spec in known if not spec.demo or Path(spec.source).exists()]
    check_names(specs)
    return specs


def check_names(specs: Iterable[ModelSpec]) -> None:
    """Raises ConfigError when two models claim one name."""
    owner: dict[str, str] = {}
    for spec in specs:
        for name in spec.names:
            if owner.setdefault(name, spec.key) != spec.key:
                raise ConfigError(
                    f"The name '{name}' is claimed by the models {owner[name]} and {spec.key};"
                    f" change {spec.key.upper()}_ALIASES."
                )
