"""The engines' libraries: what their metadata say, then whether they really load."""

from __future__ import annotations

from collections.abc import AsyncIterator

from backend.app.commands.doctor.patient import Patient
from backend.app.commands.doctor.report import Line, fail, ok, warn
from backend.app.services.dependency_inspector import (
    Dependency,
    environments,
    import_in,
    judge,
    look_at,
)
from backend.app.services.dependency_rules import Found
from backend.app.words import Words, same
from backend.app.workers.dependencies import NO_GPU

SPARE = frozenset({"torchcodec"})
"""Engines are given samples, so they do without it."""
NOT_YET = "system not yet initialized"
"""CUDA's error 802."""


async def libraries(patient: Patient) -> list[Line]:
    """From the metadata of each environment."""
    found = {python: await look_at(python, patient.env) for python in environments(patient.specs)}
    lines = [_silent(python, there) for python, there in found.items() if there.error]
    return lines + [_judged(d) for d in judge(patient.specs, found, patient.reading)]


def _silent(python: str, there: Found) -> Line:
    return fail(
        "libraries",
        Words(
            f"{python} cannot be asked: {there.error}", f"{python} ne répond pas : {there.error}"
        ),
        Words(
            "*_PYTHON must name an interpreter that runs here.",
            "*_PYTHON doit nommer un interpréteur qui fonctionne ici.",
        ),
    )


def _judged(dependency: Dependency) -> Line:
    package, problem = dependency.package, dependency.problem
    if problem is None:
        assert package is not None
        cuda = f", CUDA {package.cuda}" if package.cuda and package.cuda != "cpu" else ""
        return ok("libraries", same(f"{dependency.name} {package.version}{cuda}"))
    place = f" ({dependency.python})"
    said = Words(problem.what.en + place, problem.what.fr + place)
    return (fail if problem.fatal else warn)("libraries", said, problem.remedy)


async def imports(patient: Patient) -> AsyncIterator[Line]:
    """Each library where an engine would import it, one after the other: they are large."""
    found = {python: await look_at(python, patient.env) for python in environments(patient.specs)}
    for dependency in judge(patient.specs, found, patient.reading):
        if dependency.package is None:
            continue
        name = dependency.name
        done = await import_in(dependency.python, name, patient.env)
        if name == "torch" and NO_GPU in done.detail and patient.reading.gpus:
            yield _unused(done.detail)
        elif done.ok:
            yield ok("imports", same(f"{name}: {done.detail}"))
        else:
            yield _not_loaded(dependency, done.detail)


def _unused(detail: str) -> Line:
    """The driver lists GPUs, and torch cannot use them."""
    remedy = Words(
        "The driver is too old for these wheels, or does not answer: see the lines above, and"
        " `nvidia-smi`.",
        "Le pilote est trop ancien pour ces paquets, ou ne répond pas : voir les lignes ci-dessus,"
        " et `nvidia-smi`.",
    )
    if NOT_YET in detail:
        remedy = Words(
            "On a machine with NVSwitch (DGX, HGX) nvidia-fabricmanager must run, in the driver's"
            " version: `systemctl status nvidia-fabricmanager` on the host.",
            "Sur une machine à NVSwitch (DGX, HGX), nvidia-fabricmanager doit tourner, dans la"
            " version du pilote : `systemctl status nvidia-fabricmanager` sur l'hôte.",
        )
    return fail("imports", same(f"torch: {detail}"), remedy)


def _not_loaded(dependency: Dependency, why: str) -> Line:
    name = dependency.name
    said = Words(f"{name} does not load: {why}", f"{name} ne se charge pas : {why}")
    if name in SPARE:
        remedy = Words(
            "It is not needed: recordings are decoded by the gateway.",
            "Il n'est pas nécessaire : la passerelle décode elle-même les enregistrements.",
        )
        return warn("imports", said, remedy)
    remedy = Words(
        f"Install what requirements/<stack>.txt pins into {dependency.python}.",
        f"Installez ce que requirements/<jeu>.txt fixe dans {dependency.python}.",
    )
    return fail("imports", said, remedy)
