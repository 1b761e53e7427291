"""Engines as child processes of this machine, each under its own guard (`guard.py`)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO

from backend.app.engines import guard, proctree
from backend.app.engines.launcher import (
    Address,
    Engine,
    EngineSpec,
    Exit,
    LaunchError,
    StopReceipt,
)
from backend.app.engines.logring import EngineLog, LogFile
from backend.app.waiting import aside

PREFIX = "stllm-"
MAX_SOCKET_PATH = 107
"""The kernel's limit of 108 bytes, less the closing NUL."""
ROOM_IN_DIRECTORY = len("/") + 8 + len("/") + 40
"""mkdtemp's eight characters and the longest name an engine gives a socket of its own: a UUID."""
LONGEST_BASE = MAX_SOCKET_PATH - len(PREFIX) - ROOM_IN_DIRECTORY
"""Bytes of a directory's path in which engines' directories can be made."""

START_S = 30.0
"""How long the guard may take to say that it has started the engine; usually 30 ms."""
KILL_S = 10.0
"""How long SIGKILL may take. Then the guard's work is done from here, for as long again."""
PROC_S = 5.0
"""How long a look at /proc may take: of a process that hangs inside the kernel it may hang too."""
_NOT_SEEN = (asyncio.TimeoutError, OSError, RuntimeError)
"""What a look at /proc may end in: it hangs, or there are no descriptors or threads left. None of
it may get in the way of an engine's end."""
OUTPUT_S = 2.0
"""How long the rest of the output is awaited: another process may hold the pipe open."""

logger = logging.getLogger(__name__)


class LocalEngine:
    """A guard, the engine below it, and the task that watches over both."""

    def __init__(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        directory: str,
        address: Address,
        log: EngineLog,
    ) -> None:
        """Starts the guard; OSError and ValueError come from there. Needs a running loop."""
        self._address = address
        self._argv = tuple(argv)
        self._directory = directory
        self._log = log
        self._asked_at: float | None = None
        self._gone_at = 0.0
        self._escalated = False
        self._loop = asyncio.get_running_loop()
        self._exited: asyncio.Future[Exit] = self._loop.create_future()
        self.started: asyncio.Future[str] = self._loop.create_future()
        """Done once the engine runs: an empty text, or why it does not."""

        self._lifeline, theirs = socket.socketpair()
        self._lifeline.setblocking(False)
        reader, writer = os.pipe()
        self._output: BinaryIO = open(reader, "rb", buffering=0)  # noqa: SIM115
        command = [sys.executable, "-I", "-S", guard.__file__, str(theirs.fileno()), directory]
        try:
            self._guard = subprocess.Popen(
                [*command, "--", *argv],
                stdin=subprocess.DEVNULL,
                stdout=writer,
                stderr=writer,
                env=dict(env),
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        except BaseException:
            self._lifeline.close()
            self._output.close()
            raise
        finally:
            theirs.close()
            os.close(writer)
        self.task = self._loop.create_task(self._watch(), name=f"engine {directory}")

    @property
    def address(self) -> Address:
        return self._address

    @property
    def argv(self) -> Sequence[str]:
        return self._argv

    @property
    def exited(self) -> asyncio.Future[Exit]:
        """Shield it where a wait may be cancelled or time out, or use `asyncio.wait`."""
        return self._exited

    def log_tail(self, lines: int = 20) -> list[str]:
        return self._log.tail(lines)

    async def stop(self, grace_s: float) -> StopReceipt:
        """See `Engine.stop`. Of several callers, the least patient one decides.

        Raises TimeoutError when not even SIGKILL helps: a process hangs inside the kernel.
        """
        if self._asked_at is None:
            self._ask(b"T")
        if not await self._gone_within(grace_s):
            self._escalated = True
            await self.kill()
        seconds = 0.0 if self._asked_at is None else self._gone_at - self._asked_at
        return StopReceipt(seconds=seconds, escalated=self._escalated)

    async def kill(self) -> None:
        """SIGKILL to everything, at once. Raises TimeoutError like `stop`."""
        self.kill_soon()
        if await self._gone_within(KILL_S):
            return
        self._guard.kill()  # it does not answer; its end starts `_kill_leftovers`
        if not await self._gone_within(KILL_S):
            raise TimeoutError(f"{self._argv[0]} does not end: it hangs inside the kernel")

    def kill_soon(self) -> None:
        self._ask(b"K")

    async def rss_bytes(self) -> int | None:
        if self.task.done():
            return None
        with contextlib.suppress(*_NOT_SEEN):
            return await aside(PROC_S, partial(proctree.memory, self._guard.pid))
        return None

    async def own(self, processes: Collection[int]) -> frozenset[int]:
        if self.task.done():
            return frozenset()
        with contextlib.suppress(*_NOT_SEEN):
            below = await aside(PROC_S, partial(proctree.members, self._guard.pid))
            return below & frozenset(processes)
        return frozenset()

    def _ask(self, command: bytes) -> None:
        if self.task.done():
            return
        if self._asked_at is None:
            self._asked_at = self._loop.time()
        with contextlib.suppress(OSError):  # the guard is gone, and `_watch` about to notice
            self._lifeline.send(command)

    async def _gone_within(self, seconds: float) -> bool:
        await asyncio.wait({self.task}, timeout=seconds)
        return self.task.done()

    async def _watch(self) -> None:
        """From start to end. Cancelled when the event loop ends before `close`; kills then too."""
        pump = asyncio.create_task(self._pump())
        try:
            code, number = await self._listen()
            if killed := code is None and number is None:
                await self._kill_leftovers()
            # The lifeline is closed, so the guard is about to end.
            while (status := self._guard.poll()) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.002)
            if killed:
                code, number = (status, None) if status >= 0 else (None, -status)
            await asyncio.wait({pump}, timeout=OUTPUT_S)
        except asyncio.CancelledError:
            self._lifeline.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._guard.wait(OUTPUT_S)  # blocks, but nothing else is to be done any more
            raise
        finally:
            self._lifeline.close()
            pump.cancel()
        await asyncio.wait({pump})
        await aside(None, self._log.written)
        shutil.rmtree(self._directory, ignore_errors=True)  # what the guard could not
        self._gone_at = self._loop.time()
        if not self.started.done():
            self.started.set_result("\n".join(["the guard could not run", *self.log_tail()]))
        if not self._exited.done():
            self._exited.set_result(
                Exit(code, number, self._asked_at is not None, tuple(self.log_tail()))
            )

    async def _listen(self) -> tuple[int | None, int | None]:
        """What the guard says, to the end. Exit code or signal; neither when it was killed."""
        code = number = None
        rest = b""
        while True:
            try:
                data = await self._loop.sock_recv(self._lifeline, 4096)
            except ConnectionError:
                data = b""
            if not data:
                return code, number
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                word, _, value = line.decode(errors="replace").partition(" ")
                if word == "exit":
                    code, number = (None if n == "-" else int(n) for n in value.split())
                elif not self.started.done():
                    self.started.set_result(value if word == "error" else "")

    async def _kill_leftovers(self) -> None:
        """The guard was killed, and the engine's main process by its parent-death signal."""
        session, pause = self._guard.pid, 0.01
        while await asyncio.to_thread(proctree.kill_leftovers, session, self._directory):
            await asyncio.sleep(pause)
            pause = min(2 * pause, 1.0)

    async def _pump(self) -> None:
        reader = asyncio.StreamReader()
        transport, _ = await self._loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), self._output
        )
        try:
            while chunk := await reader.read(65536):
                self._log.feed(chunk)
        finally:
            transport.close()
            self._log.close()


