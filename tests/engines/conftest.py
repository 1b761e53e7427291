"""Real engines, one of each for the whole session."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backend.app.models.canary import DEMO_PAUSE_S
from tests.support.engine import ask
from tools.demo_models.manifest import Manifest, Recording, load
from tools.demo_models.speech import decode

REPOSITORY = Path(__file__).parents[2]
READY_S = 180.0
QUIET = {
    "CUDA_VISIBLE_DEVICES": "",
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "PYTHONPATH": str(REPOSITORY),
}


@dataclass(frozen=True)
class Task:
    """A sentence to decode with one prompt; `wanted` is the manifest's text for it."""

    recording: Recording
    target: str
    pnc: bool
    wanted: str

    @property
    def name(self) -> str:
        source = self.recording.language
        return f"{self.recording.file} {source}>{self.target} {'pnc' if self.pnc else 'plain'}"


@dataclass(frozen=True)
class Direct:
    """What NeMo itself answers when it is called with the same samples."""

    text: str
    words: list[tuple[str, float, float]]
    segments: list[tuple[str, float, float]]


@dataclass(frozen=True)
class RunningWorker:
    socket: str
    process: subprocess.Popen[bytes]
    log: Path
    ready_s: float

    def rss_bytes(self) -> int:
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture(scope="session")
def manifest() -> Manifest:
    return load()


@pytest.fixture(scope="session")
def pcm(manifest: Manifest) -> dict[str, bytes]:
    """Every sample recording as the gateway would send it."""
    found = {}
    for recording in manifest.speech.recordings:
        samples = decode(recording.where)
        found[recording.file] = np.rint(samples * 32768).clip(-32768, 32767).astype("<i2").tobytes()
    return found


@pytest.fixture(scope="session")
def canary_tasks(manifest: Manifest) -> list[Task]:
    """Each recording of one sentence, with and without punctuation, in each language."""
    tasks = []
    for recording in manifest.speech.recordings:
        if len(recording.turns) == 1:
            texts = {recording.language: recording.text, **recording.translations}
            for target, text in texts.items():
                tasks += [Task(recording, target, pnc, text) for pnc in (True, False)]
    return tasks


@pytest.fixture(scope="session")
def direct(
    manifest: Manifest,
    canary_tasks: list[Task],
    pcm: dict[str, bytes],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Direct]:
    """The tasks decoded by NeMo in a process of its own, without anything of ours."""
    directory = tmp_path_factory.mktemp("direct")
    jobs = []
    for task in canary_tasks:
        path = directory / f"{Path(task.recording.file).name}.pcm"
        path.write_bytes(pcm[task.recording.file])
        jobs.append([task.name, str(path), task.recording.language, task.target, task.pnc])
    model = manifest.models["canary"].where / "canary.nemo"
    done = subprocess.run(
        [sys.executable, "-m", "tests.engines.nemo_directly", model],
        cwd=REPOSITORY,
        env={**os.environ, **QUIET},
        input=json.dumps(jobs).encode(),
        capture_output=True,
        timeout=READY_S + 120,
    )
    assert done.returncode == 0, done.stderr.decode()[-4000:]
    answers: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {
        name: Direct(text, [tuple(w) for w in words], [tuple(s) for s in segments])
        for name, (text, words, segments) in answers.items()
    }


@contextmanager
def running(module: str, model: Path, *flags: str) -> Iterator[RunningWorker]:
    """A worker that is ready. It must obey SIGTERM when the session ends."""
    with tempfile.TemporaryDirectory(prefix="worker-") as directory:
        socket, log = f"{directory}/s", Path(directory) / "log"
        started = time.monotonic()
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", module, "--model", model, "--device", "cpu",
                 "--uds", socket, *flags],
                cwd=REPOSITORY, env={**os.environ, **QUIET},
                stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
            )  # fmt: skip
        try:
            while not _ready(socket):
                assert process.poll() is None, log.read_text()[-4000:]
                assert time.monotonic() < started + READY_S, log.read_text()[-4000:]
                time.sleep(0.05)
            yield RunningWorker(socket, process, log, time.monotonic() - started)
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0, log.read_text()[-4000:]
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def _ready(socket: str) -> bool:
    try:
        return ask(socket, "/health", timeout=5)[0] == 200
    except OSError:
        return False


@pytest.fixture(scope="session")
def canary_worker(manifest: Manifest, direct: dict[str, Direct]) -> Iterator[RunningWorker]:
    """After `direct`: two NeMos at a time would crowd a small machine."""
    where = manifest.models["canary"].where
    flags = ("--cut-at-pause-s", DEMO_PAUSE_S)
    with running("backend.app.workers.canary", where, *flags) as worker:
        yield worker
