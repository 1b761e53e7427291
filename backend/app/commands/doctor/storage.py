"""Directories and the right to write them, and room for what is still to come."""

from __future__ import annotations

import glob
import os
import shutil
from pathlib import Path

from backend.app import COMMAND
from backend.app.audio.spool import default_directory
from backend.app.commands.configured import files_of
from backend.app.commands.doctor.patient import Patient, cannot_write, nearest
from backend.app.commands.doctor.report import Line, fail, ok, size, warn
from backend.app.config import REAL_MODELS, is_explicit, runtime_base, user_dir
from backend.app.engines.child import LONGEST_BASE
from backend.app.hub.snapshot import FilesState
from backend.app.models.spec import ModelSpec
from backend.app.words import Words, same
from backend.app.workers.hub_protocol import GIB

REAL_BYTES = {"qwen": 68 * GIB, "canary": 10 * GIB, "pyannote": 2 * GIB}
"""What the real models take, with room to spare: the Hub is not asked for their sizes."""
LEAST_BYTES = 2 * GIB


def directories(patient: Patient) -> list[Line]:
    settings = patient.settings
    cache = user_dir("cache") / "models"
    state = user_dir("state")
    spool = settings.spool_dir or default_directory()
    return [
        _directory(
            "MODEL_CACHE_DIR", settings.model_cache_dir, _set(patient, "model_cache_dir"), cache
        ),
        _directory("LOG_DIR", settings.log_dir, _set(patient, "log_dir"), state),
        _directory("SPOOL_DIR", spool, True, None),
        _sockets(),
        *_of_another_user(patient),
    ]


def _of_another_user(patient: Patient) -> list[Line]:
    """What a gateway under another user (root, most often) has left behind."""
    settings, cache = patient.settings, patient.cache_dir
    left = [settings.log_dir / settings.log_file_name, cache / ".hf_token", cache / ".admin_key"]
    # not Path.glob: below a directory that may not be entered that one raises
    found = glob.glob(f"{settings.log_dir}/engine-*.log") + glob.glob(f"{cache}/models--*")
    paths = [*map(str, left), *sorted(found)]
    locked = [p for p in paths if os.path.exists(p) and not os.access(p, os.R_OK | os.W_OK)]
    if not locked:
        return []
    names = " ".join(locked)
    return [
        fail(
            "directories",
            Words(
                f"not readable and writable for uid {os.getuid()}: {names}",
                f"ni lisible ni modifiable par l'uid {os.getuid()} : {names}",
            ),
            same(f"`sudo chown -R {os.getuid()} {names}`"),
        )
    ]


def _set(patient: Patient, field: str) -> bool:
    return is_explicit(patient.settings, field)


def _directory(name: str, path: Path, explicit: bool, fallback: Path | None) -> Line:
    problem = cannot_write(path)
    if problem is None:
        return ok("directories", same(f"{name}: {path}"))
    user = f"uid {os.getuid()}"
    if not explicit and fallback is not None and cannot_write(fallback) is None:
        return warn(
            "directories",
            Words(
                f"{name}: {path} cannot be written ({problem}): {fallback} is used",
                f"{name} : {path} n'est pas accessible en écriture ({problem}) : {fallback} sert"
                " à sa place",
            ),
            Words(
                f"Set {name} to a directory of {user}.", f"Réglez {name} sur un dossier de {user}."
            ),
        )
    return fail(
        "directories",
        Words(
            f"{name}: {path} cannot be written ({problem})",
            f"{name} : {path} n'est pas accessible en écriture ({problem})",
        ),
        Words(
            f"`chown {os.getuid()} {path}`, or set {name} to another directory.",
            f"`chown {os.getuid()} {path}`, ou réglez {name} sur un autre dossier.",
        ),
    )


def _sockets() -> Line:
    base = runtime_base(LONGEST_BASE)
    if len(os.fsencode(base)) <= LONGEST_BASE and cannot_write(base) is None:
        return ok(
            "directories", Words(f"engines' sockets: {base}", f"sockets des moteurs : {base}")
        )
    return fail(
        "directories",
        Words(
            f"engines' sockets: {base} is longer than {LONGEST_BASE} bytes or cannot be written",
            f"sockets des moteurs : {base} dépasse {LONGEST_BASE} octets ou est interdit",
        ),
        Words(
            "Set XDG_RUNTIME_DIR to a short directory.",
            "Réglez XDG_RUNTIME_DIR sur un chemin court.",
        ),
    )


def disk(patient: Patient) -> list[Line]:
    path = nearest(patient.cache_dir)
    free = shutil.disk_usage(path).free
    missing, sure = _still_to_come(patient)
    wanted = max(missing, LEAST_BYTES)
    if free >= wanted:
        said = Words(f"{size(free).en} free in {path}", f"{size(free).fr} libres dans {path}")
        return [ok("disk", said)]
    return [
        (fail if sure and free < missing else warn)(
            "disk",
            Words(
                f"{size(free).en} free in {path}, and {size(wanted).en} are wanted",
                f"{size(free).fr} libres dans {path}, et il en faut {size(wanted).fr}",
            ),
            Words(
                "Make room, or set MODEL_CACHE_DIR to a larger disk.",
                "Faites de la place, ou réglez MODEL_CACHE_DIR sur un disque plus grand.",
            ),
        )
    ]


def _still_to_come(patient: Patient) -> tuple[int, bool]:
    """Bytes that are still to be downloaded, and whether that is known or a guess."""
    missing, sure = 0, True
    for spec in patient.from_hub:
        status = files_of(spec, patient.cache_dir).status()
        if status.state is FilesState.COMPLETE:
            continue
        total = status.total_bytes
        if total is None:  # not listed yet: known of the real models, of others nothing is
            sure = False
            total = REAL_BYTES[spec.key] if spec.source == REAL_MODELS.get(spec.key) else 0
        missing += max(0, total - status.bytes)
    return missing, sure


def models(patient: Patient) -> list[Line]:
    """What is there of each model."""
    return [_model(patient, spec) for spec in patient.specs]


def _model(patient: Patient, spec: ModelSpec) -> Line:
    key, source = spec.key, spec.source
    if spec.local:
        return ok("models", same(f"{key}: {source}"))
    status = files_of(spec, patient.cache_dir).status()
    if status.state is FilesState.COMPLETE:
        here = Words(*(f"{key}: {source}, {said}" for said in size(status.bytes)))
        return ok("models", here)
    return warn(
        "models",
        Words(
            f"{key}: {source} is not complete ({size(status.bytes).en} are here)",
            f"{key} : {source} n'est pas complet ({size(status.bytes).fr} présents)",
        ),
        Words(
            f"Its first use downloads it; `{COMMAND} download {key}` does it now.",
            "Il sera téléchargé à la première utilisation ;"
            f" `{COMMAND} download {key}` le fait maintenant.",
        ),
    )