class LocalLauncher:
    """Starts engines here. `env` is what they inherit, already scrubbed of secrets.

    Each gets a directory of its own below `base`, open to this user only, which holds its socket
    and is its TMPDIR, and which goes with it. With `log_dir`, what an engine prints goes to
    `engine-<name>.log` there, of at most `log_max_bytes`, and one older `.1`; `redact` takes
    secrets out of it first.
    """

    def __init__(
        self,
        log_dir: Path | None,
        base: Path,
        env: Mapping[str, str],
        ring_lines: int = 2000,
        log_max_bytes: int = 20_000_000,
        redact: Callable[[str], str] = str,
    ) -> None:
        self._log_dir = log_dir
        self._base = base
        self._env = dict(env)
        self._ring_lines = ring_lines
        self._log_max_bytes = log_max_bytes
        self._redact = redact
        self._logs: dict[str, EngineLog] = {}
        """Of the newest engine of each name."""
        self._engines: set[LocalEngine] = set()
        self._closed = False

    async def launch(self, spec: EngineSpec) -> Engine:
        if self._closed:
            raise LaunchError("the gateway is shutting down")
        engine = self._start(spec)
        try:
            await asyncio.wait({engine.started}, timeout=START_S)
        except asyncio.CancelledError:
            engine.kill_soon()
            raise
        if not engine.started.done():
            with contextlib.suppress(TimeoutError):
                await engine.kill()
            raise LaunchError(f"engine {spec.name}: its guard did not answer in {START_S:.0f} s")
        if error := engine.started.result():
            await asyncio.wait({engine.task})
            raise LaunchError(f"engine {spec.name} could not be started: {error}")
        return engine

    def log_tails(self, model: str, lines: int) -> dict[str, list[str]]:
        ours = re.compile(rf"{re.escape(model)}-\d+")
        return {n: log.tail(lines) for n, log in sorted(self._logs.items()) if ours.fullmatch(n)}

    async def close(self) -> None:
        self._closed = True
        ends = [engine.kill() for engine in self._engines]
        for result in await asyncio.gather(*ends, return_exceptions=True):
            if isinstance(result, BaseException):
                logger.error("An engine is left behind: %s", result)

    def _start(self, spec: EngineSpec) -> LocalEngine:
        if not re.fullmatch(r"[\w.-]+", spec.name):
            raise LaunchError(f"engine name {spec.name!r} does not fit a file name")
        directory = self._make_directory()
        address = Address(socket=f"{directory}/api.sock")
        env = {"PYTHONUNBUFFERED": "1", **self._env, "TMPDIR": directory, **spec.env}
        env[proctree.MARKER] = directory
        file = None
        if self._log_dir is not None:
            file = LogFile(self._log_dir / f"engine-{spec.name}.log", self._log_max_bytes)
        log = EngineLog(self._ring_lines, file, spec.on_line, self._redact)
        try:
            engine = LocalEngine(spec.argv(address), env, directory, address, log)
        except BaseException as exc:
            log.close()
            shutil.rmtree(directory, ignore_errors=True)
            if isinstance(exc, (OSError, ValueError)):
                raise LaunchError(f"engine {spec.name} could not be started: {exc}") from exc
            raise
        self._logs[spec.name] = log
        self._engines.add(engine)
        engine.task.add_done_callback(lambda _: self._engines.discard(engine))
        return engine

    def _make_directory(self) -> str:
        base = os.path.abspath(self._base)
        if len(os.fsencode(base)) > LONGEST_BASE:
            raise LaunchError(
                f"{base} is too long for the sockets of an engine ({LONGEST_BASE} bytes at most); "
                "set XDG_RUNTIME_DIR to a shorter directory"
            )
        try:
            return tempfile.mkdtemp(prefix=PREFIX, dir=base)
        except OSError as exc:
            raise LaunchError(f"no directory for an engine's socket: {exc}") from exc
