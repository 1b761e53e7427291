"""The command line: `python -m backend.app COMMAND`. What a command does is in `commands/`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from backend.app import __version__
from backend.app.commands import admin_key, bundle, doctor, download, models, serve
from backend.app.config import ConfigError, load_settings


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: 0 done, 1 it did not work, 2 wrong settings or arguments."""
    chosen = parser().parse_args(argv)
    try:
        return int(chosen.run(chosen))
    except ConfigError as exc:
        print(exc, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def parser() -> argparse.ArgumentParser:
    """Each command sets `run`, which takes the parsed arguments and gives the exit code."""
    made = argparse.ArgumentParser(prog="python -m backend.app", description="Inference gateway")
    made.add_argument("--version", action="version", version=__version__)
    commands = made.add_subparsers(dest="command", required=True)

    commands.add_parser("serve", help="run the gateway").set_defaults(
        run=lambda chosen: serve.serve(load_settings())
    )
    commands.add_parser("admin-key", help="show the generated admin key").set_defaults(
        run=lambda chosen: admin_key.show(load_settings())
    )
    doctor.add(commands)
    models.add(commands)
    download.add(commands)
    bundle.add(commands)
    return made
