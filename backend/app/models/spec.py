"""What a model is: where its files come from, under which names it is served, how it is to run."""

from __future__ import annotations

import enum
import shlex
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from backend.app.config import (
    DEFAULT_ALIASES,
    REAL_MODELS,
    AsrSettings,
    BadSetting,
    ModelSettings,
    VllmSettings,
)
from backend.app.models.placement import Replicas
from backend.app.workers.hub_layout import BadName, check_repo, check_revision
from backend.app.workers.protocol import LANGUAGES

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
    replicas: Replicas
    idle_unload_s: float
    max_in_flight: int
    max_queue: int
    engine_args: tuple[str, ...]
    python: str
    pin: bool = False
    max_model_len: int | None = None
    languages: tuple[str, ...] = ()
    """Of a recogniser: candidates where the client names none."""

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
            raise BadSetting(key, "model", "there is no such path.", own.model)
        return str(path.resolve()), True, path.resolve() == demo_path(key)
    try:
        named = "/" in check_repo(own.model)
    except BadName:
        named = False
    if not named:
        reason = (
            "write a Hub repository as owner/name, in letters, digits, - _ and . without -- or ..;"
            " or a path that begins with / or ./"
        )
        raise BadSetting(key, "model", reason, own.model)
    return own.model, False, False


def build_spec(key: str, kind: Kind, own: ModelSettings, demo_set: bool) -> ModelSpec:
    source, local, demo = _source(key, own, demo_set)
    _check_layout(key, own)
    _check_python(key, own)
    try:
        check_revision(own.revision)
    except BadName:
        reason = "write a commit, a tag or a branch: no leading / and no .."
        raise BadSetting(key, "revision", reason, str(own.revision)) from None
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
        engine_args=tuple(shlex.split(own.engine_args)),
        python=str(own.python) if own.python else sys.executable,
        pin=own.pin,
        max_model_len=own.max_model_len if isinstance(own, VllmSettings) else None,
        languages=_languages(key, own.languages) if isinstance(own, AsrSettings) else (),
    )


def _check_python(key: str, own: ModelSettings) -> None:
    if own.python is not None and shutil.which(own.python) is None:
        reason = "there is no such program: name the interpreter of an environment."
        raise BadSetting(key, "python", reason, str(own.python))


def _check_layout(key: str, own: ModelSettings) -> None:
    count = own.replicas
    if len(set(own.gpu_ids)) < len(own.gpu_ids):
        reason = "the same GPU is named twice."
        raise BadSetting(key, "gpu_ids", reason, ",".join(map(str, own.gpu_ids)))
    if own.gpu_ids and count != "auto" and len(own.gpu_ids) % count:
        ids = ",".join(map(str, own.gpu_ids))
        reason = f"{len(own.gpu_ids)} GPUs cannot be shared equally by {count} replicas."
        raise BadSetting(key, "gpu_ids", reason, ids)


def _languages(key: str, names: tuple[str, ...]) -> tuple[str, ...]:
    known = ", ".join(LANGUAGES)
    if not names:
        raise BadSetting(key, "languages", f"name at least one of {known}.", "[]")
    for name in names:
        if name not in LANGUAGES:
            raise BadSetting(key, "languages", f"'{name}' is none of {known}.", ",".join(names))
    return names


def check_names(specs: Iterable[ModelSpec]) -> None:
    """Raises BadSetting when two models claim one name.

    Models from the same repository may all be called by it: that is the first of them.
    """
    owner: dict[str, ModelSpec] = {}
    for spec in specs:
        for name in spec.names:
            first = owner.setdefault(name, spec)
            if first is spec or name == first.source == spec.source:
                continue
            at_fault = spec if name in spec.aliases else first
            reason = (
                f"the name '{name}' is claimed by the models {first.key} and {spec.key}:"
                " leave it to one of them."
            )
            raise BadSetting(at_fault.key, "aliases", reason, ",".join(at_fault.aliases))
