"""`models`: which models are configured, and what is there of their files. No gateway is asked."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from backend.app.commands.configured import files_of, pick
from backend.app.config import Settings, gpu_mask, load_settings
from backend.app.directories import usable_cache_dir
from backend.app.gpu.probe import FIRST_DEADLINE_S, gpu_reader
from backend.app.hub.snapshot import FilesState
from backend.app.models.configured import build_specs
from backend.app.models.modelset import choose_set
from backend.app.models.spec import ModelSpec
from backend.app.workers.hub_protocol import size_of


def add(commands: Any) -> None:
    """Add the command to the parser's subcommands."""
    parser = commands.add_parser(
        "models", help="which models are configured, and what is there of their files"
    )
    parser.add_argument("keys", nargs="*", metavar="KEY", help="only these; default: all")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=lambda chosen: run(load_settings(), chosen))


def run(settings: Settings, chosen: argparse.Namespace) -> int:
    """Exit code 0 when all of them are complete, else 1."""
    cache_dir, _ = usable_cache_dir(settings)
    model_set = choose_set(settings, gpu_reader(gpu_mask(), FIRST_DEADLINE_S))
    specs = pick(build_specs(settings, model_set.demo), chosen.keys)
    rows = [describe(spec, cache_dir) for spec in specs]
    if chosen.json:
        print(json.dumps({"model_set": "demo" if model_set.demo else "real", "models": rows}))
    else:
        print(f"{'demo' if model_set.demo else 'real'} models: {model_set.reason}")
        for row in rows:
            print(_line(row))
    return 0 if all(row["state"] == FilesState.COMPLETE.value for row in rows) else 1


def describe(spec: ModelSpec, cache_dir: Path) -> dict[str, Any]:
    """As JSON: `state` is none, partial or complete; bytes and files are those it needs."""
    row: dict[str, Any] = {
        "key": spec.key,
        "kind": spec.kind.value,
        "source": spec.source,
        "revision": spec.revision,
        "local": spec.local,
        "demo": spec.demo,
    }
    if spec.local:
        state = FilesState.COMPLETE if Path(spec.source).exists() else FilesState.NONE
        return row | {"state": state.value, "bytes": None, "total_bytes": None, "commit": None}
    status = files_of(spec, cache_dir).status()
    return row | {
        "state": status.state.value,
        "bytes": status.bytes,
        "total_bytes": status.total_bytes,
        "commit": status.commit,
    }


def _line(row: dict[str, Any]) -> str:
    size = ""
    if row["bytes"]:
        total = row["total_bytes"]
        size = size_of(row["bytes"]) + (f" of {size_of(total)}" if total else "")
    where = "a local path" if row["local"] else size
    revision = f" at {row['revision']}" if row["revision"] else ""
    return (
        f"{row['key']:<12} {row['kind']:<12} {row['state']:<9} {row['source']}{revision}  {where}"
    )
