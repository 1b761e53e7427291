"""A local launcher with small real processes as engines."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from backend.app.config import child_environment
from backend.app.engines.child import LocalLauncher
from backend.app.engines.launcher import Engine, EngineSpec, Exit
from tests.support.loops import run_clean
from tests.support.processes import mentioning, short_directory, wait_until


class Launched:
    """An engine and what it printed, as numbers by word."""

    def __init__(self, launcher: LocalLauncher, argv: Sequence[str], name: str = "test-0") -> None:
        self._launcher = launcher
        self._lines: asyncio.Queue[str] = asyncio.Queue()
        self.spec = EngineSpec(name, lambda _: argv, {"GIVEN": "yes"}, self._lines.put_nowait)

    async def start(self) -> Launched:
        self.engine: Engine = await self._launcher.launch(self.spec)
        return self

    async def printed(self, word: str) -> int:
        while True:
            found, _, number = (await asyncio.wait_for(self._lines.get(), 20)).partition(" ")
            if found == word:
                return int(number or 0)

    async def exit(self) -> Exit:
        return await asyncio.wait_for(asyncio.shield(self.engine.exited), 20)


class Launchers:
    """Makes launchers, over `base` unless told otherwise; all are closed at the end."""

    def __init__(self, base: Path, stack: AsyncExitStack) -> None:
        self.base = base
        self._stack = stack

    def launcher(self, **options: Any) -> LocalLauncher:
        defaults: dict[str, Any] = {"log_dir": None, "base": self.base}
        made = LocalLauncher(env=child_environment(), **{**defaults, **options})
        self._stack.push_async_callback(made.close)
        return made

    async def start(self, argv: Sequence[str], **options: Any) -> Launched:
        return await Launched(self.launcher(**options), argv).start()


Scenario = Callable[[Launchers], Awaitable[None]]
Play = Callable[[Scenario], None]


def play_on(loop: str) -> Play:
    """Runs a scenario on a loop; no process and no file may be left afterwards."""

    def play(scenario: Scenario) -> None:
        with short_directory() as base:

            async def main() -> None:
                async with AsyncExitStack() as stack:
                    await scenario(Launchers(base, stack))

            run_clean(loop, main)
            wait_until(lambda: not mentioning(base), "all processes to be gone")

    return play
