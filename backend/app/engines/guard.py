"""Runs one engine and makes sure that nothing of it outlives the gateway.

    python -I -S guard.py FD DIRECTORY -- argv…

A program of its own, standard library only: the gateway starts it in a session of its own, and it
starts the engine. FD is one end of a socket pair, the lifeline, whose other end only the gateway
holds. As a subreaper the guard inherits every descendant of the engine whose parent dies, also
those that daemonised, so it can find and kill them all. Should the guard itself be killed, the
engine dies by its parent-death signal.

Gateway to guard: `T` SIGTERM to the engine's main process; `K`, or end of file: kill everything.

Guard to gateway, one line each: `started PID`, or `error MESSAGE` when the engine could not be
started; at the end `exit CODE SIGNAL` (one of the two is `-`), sent when no process is left and
DIRECTORY, where the engine had its socket and temporary files, is removed.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys

# No contextlib, no typing: they would double the time this takes to start. Hence also the
# `try … except … pass` below.
# ruff: noqa: SIM105
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import NoReturn

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
FIRST_RESCAN_MS = 20
LAST_RESCAN_MS = 1000


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}): {os.strerror(ctypes.get_errno())}")


def _parents() -> Iterator[tuple[int, int]]:
    """(process, its parent) for every process that /proc shows."""
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", "rb") as file:
                    # The name, in parentheses, may itself hold spaces and parentheses.
                    parent = file.read().rpartition(b")")[2].split()[1]
            except OSError:  # it ended meanwhile
                continue
            yield int(entry), int(parent)


def _descendants() -> list[int]:
    children: dict[int, list[int]] = {}
    for process, parent in _parents():
        children.setdefault(parent, []).append(process)
    found: list[int] = []
    todo = [os.getpid()]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def _exec(argv: list[str], guard: int, report: int) -> NoReturn:
    """In the forked child: become the engine, or say on `report` why not."""
    try:
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != guard:  # the guard died before the kernel was told to watch it
            os._exit(1)
        # A group of its own: an engine that signals its whole group must not hit the guard.
        os.setpgid(0, 0)
        # Handlers do not survive exec, but ignored signals do: those that the guard ignores, Python
        # itself, and whoever started the gateway (SIGHUP by nohup, SIGQUIT by a shell's `&`).
        for number in signal.valid_signals():
            if signal.getsignal(number) == signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)
        os.execvp(argv[0], argv)  # noqa: S606
    except OSError as exc:
        os.write(report, f"{argv[0]}: {exc.strerror}".encode(errors="replace"))
    finally:
        os._exit(127)


class Guard:
    def __init__(self, lifeline: int) -> None:
        self.lifeline = lifeline
        self.engine = 0
        self.status: int | None = None
        """The engine's wait status, once it has ended."""
        self.wakeup, wake = os.pipe()
        os.set_blocking(wake, False)
        os.set_blocking(self.wakeup, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in IGNORED:
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        os.set_inheritable(lifeline, False)

    def say(self, line: str) -> None:
        try:
            os.write(self.lifeline, line.encode(errors="replace") + b"\n")
        except OSError:  # the gateway is gone
            pass

    def start(self, argv: list[str]) -> bool:
        """Fork and exec. False when that failed, which has then been said."""
        complaint, report = os.pipe()  # closed by a successful exec
        try:
            _prctl(PR_SET_CHILD_SUBREAPER, 1)
            guard = os.getpid()
            self.engine = os.fork()
        except OSError as exc:
            self.say(f"error {exc.strerror}")
            return False
        if self.engine == 0:
            _exec(argv, guard, report)
        os.close(report)
        message = os.read(complaint, 1000).decode(errors="replace")
        os.close(complaint)
        self.say(f"error {message}" if message else f"started {self.engine}")
        return not message

    def reap(self) -> bool:
        """Collect what has ended. False when no child is left, hence no descendant either."""
        while True:
            try:
                process, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if process == 0:
                return True
            if process == self.engine:
                self.status = status

    def wait(self, timeout_ms: int | None, *more: int) -> list[int]:
        """Sleep until a child ends or one of the descriptors in `more` can be read."""
        poll = select.poll()  # not select(): descriptors may be above 1023
        for fd in (self.wakeup, *more):
            poll.register(fd, select.POLLIN)
        ready = [fd for fd, _ in poll.poll(timeout_ms)]
        try:
            os.read(self.wakeup, 4096)
        except BlockingIOError:
            pass
        return ready

    def kill_all(self) -> None:
        """SIGKILL until nothing is left: what is killed may just have forked."""
        pause = FIRST_RESCAN_MS
        while self.reap():
            for process in _descendants():
                try:
                    os.kill(process, signal.SIGKILL)
                except OSError:
                    pass
            self.wait(pause)
            pause = min(2 * pause, LAST_RESCAN_MS)

    def watch(self) -> None:
        """Until the engine's main process has ended or everything is to be killed."""
        while self.reap() and self.status is None:
            if self.lifeline not in self.wait(None, self.lifeline):
                continue
            try:
                command = os.read(self.lifeline, 1)
            except OSError:
                command = b""
            if command in (b"K", b""):
                return
            if command == b"T":
                os.kill(self.engine, signal.SIGTERM)


def main(arguments: Sequence[str]) -> None:
    lifeline, directory, _, *argv = arguments
    guard = Guard(int(lifeline))
    if not guard.start(argv):
        return
    guard.watch()
    guard.kill_all()
    import shutil  # costs as much as all the rest together, so not before the start

    shutil.rmtree(directory, ignore_errors=True)
    code = os.waitstatus_to_exitcode(guard.status or 0)
    guard.say(f"exit {code} -" if code >= 0 else f"exit - {-code}")


if __name__ == "__main__":
    main(sys.argv[1:])
