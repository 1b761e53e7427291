"""`download`: fetch, verify and repair models, with the progress on the terminal."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from typing import Any, TextIO

from backend.app.commands.configured import cache_manager, to_fetch
from backend.app.commands.stopping import Stopped, stoppable
from backend.app.config import Settings, load_settings
from backend.app.directories import usable_cache_dir
from backend.app.errors import GatewayError
from backend.app.hub.cache import HFCacheManager
from backend.app.models.artifacts import wanted
from backend.app.models.spec import ModelSpec
from backend.app.workers.hub_protocol import Transfer, size_of

EVERY_S = 10.0
"""Between lines of progress where the output is no terminal."""


def add(commands: Any) -> None:
    """Add the command to the parser's subcommands."""
    parser = commands.add_parser(
        "download", help="fetch models into MODEL_CACHE_DIR, verify and repair what is there"
    )
    parser.add_argument("keys", nargs="*", metavar="KEY", help="models; default: all")
    parser.set_defaults(run=lambda chosen: run(load_settings(), chosen))


def run(settings: Settings, chosen: argparse.Namespace) -> int:
    """Exit codes: 0 all are complete, 1 one failed, 128 + signal when it was stopped."""
    specs = to_fetch(settings, chosen.keys)
    cache_dir, remark = usable_cache_dir(settings)
    print(remark or f"Models are kept in {cache_dir}.", file=sys.stderr)
    try:
        return asyncio.run(stoppable(_all(cache_manager(settings), specs)))
    except Stopped as exc:
        print("\nStopped. What is there is kept; the next download goes on.", file=sys.stderr)
        return exc.code


async def _all(hub: HFCacheManager, specs: list[ModelSpec]) -> int:
    """One after the other: their files are fetched at the same time already."""
    failed = 0
    for spec in specs:
        if spec.local:
            print(f"{spec.key}: the local path {spec.source}, nothing to download")
            continue
        progress = Progress(spec.key, sys.stderr)
        files = hub.artifacts(wanted(spec))
        try:
            await files.fetch(progress.show)
        except GatewayError as exc:
            progress.end()
            print(f"{spec.key}: {exc.message}", file=sys.stderr)
            failed = 1
        else:
            progress.end()
            size = size_of(files.status().bytes)
            print(f"{spec.key}: {spec.source} is complete, {size}, all of it verified")
    return failed


class Progress:
    """One line that is drawn over on a terminal; elsewhere a line now and then."""

    def __init__(self, key: str, out: TextIO) -> None:
        self._key = key
        self._out = out
        self._terminal = out.isatty()
        self._next = 0.0
        self._action = ""

    def show(self, transfer: Transfer) -> None:
        text = f"{self._key}: {describe(transfer)}"
        if self._terminal:
            self._out.write(f"\r\x1b[K{text[:110]}")
            self._out.flush()
        elif transfer.action != self._action or time.monotonic() >= self._next:
            self._next = time.monotonic() + EVERY_S
            print(text, file=self._out, flush=True)
        self._action = transfer.action

    def end(self) -> None:
        if self._terminal:
            self._out.write("\r\x1b[K")
            self._out.flush()


def describe(transfer: Transfer) -> str:
    """`downloading 12% 1.2 GiB of 10.0 GiB, 80.0 MiB/s, 112 s left, model-00001.safetensors`"""
    words = [transfer.action]
    if transfer.total:
        words.append(f"{100 * transfer.done // transfer.total}%")
        words.append(f"{size_of(transfer.done)} of {size_of(transfer.total)}")
    more = [f"{size_of(transfer.rate)}/s"] if transfer.rate else []
    more += [f"{transfer.eta:.0f} s left"] if transfer.eta else []
    more += [part for part in (transfer.file, transfer.note) if part]
    return ", ".join([" ".join(words), *more])
