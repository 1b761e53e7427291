"""The engines' libraries: versions, CUDA builds, and what does not fit together.

Read by a child in each engine's own environment, from the metadata; imported only for `doctor`.
The gateway itself imports none of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import json
import logging
import os
import signal
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backend.app.gpu.probe import Reading
from backend.app.models.spec import Kind, ModelSpec
from backend.app.services.dependency_rules import CPU, Found, Package, Problem, problem_of
from backend.app.waiting import background, within

log = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parents[3]
MODULE = "backend.app.workers.dependencies"
LOOK_S = 60.0
"""How long an environment may take to tell what it holds; usually a quarter of a second."""
IMPORT_S = 240.0
"""How long one library may take to be imported: NeMo without bytecode takes a minute."""
REFRESH_S = 600.0
LAST_WORDS = 2_000

_VLLM = ("torch", "torchvision", "vllm")
NEEDED = {
    Kind.CHAT: _VLLM,
    Kind.EMBEDDING: _VLLM,
    Kind.ASR: ("torch", "torchaudio", "nemo_toolkit"),
    Kind.DIARIZATION: ("torch", "torchaudio", "torchcodec", "pyannote.audio"),
}
ORDER = (
    "torch",
    "torchaudio",
    "torchvision",
    "torchcodec",
    "vllm",
    "nemo_toolkit",
    "pyannote.audio",
)


@dataclass(frozen=True)
class Dependency:
    """One library in one environment, with what is wrong with it there."""

    name: str
    python: str
    used_by: tuple[str, ...]
    package: Package | None
    cuda_runtime: str | None
    problem: Problem | None

    def as_json(self) -> dict[str, Any]:
        package, problem = self.package, self.problem
        return {
            "name": self.name,
            "version": package.version if package else None,
            "cuda": package.cuda if package and package.cuda != CPU else None,
            "details": {
                "cuda_runtime": self.cuda_runtime,
                "distribution": package.distribution if package else None,
                "python": self.python,
                "used_by": list(self.used_by),
            },
            "problem": problem.what.en if problem else None,
            "remedy": problem.remedy.en if problem else None,
        }


@dataclass(frozen=True)
class Imported:
    """How the import of a library went: what it said, or why it failed."""

    ok: bool
    detail: str


def environments(specs: Iterable[ModelSpec]) -> dict[str, list[ModelSpec]]:
    """Interpreter -> the models whose engines it runs."""
    found: dict[str, list[ModelSpec]] = {}
    for spec in specs:
        found.setdefault(spec.python, []).append(spec)
    return found


def needed(specs: Iterable[ModelSpec]) -> dict[str, tuple[str, ...]]:
    """Library -> keys of the models that need it, in the order in which they are shown."""
    users: dict[str, list[str]] = {}
    for spec in specs:
        for name in NEEDED[spec.kind]:
            users.setdefault(name, []).append(spec.key)
    return {name: tuple(users[name]) for name in ORDER if name in users}


def judge(
    specs: Iterable[ModelSpec], found: Mapping[str, Found], reading: Reading
) -> list[Dependency]:
    """Every library that a model needs, in each environment that has been looked at."""
    judged = []
    for python, models in environments(specs).items():
        there = found.get(python)
        if there is None or there.error:
            continue
        for name, users in needed(models).items():
            package = there.packages.get(name)
            runtime = there.cuda_runtime if package and package.cuda not in (None, CPU) else None
            problem = problem_of(name, there, reading)
            judged.append(Dependency(name, python, users, package, runtime, problem))
    return judged


class DependencyInspector:
    """Looks at the environments now and then, off the event loop; a report never waits for it.

    `specs` gives the models as they are configured now; `env` is what children inherit.
    """

    def __init__(self, specs: Callable[[], Iterable[ModelSpec]], env: Mapping[str, str]) -> None:
        self._specs = specs
        self._env = env
        self._found: dict[str, Found] = {}
        self._said: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Start looking. Needs a running loop."""
        self._task = background(self._run(), "dependencies")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def report(self, reading: Reading) -> list[Dependency]:
        """What is known, judged for these GPUs. Empty until the first look is over."""
        judged = judge(self._specs(), self._found, reading)
        for dependency in judged:
            if dependency.problem is not None:
                self._say_once(f"{dependency.problem.what.en} ({dependency.python})")
        return judged

    async def look(self) -> dict[str, Found]:
        """Ask every environment, one after the other."""
        for python in environments(self._specs()):
            found = await look_at(python, self._env)
            if found.error:
                self._say_once(f"{python} could not be asked for its libraries: {found.error}")
            self._found[python] = found
        return self._found

    async def _run(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(REFRESH_S)

    def _say_once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            # it is nothing that the request did which happened to ask first
            contextvars.Context().run(log.warning, "%s", text)


async def look_at(python: str, env: Mapping[str, str]) -> Found:
    """What the metadata of an environment say."""
    try:
        code, answer, complaint = await _child([python, "-m", MODULE], env, LOOK_S)
    except asyncio.TimeoutError:
        return Found(error=f"no answer within {LOOK_S:.0f} s")
    except OSError as exc:
        return Found(error=exc.strerror or str(exc))
    try:
        told = json.loads(answer)
        packages = {
            name: Package(
                version=said["version"],
                distribution=said["distribution"],
                cuda=said["cuda"],
                requires_torch=tuple(said["requires_torch"]),
            )
            for name, said in told["packages"].items()
        }
        return Found(told["python"], packages, told["cuda_runtime"])
    except (ValueError, KeyError, TypeError):
        return Found(error=complaint or f"exit code {code}")


async def import_in(python: str, name: str, env: Mapping[str, str]) -> Imported:
    """Import a library where an engine would, and use its compiled parts once."""
    try:
        code, answer, complaint = await _child([python, "-m", MODULE, name], env, IMPORT_S)
    except asyncio.TimeoutError:
        return Imported(False, f"its import takes longer than {IMPORT_S:.0f} s")
    except OSError as exc:
        return Imported(False, exc.strerror or str(exc))
    with contextlib.suppress(ValueError, AttributeError):
        told = json.loads(answer)
        if "detail" in told:
            return Imported(True, str(told["detail"]))
        return Imported(False, str(told.get("error")))
    if code < 0:
        return Imported(False, f"its import was ended by {signal.Signals(-code).name}")
    return Imported(False, complaint or f"exit code {code}")


async def _child(argv: list[str], env: Mapping[str, str], seconds: float) -> tuple[int, bytes, str]:
    """(exit code, stdout, the last line of stderr). Raises asyncio.TimeoutError and OSError."""
    path = os.pathsep.join(part for part in (str(ROOT), env.get("PYTHONPATH")) if part)
    own = {
        "PYTHONPATH": path,
        "VLLM_PLUGINS": "",
        "HF_HUB_OFFLINE": "1",
        "PYANNOTE_METRICS_ENABLED": "0",
        "OMP_NUM_THREADS": "1",
    }
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**env, **own},
        cwd="/",
        start_new_session=True,
    )
    try:
        answer, complaints = await within(seconds, process.communicate())
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    lines = complaints.decode(errors="replace").strip().splitlines()
    assert process.returncode is not None
    return process.returncode, answer, lines[-1][-LAST_WORDS:] if lines else ""
