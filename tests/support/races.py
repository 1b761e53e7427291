"""What the races need beside a model: files that take time, and eyes on replicas and processes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import psutil

from backend.app.engines.launcher import Engine, EngineSpec, Launcher
from backend.app.errors import GatewayError, Unavailable
from backend.app.models.base import BaseModelWrapper
from backend.app.models.replica import Replica
from backend.app.models.state import TRANSITIONS, Phase, Progress, State

FETCH_STEPS = 5
FETCH_STEP_S = 0.1
LAUNCH_S = 0.02


class SlowFiles:
    """Files to download, in counted steps. The first `failures` downloads fail half-way."""

    def __init__(self, path: str, *, present: bool, failures: int) -> None:
        self._path = path
        self._present = present
        self._failures = failures
        self.fetching = 0
        """Downloads that run at this moment."""

    def has_any(self) -> bool:
        return self._present

    def path(self) -> str | None:
        return self._path if self._present else None

    def release(self) -> None:
        """Nothing is held."""

    async def fetch(self, on_progress: Callable[[Progress], None]) -> None:
        self.fetching += 1
        try:
            for step in range(FETCH_STEPS):
                on_progress(Progress(Phase.DOWNLOADING, done=step, total=FETCH_STEPS))
                await asyncio.sleep(FETCH_STEP_S)
                if step == FETCH_STEPS // 2 and self._failures:
                    self._failures -= 1
                    raise Unavailable("The Hub is away.")
            self._present = True
        finally:
            self.fetching -= 1


class FaultyLauncher:
    """Passes on to a real launcher, but takes its time; the launches in `faults` fail."""

    def __init__(self, inner: Launcher, faults: dict[int, type[Exception]]) -> None:
        self._inner = inner
        self._faults = faults
        self._launches = 0

    async def launch(self, spec: EngineSpec) -> Engine:
        self._launches += 1
        await asyncio.sleep(LAUNCH_S)
        if fault := self._faults.get(self._launches):
            raise fault("This launch was chosen to fail.")
        return await self._inner.launch(spec)

    async def close(self) -> None:
        await self._inner.close()


class Witness:
    """Notes each step of each replica that the table of transitions does not know."""

    def __init__(self) -> None:
        self._last: dict[Replica, State] = {}
        self.illegal: list[str] = []
        self.seen: set[State] = set()

    def note(self, replica: Replica, action: str) -> None:
        before = self._last.get(replica, State.IDLE)
        self._last[replica] = replica.state
        self.seen.add(replica.state)
        if replica.state is not before and replica.state not in TRANSITIONS[before]:
            self.illegal.append(f"{replica.name}: {before.value} -> {replica.state.value} {action}")

    @contextlib.contextmanager
    def watching(self, model: BaseModelWrapper) -> Iterator[None]:
        """Look at every change of every replica that `model` makes from now on."""
        tell = model._replica_changed

        def both(replica: Replica, action: str) -> None:
            self.note(replica, action)
            tell(replica, action)

        with mock.patch.object(model, "_replica_changed", both):
            yield


def engines_of(directory: Path) -> dict[str, list[int]]:
    """Living engine processes that serve a model in `directory`: socket -> process ids.

    What an engine forks for a moment, before it is itself, is not counted again.
    """
    found: dict[int, tuple[str, int]] = {}
    for process in psutil.process_iter(["cmdline", "ppid", "status"]):
        line: list[str] = process.info["cmdline"] or []
        ended = process.info["status"] in {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD}
        mine = "--uds" in line and str(directory / "model") in line
        if mine and not ended and "--" not in line:  # the guard's own line has the `--`
            found[process.pid] = (line[line.index("--uds") + 1], process.info["ppid"])
    engines: dict[str, list[int]] = {}
    for pid, (socket, parent) in found.items():
        if parent not in found:
            engines.setdefault(socket, []).append(pid)
    return engines


def anything_of(directory: Path) -> list[str]:
    """Command lines of all living processes, guards too, that mention `directory`."""
    lines = []
    for process in psutil.process_iter(["cmdline", "status"]):
        line = " ".join(process.info["cmdline"] or [])
        if str(directory) in line and process.info["status"] != psutil.STATUS_ZOMBIE:
            lines.append(line)
    return lines


EXPECTED = (GatewayError, asyncio.CancelledError)
"""All that a request among races may end with, beside an answer."""
