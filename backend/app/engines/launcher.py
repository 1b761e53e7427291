"""The seam between wrappers and wherever engines run.

A wrapper describes an engine (`EngineSpec`), a `Launcher` starts it and answers with an `Engine`:
an address to talk to, a way to stop it, and a future of its exit. Nothing above this package sees
a process id, so an engine may just as well run on another machine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class Address:
    """Where an engine listens: a Unix socket, or host and port with a bearer token."""

    socket: str | None = None
    host: str | None = None
    port: int | None = None
    token: str | None = None

    def __str__(self) -> str:
        return f"unix:{self.socket}" if self.socket else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class EngineSpec:
    """What to run. `argv` is given the address because only the launcher knows it."""

    name: str
    """Unique among running engines; names the log file: `qwen-0`."""
    argv: Callable[[Address], Sequence[str]]
    env: Mapping[str, str] = field(default_factory=dict)
    """Added to a scrubbed environment that carries neither API keys nor the Hub token."""
    on_line: Callable[[str], None] | None = None
    """Called in the event loop with each line the engine prints."""


@dataclass(frozen=True)
class Exit:
    """How an engine ended. `asked` is true only when `stop` or `kill` was called before."""

    code: int | None
    signal: int | None
    asked: bool
    log_tail: tuple[str, ...]

    def __str__(self) -> str:
        return f"signal {self.signal}" if self.signal is not None else f"exit code {self.code}"


@dataclass(frozen=True)
class StopReceipt:
    """What it took to stop an engine. `escalated`: it ignored SIGTERM and was killed."""

    seconds: float
    escalated: bool


class Engine(Protocol):
    """A started engine. Owned by whoever launched it, until its exit is known."""

    @property
    def address(self) -> Address: ...

    @property
    def argv(self) -> Sequence[str]: ...

    @property
    def exited(self) -> asyncio.Future[Exit]:
        """Done when the engine and everything it started is gone. Never cancelled."""
        ...

    def log_tail(self, lines: int = 20) -> list[str]: ...

    async def stop(self, grace_s: float) -> StopReceipt:
        """SIGTERM to the engine, `grace_s` seconds, then SIGKILL to all it started. Idempotent."""
        ...

    async def rss_bytes(self) -> int | None:
        """Memory of the engine's whole process tree, where that can be known."""
        ...

    async def own(self, processes: Collection[int]) -> frozenset[int]:
        """Which of a GPU driver's process numbers are this engine's, where that can be known.

        In a container the driver may count processes as the host does: then it is none of them.
        """
        ...


class Launcher(Protocol):
    async def launch(self, spec: EngineSpec) -> Engine:
        """Start an engine. Raises `LaunchError` when it cannot even be started."""
        ...

    def log_tails(self, model: str, lines: int) -> dict[str, list[str]]:
        """The last lines of the newest engine of each replica, `<model>-<n>`, running or not."""
        ...

    async def close(self) -> None:
        """Kill whatever still runs and remove what the launcher made (sockets, directories)."""
        ...


class LaunchError(Exception):
    """The engine could not be started: no such interpreter, no room for a socket path, …"""
