"""MODELS_FILE: one table per model, checked so that every complaint names its line and the fix."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from backend.app.config import (
    AsrSettings,
    BadSetting,
    ConfigError,
    ModelSettings,
    VllmSettings,
)
from backend.app.models.spec import Kind
from backend.app.models.toml_lines import lines_of

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SETTINGS: dict[Kind, type[ModelSettings]] = {
    Kind.CHAT: VllmSettings,
    Kind.EMBEDDING: VllmSettings,
    Kind.ASR: AsrSettings,
    Kind.DIARIZATION: ModelSettings,
}
"""What can be set for each kind of model."""


class AnyKind(VllmSettings, AsrSettings):
    """All that can be set, for a table whose kind is not known."""


FIRST = {"qwen": Kind.CHAT, "canary": Kind.ASR, "pyannote": Kind.DIARIZATION}
"""The models that every gateway has, whatever the file says."""
MAX_BYTES = 256 * 1024

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
_POSITION = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")
_EXAMPLES = {
    "model": '"owner/name"',
    "revision": '"main"',
    "gpu_ids": "[0, 1]",
    "aliases": '["gpt-4o"]',
    "engine_args": '["--dtype", "bfloat16"]',
    "python": '"/opt/venv/bin/python"',
    "languages": '["en", "fr"]',
    "idle_unload_s": "3600",
    "max_model_len": "8192",
}


class Table(NamedTuple):
    """What the file says of one model: only the fields in `own.model_fields_set`."""

    kind: Kind
    own: ModelSettings


@dataclass
class ModelsFile:
    """The file as it was read. `complaints` are (line, text)."""

    path: Path | None = None
    tables: dict[str, Table] = field(default_factory=dict)
    lines: dict[tuple[str, ...], int] = field(default_factory=dict)
    complaints: list[tuple[int, str]] = field(default_factory=list)

    def complain(self, key: str, name: str, reason: str) -> None:
        """About a field of a model, or about its table when the field is not there."""
        line = self.lines.get((key, name)) or self.lines.get((key,), 1)
        where = f"[{key}] {name}" if name else f"[{key}]"
        self.complaints.append((line, f"{self.path}:{line}: {where}: {reason}"))

    def explain(self, error: BadSetting) -> bool:
        """Take over a complaint about what stands in this file. False when it is not from here."""
        if (error.key,) not in self.lines:
            return False
        value = f"{error.value}: " if error.value else ""
        self.complain(error.key, error.field, value + error.reason)
        return True

    def refuse(self, others: Iterable[str] = ()) -> None:
        """Raises ConfigError with all complaints, in the order of their lines, and `others`."""
        lines = [text for _, text in sorted(self.complaints)] + list(others)
        if lines:
            raise ConfigError("\n".join(["Wrong settings of models:", *dict.fromkeys(lines)]))


def read_models_file(path: Path | None) -> ModelsFile:
    """Parse and check. What is wrong with single models is in `complaints`.

    Raises ConfigError when the file cannot be read or is no TOML.
    """
    if path is None:
        return ModelsFile()
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"MODELS_FILE={path}: it is larger than {MAX_BYTES} bytes.")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as exc:
        reason = exc.strerror or str(exc)
        raise ConfigError(f"MODELS_FILE={path} cannot be read: {reason}.") from None
    except UnicodeDecodeError as exc:
        raise ConfigError(f"MODELS_FILE={path} is not UTF-8: byte {exc.start}.") from None
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(_syntax_error(path, text, str(exc))) from None
    file = ModelsFile(path, lines=lines_of(text))
    for key, table in document.items():
        _read_table(file, key, table)
    return file


def _syntax_error(path: Path, text: str, message: str) -> str:
    found = _POSITION.search(message)
    line = int(found[1]) if found and found[1] else text.rstrip().count("\n") + 1
    reason = message[: found.start()] if found else message
    return f"{path}:{line}: this is no TOML: {reason}."


def _read_table(file: ModelsFile, key: str, table: Any) -> None:
    if not isinstance(table, dict):
        file.complain(key, "", f"write the settings of a model below a line [{key}]")
        return
    if not _KEY.fullmatch(key):
        file.complain(
            key, "", "a model's key has at most 32 letters, digits, - and _, no other characters"
        )
        return
    kind = _kind(file, key, table)
    settings = SETTINGS[kind] if kind else AnyKind
    known = {name: value for name, value in table.items() if name in settings.model_fields}
    for name in table.keys() - known.keys() - {"kind"}:
        file.complain(key, name, _unknown(name, kind))
    if key not in FIRST and not table.get("model"):
        file.complain(
            key, "model", 'it is missing: write model = "owner/name", or a path that begins with /'
        )
    try:
        own = settings.model_validate(known)
        if kind is not None:
            file.tables[key] = Table(kind, own)
    except ValidationError as exc:
        for error in exc.errors(include_url=False):
            name = str(error["loc"][0])
            file.complain(key, name, _wrong(name, error["input"], error["msg"]))


def _kind(file: ModelsFile, key: str, table: dict[str, Any]) -> Kind | None:
    kinds = [kind.value for kind in Kind]
    default = FIRST.get(key)
    wanted = table.get("kind", default.value if default else None)
    if wanted is None:
        file.complain(key, "kind", f'it is missing: write kind = "…", one of {", ".join(kinds)}')
    elif wanted not in kinds:
        near = _nearest(str(wanted), kinds)
        file.complain(key, "kind", f"{wanted!r}: use one of {', '.join(kinds)}{near}")
    elif default is not None and wanted != default.value:
        file.complain(
            key,
            "kind",
            f"{key} is for {default.value}: leave kind out, or give this model another key",
        )
    else:
        return Kind(wanted)
    return None


def _unknown(name: str, kind: Kind | None) -> str:
    known = ["kind", *(SETTINGS[kind] if kind else AnyKind).model_fields]
    if kind and name in AnyKind.model_fields:
        return f"a model for {kind.value} has no such setting; remove it"
    near = _nearest(name, known)
    return f"there is no such setting{near or '; known: ' + ', '.join(sorted(known))}"


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else ""


def _wrong(name: str, value: Any, message: str) -> str:
    example = f"; write {name} = {_EXAMPLES[name]}" if name in _EXAMPLES else ""
    return f"{value!r}: {message.removeprefix('Value error, ')}{example}"
