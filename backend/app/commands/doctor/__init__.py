"""`doctor`: what would keep a gateway from working here, each with its remedy.

It looks and changes nothing; a gateway may run beside it. Every check has a deadline.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from backend.app import __version__
from backend.app.commands.doctor import hub, libraries, machine, network, storage
from backend.app.commands.doctor.patient import Patient
from backend.app.commands.doctor.report import (
    Line,
    Printer,
    as_json,
    broken,
    fail,
    failed,
    language_of,
    late,
    ok,
    warn,
)
from backend.app.commands.stopping import Stopped, stoppable
from backend.app.config import ConfigError, child_environment, gpu_mask, load_settings
from backend.app.gpu.probe import FIRST_DEADLINE_S, Reading, gpu_reader
from backend.app.models.configured import build_specs
from backend.app.models.modelset import choose_set
from backend.app.setting_names import strangers
from backend.app.waiting import Bounded, within
from backend.app.words import Words, same

Check = Callable[[Patient], "list[Line] | Awaitable[list[Line]]"]

CHECK_S = 30.0
CHECKS: dict[str, Check] = {
    "gpu": machine.gpus,
    "container": machine.container,
    "shared-memory": machine.shared_memory,
    "libraries": libraries.libraries,
    "directories": storage.directories,
    "disk": storage.disk,
    "port": network.port,
    "certificate": network.certificate,
    "access": network.access,
    "dashboard": network.dashboard,
    "hub": hub.hub,
    "models": storage.models,
}


def add(commands: Any) -> None:
    """Add the command to the parser's subcommands."""
    parser = commands.add_parser("doctor", help="what would keep a gateway from working here")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="do not import the engines' libraries (a minute or two)",
    )
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Exit code 0 when nothing failed, 1 when something did, 128 + signal when it was stopped."""
    env = child_environment()
    language = language_of(env)
    printer = Printer(language, colours=sys.stdout.isatty() and "NO_COLOR" not in env)
    try:
        lines = asyncio.run(
            stoppable(_collect(chosen.quick, None if chosen.json else printer.show))
        )
    except Stopped as exc:
        return exc.code
    if chosen.json:
        print(as_json(lines, language))
    else:
        printer.sum_up(lines)
    return 1 if failed(lines) else 0


async def _collect(quick: bool, show: Callable[[Line], None] | None) -> list[Line]:
    lines = []
    async for line in _examine(quick):
        lines.append(line)
        if show is not None:
            show(line)
    return lines


async def _examine(quick: bool) -> AsyncIterator[Line]:
    """Every line in its order, as soon as it is known."""
    python = ".".join(map(str, sys.version_info[:3]))
    yield ok("gateway", same(f"{__version__}, Python {python}"))
    try:
        patient = await asyncio.to_thread(_admit)
    except ConfigError as exc:
        yield fail(
            "settings",
            same(str(exc)),
            Words(
                "Correct it in the environment or in .env; doc/operations.md explains each one.",
                "Corrigez dans l'environnement ou dans .env ; doc/fr/operations.md explique chaque"
                " réglage.",
            ),
        )
        return
    demo, why = patient.model_set
    chosen = Words("demo", "de démonstration") if demo else Words("real", "réels")
    said = Words(f"{chosen.en} models: {why.en}", f"modèles {chosen.fr} : {why.fr}")
    yield ok("settings", said)
    for each in strangers():
        hint = f": {each.nearest}?" if each.nearest else ""
        yield warn(
            "settings",
            Words(
                f"{each.name} is no setting and has no effect{hint}",
                f"{each.name} n'est pas un réglage et n'a pas d'effet{hint}",
            ),
            Words("Correct its name, or remove it.", "Corrigez son nom, ou retirez-la."),
        )
    begun = [asyncio.ensure_future(_check(topic, call, patient)) for topic, call in CHECKS.items()]
    for check in begun:
        for line in await check:
            yield line
    if not quick:
        async for line in libraries.imports(patient):
            yield line


def _admit() -> Patient:
    """Settings, models and GPUs. Blocking; raises ConfigError."""
    settings = load_settings()
    reader = gpu_reader(gpu_mask(), FIRST_DEADLINE_S)
    try:
        reading = reader()
    except asyncio.TimeoutError:
        silent = f"NVML: the driver does not answer within {FIRST_DEADLINE_S:.0f} s"
        reading = Reading("none", (), (silent,))
    model_set = choose_set(settings, lambda: reading)
    specs = tuple(build_specs(settings, model_set.demo))
    return Patient(settings, specs, model_set, reading, child_environment())


async def _check(topic: str, call: Check, patient: Patient) -> list[Line]:
    """Its lines, in time, whatever happens to it."""

    async def begun() -> list[Line]:
        if asyncio.iscoroutinefunction(call):
            return list(await call(patient))
        return list(await asyncio.to_thread(Bounded(lambda: call(patient), CHECK_S)))  # type: ignore[arg-type]

    try:
        return await within(CHECK_S, begun())
    except asyncio.TimeoutError:
        return [late(topic, CHECK_S)]
    except Exception as exc:
        return [broken(topic, exc)]
