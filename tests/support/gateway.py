"""A gateway as a user starts it: a process with settings in its environment."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.support.engine import FAKE_PYTHON

ROOT = Path(__file__).resolve().parents[2]
START_S = 30
_KEPT = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "SSL_CERT_FILE")


def eventually(check: Callable[[], Any], seconds: float = 10, what: str = "") -> Any:
    """What `check` returns, once it is true. AssertionError when the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        found = check()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {seconds} s: {what or check}"
        time.sleep(0.02)


class GatewayProcess:
    """`url` is where it listens; `output()` is everything it has printed."""

    def __init__(
        self, directory: Path, settings: dict[str, str], python: str = sys.executable
    ) -> None:
        self.directory = directory
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        own = {
            "PYTHONPATH": str(ROOT),
            "API_HOST": "127.0.0.1",
            "API_PORT": "0",
            "MODEL_SET": "demo",
            "MODEL_CACHE_DIR": str(directory / "models"),
            "LOG_DIR": str(directory / "logs"),
            "FRONTEND_DIST": str(directory / "no-dashboard"),
        }
        self.process = psutil.Popen(
            [python, "-W", "error", "-m", "backend.app", "serve"],
            cwd=directory,
            env=kept | own | settings,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with self.process.stdout as output:
            for line in output:
                self._lines.append(line.decode(errors="replace"))

    def output(self) -> str:
        return "".join(self._lines)

    def wait_listening(self) -> None:
        def found() -> re.Match[str] | None:
            assert self.process.poll() is None, self.output()
            return re.search(r"listening on (http[^\s\"]+)", self.output())

        self.url = str(eventually(found, START_S, "listening")[1]).replace("localhost", "127.0.0.1")

    def client(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=60, trust_env=False, **options)

    def children(self) -> list[psutil.Process]:
        """Every process of ours that lives, the gateway's own left out."""
        try:
            return self.process.children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def engines(self) -> list[psutil.Process]:
        """The engine processes themselves, without their guards."""
        found = []
        for process in self.children():
            with contextlib.suppress(psutil.Error):
                line = process.cmdline()
                if "--uds" in line and not any(part.endswith("guard.py") for part in line):
                    found.append(process)
        return sorted(found, key=lambda p: p.pid)

    def engine_socket(self, key: str = "qwen") -> str:
        """Where this model's first engine listens, whatever else has been loaded before it."""
        with self.client() as http:
            runtime = http.get("/api/admin/status").json()["models"][key]["runtime"]
        return str(runtime["server"][0]).removeprefix("unix:")

    def stop(self, sig: int = signal.SIGTERM, timeout: float = 30) -> int:
        """Send a signal, wait for the exit, and check that nothing of ours is left."""
        family = self.children()
        if self.process.poll() is None:
            self.process.send_signal(sig)
        code = int(self.process.wait(timeout))
        self._reader.join(5)
        _, alive = psutil.wait_procs(family, timeout=5)
        for process in alive:
            process.kill()
        assert not alive, f"left running: {alive}"
        return code


@contextlib.contextmanager
def gateway(
    engine_args: str = "", python: str = sys.executable, **settings: str
) -> Iterator[GatewayProcess]:
    """A gateway in front of fake engines; names in `settings` are the environment's."""
    with tempfile.TemporaryDirectory(prefix="gw-") as name:
        directory = Path(name)
        model = directory / "model"
        model.mkdir()
        (model / "config.json").write_text("{}")
        fake = {
            "QWEN_MODEL": str(model),
            "QWEN_PYTHON": str(FAKE_PYTHON),
            "QWEN_ENGINE_ARGS": engine_args,
        }
        running = GatewayProcess(directory, fake | settings, python)
        try:
            running.wait_listening()
            yield running
        finally:
            if running.process.poll() is None:
                running.stop()


@contextlib.contextmanager
def demo_gateway(**settings: str) -> Iterator[GatewayProcess]:
    """A gateway in front of the real engines with the demo models of this repository."""
    with tempfile.TemporaryDirectory(prefix="gw-") as name:
        running = GatewayProcess(Path(name), settings)
        try:
            running.wait_listening()
            yield running
        finally:
            if running.process.poll() is None:
                running.stop(timeout=60)


def chat(text: str = "hello there", **more: Any) -> dict[str, Any]:
    return {"model": "qwen", "messages": [{"role": "user", "content": text}], **more}


def at_rest(client: httpx.Client) -> bool:
    """Nothing in flight, nothing queued, no lease held."""
    status = client.get("/api/admin/status").json()
    running = client.get("/api/admin/requests").json()["in_flight"]
    models = status["models"].values()
    return not running and all(m["in_flight"] == 0 and m["queued"] == 0 for m in models)


def recorded(client: httpx.Client, answer: httpx.Response) -> dict[str, Any]:
    """What the history says of a request, which it learns in the moment after its last byte."""
    asked = {"request_id": answer.headers["x-request-id"]}

    def found() -> list[dict[str, Any]]:
        recent: list[dict[str, Any]] = client.get("/api/admin/requests", params=asked).json()[
            "recent"
        ]
        return recent

    newest: dict[str, Any] = eventually(found)[0]
    return newest
