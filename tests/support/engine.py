"""Start a fake engine on a socket, without the gateway, and look into it."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

FAKES = Path(__file__).parents[1] / "fakes"
FAKE_PYTHON = FAKES / "python"
"""The interpreter to name in QWEN_PYTHON, so that the product starts the fake."""
FAKE_MODEL = FAKES / "model"
"""A checkpoint to name in QWEN_MODEL: a config.json, which is all the product reads."""
SERVER = ("-m", "vllm.entrypoints.openai.api_server")


class _UnixConnection(HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("engine", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def ask(
    sock: str, path: str, body: Any = None, *, method: str | None = None, timeout: float = 10
) -> tuple[int, bytes]:
    """One request on a socket of its own: status and body. `body` may be bytes or JSON."""
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    connection = _UnixConnection(sock, timeout)
    try:
        verb = method or ("GET" if data is None else "POST")
        connection.request(verb, path, data, {"content-type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def stats(sock: str) -> dict[str, int]:
    """The fake's `requests`, `running`, `aborted`, `completed`, `bodies_bytes`."""
    found: dict[str, int] = json.loads(ask(sock, "/fake/stats")[1])
    return found


def last_request(sock: str) -> dict[str, Any]:
    """What the fake read last: method, path, headers, bytes, sha256, body (64 KiB of it)."""
    found: dict[str, Any] = json.loads(ask(sock, "/fake/last")[1])
    return found


def wait_for_stats(sock: str, timeout: float = 10, **wanted: int) -> dict[str, int]:
    """Poll until each named statistic has the wanted value; AssertionError at the deadline."""
    deadline = time.monotonic() + timeout
    while True:
        found = stats(sock)
        if all(found[name] == value for name, value in wanted.items()):
            return found
        assert time.monotonic() < deadline, f"{found}, wanted {wanted}"
        time.sleep(0.01)


class FakeEngine:
    """A fake engine process, owned by whoever made it: `close()` kills it."""

    def __init__(self, *flags: str, names: tuple[str, ...] = ("qwen",), sock: str | None = None):
        self.directory = Path(tempfile.mkdtemp(prefix="fake-"))
        self.sock = sock or str(self.directory / "s")
        self._log_path = self.directory / "log"
        argv = [str(FAKE_PYTHON), *SERVER, "--model", "fake-model", "--uds", self.sock]
        with self._log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [*argv, "--served-model-name", *names, *flags],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def log(self) -> str:
        """The last 8 KiB of what it printed."""
        return self._log_path.read_text()[-8192:]

    def health(self) -> int | None:
        """Status of /health, or None when nobody answers."""
        try:
            return ask(self.sock, "/health", timeout=1)[0]
        except (OSError, HTTPException):
            return None

    def wait_ready(self, timeout: float = 20) -> FakeEngine:
        deadline = time.monotonic() + timeout
        while self.health() != 200:
            assert self.process.poll() is None, f"exit {self.process.returncode}: {self.log}"
            assert time.monotonic() < deadline, f"never ready: {self.log}"
            time.sleep(0.01)
        return self

    def terminate(self, timeout: float = 20) -> int:
        """SIGTERM, then its exit code (negative: the signal that ended it)."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(20)
        shutil.rmtree(self.directory, ignore_errors=True)


@contextmanager
def fake_engine(*flags: str, names: tuple[str, ...] = ("qwen",)) -> Iterator[FakeEngine]:
    """A fake engine that is ready, killed at the end."""
    engine = FakeEngine(*flags, names=names)
    try:
        yield engine.wait_ready()
    finally:
        engine.close()
