"""How much GPU memory a model needs: an estimate at first, then what its last load really took.

need = weights + 5 %  (at first)  or what it held without its cache when it was proven (later)
     + ACTIVATION_BYTES, room to work in
     + the least cache that makes its engine worth starting
and never less than a model of fixed size was ever seen to take.
"""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from backend.app.models.placement import GIB, RESERVE_BYTES
from backend.app.models.spec import ModelSpec
from backend.app.workers.hub_layout import write_atomically

log = logging.getLogger(__name__)

FILE_NAME = ".memory.json"
ACTIVATION_BYTES = 3 * GIB
UNKNOWN_WEIGHTS = 4 * GIB
"""Of a model that is not on disk yet; it only decides how much room others leave for it."""


def weight_bytes(path: str) -> int:
    """What the weights take on disk, which is what they take in memory."""
    root = Path(path)
    if root.is_file():
        return root.stat().st_size
    kinds = ("*.safetensors", "*.nemo", "*.bin")
    return sum(f.stat().st_size for kind in kinds for f in root.rglob(kind))


def _weights(path: str | None) -> int:
    if path is not None:
        with contextlib.suppress(OSError):  # gone since they were seen
            return weight_bytes(path)
    return UNKNOWN_WEIGHTS


class Needs:
    """Remembers over restarts, in `directory`/.memory.json; without a directory only until then."""

    def __init__(self, directory: Path | None = None) -> None:
        self._path = directory / FILE_NAME if directory else None
        self._learned: dict[str, dict[str, Any]] = _read(self._path) if self._path else {}

    def of(self, spec: ModelSpec, path: str | None, *, least_cache: int, elastic: bool) -> int:
        """Bytes that one replica needs. `path`: where its files are, None before the download.

        An elastic engine's need is without RESERVE_BYTES, which `placement` adds. Blocking: looks
        at the sizes of files.
        """
        learned = self._about(spec)
        if learned:
            fixed = int(learned["fixed"])
        else:
            fixed = int(_weights(path) * 1.05) + (0 if elastic else RESERVE_BYTES)
        need = fixed + ACTIVATION_BYTES + least_cache
        return need if elastic else max(need, int(learned.get("peak", 0)))

    def learn(self, spec: ModelSpec, *, fixed: int, peak: int) -> None:
        """A load took `fixed` bytes without its cache, `peak` at most. Blocking: writes a file."""
        before = self._about(spec)
        entry = {
            "of": fingerprint(spec),
            "fixed": fixed,
            "peak": max(peak, int(before.get("peak", 0))),
            "at": round(time.time()),
        }
        self._learned = {**self._learned, spec.key: entry}
        if self._path is None:
            return
        try:
            content = json.dumps({"version": 1, "models": self._learned}, indent=1)
            write_atomically(self._path, content.encode())
        except OSError as exc:
            log.warning("what models need cannot be kept in %s: %s", self._path, exc)

    def _about(self, spec: ModelSpec) -> Mapping[str, Any]:
        learned = self._learned.get(spec.key, {})
        return learned if learned.get("of") == fingerprint(spec) else {}


def fingerprint(spec: ModelSpec) -> str:
    """What the need depends on: when it changes, what was learned is forgotten."""
    parts = (spec.source, spec.revision, spec.max_model_len, spec.max_in_flight, spec.engine_args)
    return json.dumps(parts)


def _read(path: Path) -> dict[str, dict[str, Any]]:
    try:
        models = json.loads(path.read_bytes())["models"]
        if not all(_sound(entry) for entry in models.values()):
            raise ValueError("not what was written")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
        why = str(exc) or type(exc).__name__
        log.warning("%s is ignored, estimates are used instead: %s", path, why)
        return {}
    return dict(models)


def _sound(entry: Any) -> bool:
    sizes = (entry["fixed"], entry["peak"])
    return isinstance(entry["of"], str) and all(type(n) is int and n >= 0 for n in sizes)
