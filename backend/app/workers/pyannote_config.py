"""What a pipeline's config.yaml refers to, and where that lies on this machine. Pure but for reads.

A part (segmentation, embedding, plda) is named in one of these ways, all of which are published:

    $model/segmentation, $MODEL/segmentation    a folder of the pipeline itself
    pyannote/segmentation-3.0[@revision]        another repository of the same Hub cache
    {checkpoint: …, subfolder: …, revision: …}  the same, in parts
    /path, ./path, ../path                      files of this machine
    nothing                                     what pyannote.audio 4 then takes: community-1's part

pyannote.audio 4.0 itself knows the first only in lower case, and asks the Hub for the second.
"""

from __future__ import annotations

import copy
import importlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .hub_layout import RepoDir

CONFIG = "config.yaml"
FALLBACK = "pyannote/speaker-diarization-community-1"
MODEL_FILES = ("pytorch_model.bin",)
FILES = {
    "segmentation": MODEL_FILES,
    "embedding": MODEL_FILES,
    "plda": ("xvec_transform.npz", "plda.npz"),
}
"""Each part of a pipeline, and the files it consists of."""
_OWN = re.compile(r"\$model(?:/(?P<folder>.*))?", re.IGNORECASE)
_HUB = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")

yaml: Any = importlib.import_module("yaml")  # it comes without types


class BadPipeline(ValueError):
    """The directory holds no pipeline that can be used, in words for an operator."""


@dataclass(frozen=True)
class Reference:
    """Where a part is: in `repo`, or in a local directory, or (neither) in the pipeline itself."""

    repo: str | None = None
    revision: str | None = None
    local: str | None = None
    folder: str = ""


def read(directory: Path) -> dict[str, Any]:
    """The directory's config.yaml. Raises BadPipeline unless it is one of a SpeakerDiarization."""
    try:
        config = yaml.safe_load((directory / CONFIG).read_text(encoding="utf-8"))
        name = str(config["pipeline"]["name"])
        params = config["pipeline"].setdefault("params", {})
    except FileNotFoundError:
        raise BadPipeline(f"{directory} holds no {CONFIG}: it is no pyannote pipeline") from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError) as exc:
        raise BadPipeline(f"{directory / CONFIG} cannot be understood: {exc!r}") from None
    if name.rpartition(".")[2] != "SpeakerDiarization" or not isinstance(params, dict):
        raise BadPipeline(f"{directory / CONFIG} describes a {name}, not a SpeakerDiarization")
    found: dict[str, Any] = config
    return found


def references(config: Mapping[str, Any]) -> dict[str, Reference]:
    """Where each part is. Raises BadPipeline."""
    params = config["pipeline"]["params"]
    return {part: _reference(part, params.get(part)) for part in FILES}


def resolve(config: Mapping[str, Any], directory: Path, cache: Path) -> dict[str, Any]:
    """The config with local paths only, as `Pipeline.from_pretrained` takes it.

    `directory`: the pipeline's own; `cache`: the Hub cache. Raises BadPipeline, which names the
    repository to download where one is missing.
    """
    resolved = copy.deepcopy(dict(config))
    resolved.pop("device", None)
    params = resolved["pipeline"]["params"]
    params["legacy"] = False
    for part, reference in references(config).items():
        # a mapping, since of a string pyannote guesses the kind of model by what the path contains
        params[part] = {"checkpoint": str(_locate(part, reference, directory, cache))}
        if part != "plda":
            params[part]["strict"] = reference.repo is None  # as pyannote loads these
    return resolved


def _reference(part: str, value: object, folder: str = "") -> Reference:
    if value is None:
        return Reference(repo=FALLBACK, folder=part)
    if isinstance(value, Mapping) and "checkpoint" in value and not folder:
        found = _reference(part, value["checkpoint"], str(value.get("subfolder") or ""))
        revision = value.get("revision")
        if revision is None:
            return found
        return Reference(found.repo, str(revision), found.local, found.folder)
    if isinstance(value, str):
        if own := _OWN.fullmatch(value):
            return Reference(folder=os.path.join(own["folder"] or "", folder))
        if value.startswith(("/", "./", "../")):
            return Reference(local=value, folder=folder)
        if hub := _HUB.fullmatch(value):
            return Reference(repo=hub["repo"], revision=hub["revision"], folder=folder)
    raise BadPipeline(
        f"{CONFIG} says {value!r} for the pipeline's {part}, which means nothing here"
    )


def _locate(part: str, reference: Reference, directory: Path, cache: Path) -> Path:
    if reference.repo is not None:
        base = _snapshot(part, reference.repo, reference.revision, cache)
        remedy = f"download {reference.repo} again"
    else:
        base = directory / (reference.local or "")
        remedy = "the pipeline is not complete"
    place = Path(os.path.normpath(base / reference.folder))
    if place.is_file():
        return place
    for name in FILES[part]:
        if not (place / name).is_file():
            raise BadPipeline(f"the pipeline's {part}: there is no {place / name}; {remedy}")
    return place


def _snapshot(part: str, repo: str, revision: str | None, cache: Path) -> Path:
    directory = RepoDir(cache, repo)
    commit = directory.commit_of(revision)
    if commit is None or not directory.snapshot(commit).is_dir():
        raise BadPipeline(
            f"the pipeline's {part} is in {repo}, which is not in {cache}: download {repo}"
            f" (where its conditions must be accepted, at https://huggingface.co/{repo})"
        )
    return directory.snapshot(commit)
