"""The two sides of the comparison: clients of a gateway, and a pipeline without one."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from backend.app.config import Settings
from backend.app.models.canary import DEMO_PAUSE_S
from backend.app.workers.protocol import SAMPLE_RATE
from tools.bench.gateway import LOAD_S, ROOT, BenchError, Gateway
from tools.demo_models.speech import decode

PATH = "/v1/audio/transcriptions"
KEY = "canary"
CLIENT_S = 3600
_STAGE = re.compile(r"(\w+);dur=([\d.]+)")


@dataclass(frozen=True)
class Clip:
    """A file to transcribe; `seconds` of audio are in it."""

    path: Path
    language: str
    seconds: float


@dataclass(frozen=True)
class Round:
    """What came of a list of clips. `stages`: seconds per stage, for each clip or in all."""

    seconds: float
    texts: tuple[str, ...]
    stages: dict[str, tuple[float, ...]] = field(default_factory=dict)
    latencies: tuple[float, ...] = ()


Heard = tuple[str, float, dict[str, float]]
"""Text, seconds until it was there, seconds of each stage as the gateway tells them."""


def clip_of(path: Path, language: str) -> Clip:
    return Clip(path, language, len(decode(path)) / SAMPLE_RATE)


# ---- through the gateway ----------------------------------------------------------------------


class Clients:
    """Closed-loop clients: each sends its next file when its last one is answered."""

    def __init__(self, port: int, *, times: bool) -> None:
        self._url = f"http://127.0.0.1:{port}{PATH}"
        self._format = "verbose_json" if times else "json"

    def run(self, clips: Sequence[Clip], clients: int) -> Round:
        """Raises BenchError for an answer that is no transcript."""
        return asyncio.run(self._run(clips, clients))

    async def _run(self, clips: Sequence[Clip], clients: int) -> Round:
        found: list[Heard] = [("", 0.0, {})] * len(clips)
        numbers = iter(range(len(clips)))
        async with self.session(clients) as session:

            async def client() -> None:
                for number in numbers:
                    found[number] = await self.ask(session, clips[number])

            started = time.perf_counter()
            await asyncio.gather(*(client() for _ in range(clients)))
            seconds = time.perf_counter() - started
        names = found[0][2]
        stages = {name: tuple(spent[name] for *_, spent in found) for name in names}
        texts = tuple(text for text, *_ in found)
        return Round(seconds, texts, stages, tuple(latency for _, latency, _ in found))

    def session(self, clients: int) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=clients),
            timeout=aiohttp.ClientTimeout(CLIENT_S),
        )

    async def ask(self, session: aiohttp.ClientSession, clip: Clip) -> Heard:
        form = aiohttp.FormData()
        fields = {"model": KEY, "language": clip.language, "response_format": self._format}
        for name, value in fields.items():
            form.add_field(name, value)
        started = time.perf_counter()
        with clip.path.open("rb") as file:
            form.add_field("file", file, filename=clip.path.name)
            async with session.post(self._url, data=form) as answer:
                body = await answer.read()
        seconds = time.perf_counter() - started
        if answer.status != 200:
            raise BenchError(f"{clip.path.name}: {answer.status} {body[:500]!r}")
        spent = _STAGE.findall(answer.headers["server-timing"])
        return json.loads(body)["text"], seconds, {name: float(ms) / 1000 for name, ms in spent}


@dataclass(frozen=True)
class Unloaded:
    seconds: float
    freed_bytes: int
    processes: int
    """Of the model that are left."""


class Admin:
    """Loads and unloads the model of a running gateway, and looks at its processes."""

    def __init__(self, gateway: Gateway, key: str = KEY) -> None:
        self._gateway = gateway
        self._key = key

    def load(self) -> float:
        """Seconds from the request to a model that has proven itself."""
        started = time.perf_counter()
        self._act("load", "ready")
        return time.perf_counter() - started

    def unload(self) -> Unloaded:
        receipt = self._act("unload", "idle")["receipt"]
        return Unloaded(receipt["seconds"], receipt["freed_bytes"], len(self.processes()))

    def processes(self) -> list[psutil.Process]:
        """Of the model: the guard and the worker."""
        found = []
        for child in self._gateway.process.children(recursive=True):
            try:
                if f"backend.app.workers.{self._key}" in child.cmdline():
                    found.append(child)
            except psutil.Error:
                continue
        return found

    def worker(self) -> psutil.Process:
        return max(self.processes(), key=lambda process: process.memory_info().rss)

    def family_rss(self) -> int:
        """Bytes of the gateway and all its children."""
        family = [self._gateway.process, *self._gateway.process.children(recursive=True)]
        return sum(process.memory_info().rss for process in family)

    def is_demo(self) -> bool:
        return bool(self._ask("GET", f"/v1/models/{self._key}")["demo"])

    def _act(self, action: str, wanted: str) -> dict[str, Any]:
        found = self._ask("POST", f"/api/admin/models/{self._key}/{action}?wait=true")
        if found.get("state") != wanted:
            raise BenchError(f"{action}: {json.dumps(found)[:1000]}")
        return found

    def _ask(self, method: str, path: str) -> dict[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self._gateway.port, timeout=LOAD_S)
        try:
            connection.request(method, path)
            found: dict[str, Any] = json.loads(connection.getresponse().read())
            return found
        finally:
            connection.close()


# ---- without it -------------------------------------------------------------------------------


class Alone:
    """The process of `audio_pipeline`. One question at a time."""

    def __init__(self, process: subprocess.Popen[str], *, times: bool) -> None:
        self._process = process
        self._times = times

    def run(self, clips: Sequence[Clip], clients: int) -> Round:
        found = self.ask(
            "files",
            paths=[str(clip.path) for clip in clips],
            languages=[clip.language for clip in clips],
            clients=clients,
            times=self._times,
        )
        spent: dict[str, float] = found["stages"]
        stages: dict[str, tuple[float, ...]] = {name: (s,) for name, s in spent.items()}
        return Round(found["seconds"], tuple(found["texts"]), stages)

    def ask(self, what: str, **values: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": what, **values}) + "\n")
        self._process.stdin.flush()
        return self.answer()

    def answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise BenchError(f"the pipeline ended with {self._process.wait()}")
        found: dict[str, Any] = json.loads(line)
        return found


@contextmanager
def alone(model: Path, log: Path, *, demo: bool, times: bool) -> Iterator[Alone]:
    """The pipeline with the settings of the gateway's own worker, ready; stopped at the end."""
    limit = Settings.model_fields["batch_max_audio_s"].default
    command = [sys.executable, "-m", "tools.bench.audio_pipeline", str(model)]
    command += ["--batch-audio-s", str(limit)]
    command += ["--cut-at-pause-s", DEMO_PAUSE_S] if demo else []
    with log.open("w") as errors:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        with process:
            try:
                side = Alone(process, times=times)
                side.answer()
                yield side
            finally:
                process.kill()
