"""A gateway process under measurement, as a user would start it."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.support.engine import FAKE_MODEL, FAKE_PYTHON

ROOT = Path(__file__).parents[2]
START_S = 60
"""Deadline for /healthz."""
LOAD_S = 600
"""Deadline for the first answer, which loads the model."""


class BenchError(Exception):
    """The thing to be measured did not come up."""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def fake_settings(*flags: str, replicas: int = 1) -> dict[str, str]:
    """Settings with which the gateway starts fake engines."""
    return {
        "QWEN_MODEL": str(FAKE_MODEL),
        "QWEN_PYTHON": str(FAKE_PYTHON),
        "QWEN_ENGINE_ARGS": " ".join(("--fake-load-s 0", *flags)),
        "QWEN_REPLICAS": str(replicas),
    }


def _environment(directory: Path, port: int, settings: dict[str, str]) -> dict[str, str]:
    # Our own settings must not leak in, and bytecode is cached as in an installation.
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in {"PATH", "HOME", "LANG", "TMPDIR", "CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH"}
    }
    return {
        **kept,
        "PYTHONPATH": str(ROOT),
        "API_HOST": "127.0.0.1",
        "API_PORT": str(port),
        "ADMIN_AUTH": "off",
        "MODEL_SET": "demo",
        "LOG_LEVEL": "warning",
        "LOG_DIR": str(directory / "logs"),
        "MODEL_CACHE_DIR": str(directory / "models"),
        **settings,
    }


class Gateway:
    """A running gateway. `start_s`: seconds from its start to /healthz; `rss`: bytes then."""

    def __init__(self, settings: dict[str, str], directory: Path) -> None:
        self.port = _free_port()
        self._log_path = directory / "gateway.log"
        (directory / "models").mkdir()
        begun = time.perf_counter()
        with self._log_path.open("wb") as log:
            self.process = psutil.Popen(
                [sys.executable, "-m", "backend.app", "serve"],
                cwd=directory,  # where no .env lies
                env=_environment(directory, self.port, settings),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            while self._get("/healthz") != 200:
                self._check(time.perf_counter() - begun < START_S, "no /healthz")
                time.sleep(0.002)
        except BaseException:
            self.stop()
            raise
        self.start_s = time.perf_counter() - begun
        self.rss: int = self.process.memory_info().rss

    def _check(self, condition: bool, problem: str) -> None:
        if not condition or self.process.poll() is not None:
            tail = self._log_path.read_text(errors="replace")[-3000:]
            raise BenchError(f"gateway: {problem}, exit code {self.process.poll()}\n{tail}")

    def _get(self, path: str) -> int | None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except OSError:
            return None
        finally:
            connection.close()

    def load(self) -> float:
        """Ask one token, so that the model is loaded. Returns the seconds that took."""
        begun = time.perf_counter()
        message = {"role": "user", "content": "hello"}
        body = json.dumps({"model": "qwen", "max_tokens": 1, "messages": [message]})
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LOAD_S)
        headers = {"content-type": "application/json"}
        connection.request("POST", "/v1/chat/completions", body, headers)
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
        connection.close()
        self._check(answer.status == 200, f"first answer {answer.status}: {text}")
        return time.perf_counter() - begun

    def sockets(self, count: int) -> tuple[str, ...]:
        """The Unix sockets of its engines, once there are `count` of them."""
        deadline = time.monotonic() + START_S
        while True:
            found = set()
            for child in self.process.children(recursive=True):
                try:
                    words = child.cmdline()
                except psutil.Error:
                    continue
                if "--uds" in words:
                    found.add(words[words.index("--uds") + 1])
            if len(found) == count:
                return tuple(sorted(found))
            self._check(time.monotonic() < deadline, f"{len(found)} engines, not {count}")
            time.sleep(0.05)

    def cpu_s(self) -> float:
        """User and system time of the gateway process so far, without its children."""
        # The process's CPU clock, as clock_getcpuclockid(3) names it: psutil's counts 10 ms ticks.
        return time.clock_gettime((~self.process.pid << 3) | 2)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(60)
            except psutil.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)


@contextmanager
def gateway(settings: dict[str, str]) -> Iterator[Gateway]:
    """A gateway that answers /healthz, stopped at the end. Raises BenchError."""
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        running = Gateway(settings, Path(directory))
        try:
            yield running
        finally:
            running.stop()
