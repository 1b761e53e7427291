"""What is wrong with the libraries of an environment, judged from their metadata. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from backend.app.gpu.probe import Reading
from backend.app.words import Words

CPU = "cpu"
TORCH_OF_CODEC = {"0.7": "2.8", "0.8": "2.9", "0.9": "2.9", "0.10": "2.10", "0.17": "2.13"}
"""torchcodec -> the torch it loads with: nothing in the metadata says so."""
NEEDS_GPU_BUILD = ("torch", "torchaudio", "torchvision", "vllm")
OLDEST_FOR_NEMO = {(3, 10): 12, (3, 11): 4}
"""Python -> the first with the tarfile filters that NeMo unpacks models with."""
DRIVER_OF_CUDA = {13: 580, 12: 525}
"""The first driver branch that runs each CUDA."""


@dataclass(frozen=True)
class Package:
    """An installed library. `cuda` like "12.8"; "cpu": built without; None: nothing says so."""

    version: str
    distribution: str = ""
    cuda: str | None = None
    requires_torch: tuple[str, ...] = ()


@dataclass(frozen=True)
class Found:
    """What an environment holds. `error` instead when it could not be looked at."""

    python: str = ""
    packages: Mapping[str, Package] = field(default_factory=dict)
    cuda_runtime: str | None = None
    error: str = ""


@dataclass(frozen=True)
class Problem:
    """What is wrong and what mends it. `fatal`: a model cannot run like this."""

    what: Words
    remedy: Words
    fatal: bool = True


def problem_of(name: str, found: Found, reading: Reading) -> Problem | None:
    """The first thing that is wrong with one library that is needed in this environment."""
    package = found.packages.get(name)
    if package is None:
        return _missing(name)
    torch = found.packages.get("torch")
    return (
        (_old_python(found.python) if name == "nemo_toolkit" else None)
        or (_cpu_only(name, package) if reading.gpus else None)
        or (_newer_than_driver(package, reading) if name == "torch" else None)
        or (_other_torch(name, package, torch) if torch else None)
        or (_other_cuda(name, package, torch) if torch else None)
    )


def _missing(name: str) -> Problem:
    return Problem(
        Words(f"{name} is not installed", f"{name} n'est pas installé"),
        Words(
            "Install a stack of requirements/ into this environment: cpu, cuda12 or cuda13.",
            "Installez un jeu de requirements/ dans cet environnement : cpu, cuda12 ou cuda13.",
        ),
    )


def _old_python(python: str) -> Problem | None:
    major, minor, patch = [*map(int, re.findall(r"\d+", python)), 0, 0, 0][:3]
    if patch >= OLDEST_FOR_NEMO.get((major, minor), 0):
        return None
    return Problem(
        Words(
            f"Python {python} is too old for nemo_toolkit, which could load no model",
            f"Python {python} est trop ancien pour nemo_toolkit, qui ne chargerait aucun modèle",
        ),
        Words(
            "Make this environment anew with Python 3.12, or with 3.11.4, 3.10.12 or a later one.",
            "Refaites cet environnement avec Python 3.12, ou avec 3.11.4, 3.10.12 ou suivant.",
        ),
    )


def _cpu_only(name: str, package: Package) -> Problem | None:
    if name not in NEEDS_GPU_BUILD or package.cuda != CPU:
        return None
    what = f"{package.distribution or name} {package.version}"
    return Problem(
        Words(
            f"{what} was built without CUDA, and this machine has GPUs",
            f"{what} est compilé sans CUDA (CPU seulement), alors que cette machine a des GPU",
        ),
        Words(
            "Install the CUDA builds: requirements/cuda12.txt or requirements/cuda13.txt.",
            "Installez les versions CUDA : requirements/cuda12.txt ou requirements/cuda13.txt.",
        ),
    )


def _newer_than_driver(torch: Package, reading: Reading) -> Problem | None:
    wheel, driver = _major(torch.cuda), _driver_cuda(reading)
    if not reading.gpus or wheel is None or driver is None or wheel <= driver:
        return None
    least = DRIVER_OF_CUDA.get(wheel)
    newer = f" ({least}+)" if least else ""
    compat = f"cuda-compat-{wheel}"
    return Problem(
        Words(
            f"torch {torch.version} is built for CUDA {torch.cuda}, the driver"
            f" {reading.driver or ''} runs CUDA {reading.cuda or driver} at most",
            f"torch {torch.version} est compilé pour CUDA {torch.cuda}, le pilote"
            f" {reading.driver or ''} s'arrête à CUDA {reading.cuda or driver}",
        ),
        Words(
            f"Install the stack requirements/cuda12.txt, or a newer driver{newer}, or on a"
            f" data-centre GPU with driver 550+ the package {compat}.",
            f"Installez le jeu requirements/cuda12.txt, ou un pilote plus récent{newer}, ou, sur un"
            f" GPU de centre de calcul avec un pilote 550+, le paquet {compat}.",
        ),
    )


def _other_torch(name: str, package: Package, torch: Package) -> Problem | None:
    version = public(torch.version)
    if name == "torchcodec":
        wanted = TORCH_OF_CODEC.get(minor(package.version))
        fits = wanted is None or wanted == minor(version)
    else:
        wanted = " / ".join(package.requires_torch)
        fits = not package.requires_torch or version in package.requires_torch
    if fits:
        return None
    return Problem(
        Words(
            f"{name} {package.version} goes with torch {wanted}, and torch {version} is installed",
            f"{name} {package.version} va avec torch {wanted}, or torch {version} est installé",
        ),
        Words(
            "Install what requirements/<stack>.txt pins together.",
            "Installez les versions que requirements/<jeu>.txt fixe ensemble.",
        ),
        fatal=name != "torchcodec",  # engines are given samples, not files
    )


def _other_cuda(name: str, package: Package, torch: Package) -> Problem | None:
    ours, its = _major(package.cuda), _major(torch.cuda)
    if ours is None or its is None or ours == its:
        return None
    return Problem(
        Words(
            f"{name} is built for CUDA {package.cuda} and torch for CUDA {torch.cuda}",
            f"{name} est compilé pour CUDA {package.cuda} et torch pour CUDA {torch.cuda}",
        ),
        Words(
            "Install both from the same stack: requirements/cuda12.txt or requirements/cuda13.txt.",
            "Installez les deux du même jeu : requirements/cuda12.txt ou requirements/cuda13.txt.",
        ),
    )


def public(version: str) -> str:
    """Without the local part: 2.13.0+cpu is 2.13.0."""
    return version.partition("+")[0]


def minor(version: str) -> str:
    return ".".join(public(version).split(".")[:2])


def _major(cuda: str | None) -> int | None:
    head = (cuda or "").partition(".")[0]
    return int(head) if head.isdigit() else None


def _driver_cuda(reading: Reading) -> int | None:
    """The newest CUDA of the driver, by its own word, else by its branch."""
    if reading.cuda is not None:
        return _major(reading.cuda)
    branch = _major(reading.driver)
    if branch is None:
        return None
    return next((cuda for cuda, least in DRIVER_OF_CUDA.items() if branch >= least), 11)
