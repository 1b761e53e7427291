"""`bundle`: models for a machine without a network."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from backend.app import __version__
from backend.app.commands.configured import files_of, to_fetch
from backend.app.config import ConfigError, Settings, load_settings
from backend.app.directories import readable_cache_dir, usable_cache_dir
from backend.app.errors import Conflict
from backend.app.hub import bundle, bundle_install, bundle_make
from backend.app.hub.bundle import BundleError
from backend.app.hub.files import HubFiles
from backend.app.workers.hub_protocol import Limits, size_of


def add(commands: Any) -> None:
    """Add the command to the parser's subcommands."""
    parser = commands.add_parser(
        "bundle", help="put models into one file, verify such a file, or install it offline"
    )
    parser.add_argument("keys", nargs="*", metavar="KEY", help="models to bundle; default: all")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "-o", "--output", type=Path, metavar="FILE.tar", help="write it here; or to a directory"
    )
    what.add_argument("--verify", type=Path, metavar="FILE", help="check every byte of a bundle")
    what.add_argument(
        "--install", type=Path, metavar="FILE", help="lay a bundle into MODEL_CACHE_DIR"
    )
    parser.set_defaults(run=lambda chosen: run(load_settings(), chosen))


def run(settings: Settings, chosen: argparse.Namespace) -> int:
    """Exit codes: 0 done, 1 not possible. Raises ConfigError for wrong arguments."""
    if chosen.keys and chosen.output is None:
        raise ConfigError("KEY goes with -o only: a bundle is verified and installed as a whole.")
    try:
        if chosen.output is not None:
            _make(settings, chosen.keys, chosen.output)
        else:
            _use(settings, chosen.verify or chosen.install, install=chosen.install is not None)
        return 0
    except BundleError as exc:
        print(exc, file=sys.stderr)
    except Conflict as exc:
        print(exc.message, file=sys.stderr)
    except OSError as exc:  # a file that went away meanwhile, or may not be read
        print(f"{exc.filename}: {exc.strerror}", file=sys.stderr)
    return 1


def _make(settings: Settings, keys: list[str], output: Path) -> None:
    cache_dir = readable_cache_dir(settings)
    models = _models(settings, keys, cache_dir)
    contents = bundle_make.collect(__version__, cache_dir, models, _tell)
    fingerprint = bundle_make.write(contents, output, _tell)
    _summary(output, contents.bundle, fingerprint)


def _use(settings: Settings, path: Path, *, install: bool) -> None:
    with bundle.opened(path) as (source, found):
        if install:
            cache_dir, remark = usable_cache_dir(settings)
            if remark:
                _tell(remark)
            reserve = Limits().reserve_bytes
            written = bundle_install.install(
                source, found, cache_dir, reserve_bytes=reserve, tell=_tell
            )
            print(f"{size_of(written)} installed in {cache_dir}, the rest was there. All verified.")
        else:
            bundle_install.verify(source, found)
        _summary(path, found, bundle.fingerprint(source))


def _models(settings: Settings, keys: list[str], cache_dir: Path) -> dict[str, HubFiles]:
    """The configured models, real ones also where MODEL_SET=auto would serve the demo set."""
    found = {}
    for spec in to_fetch(settings, keys):
        if not spec.local:
            found[spec.key] = files_of(spec, cache_dir)
        else:
            _tell(f"{spec.key} is left out: it is the local path {spec.source}; copy that.")
    if not found:
        raise BundleError("There is nothing to bundle: no such model comes from the Hub.")
    return found


def _summary(path: Path, found: bundle.Bundle, fingerprint: str) -> None:
    for key, repos in found.models.items():
        print(f"{key}: {', '.join(repos)}")
    contents = found.contents
    print(
        f"{path}: {len(contents)} files of {len(found.repositories)} repositories,"
        f" {size_of(sum(contents.values()))}, by gateway {found.gateway}.\n"
        f"SHA-256 of its list: {fingerprint}"
    )


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
