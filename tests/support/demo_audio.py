"""The demo recordings as a client sends them, and what is known of them."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import srt  # type: ignore[import-untyped]
import webvtt

from tests.support import audio
from tests.support.engine import ask
from tests.support.gateway import ROOT, GatewayProcess
from tools.demo_models.manifest import DEMO, Manifest, Recording, load
from tools.demo_models.speech import RATE, decode

QUIET = {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
NEMO_S = 240
"""Deadline for NeMo called directly, import and all."""


@cache
def manifest() -> Manifest:
    return load()


def named(stem: str) -> Recording:
    """The recording `<stem>.<anything>`."""
    return next(r for r in manifest().speech.recordings if r.where.stem == stem)


def singles() -> list[Recording]:
    """The recordings of one sentence."""
    return [r for r in manifest().speech.recordings if len(r.turns) == 1]


def pcm(recording: Recording) -> bytes:
    """Its samples, as mono 16 kHz s16le."""
    return _samples(recording.where)


@cache
def _samples(path: Path) -> bytes:
    return np.rint(decode(path) * 32768).clip(-32768, 32767).astype("<i2").tobytes()


def wav(samples: bytes) -> bytes:
    """Mono 16 kHz s16le samples as a file, so that decoding changes none of them."""
    return audio.riff(audio.fmt(), (b"data", samples))


def silence(seconds: float) -> bytes:
    return bytes(2 * round(seconds * RATE))


@dataclass(frozen=True)
class Task:
    """One sentence and one prompt; `wanted` is the manifest's text for it."""

    recording: Recording
    target: str
    pnc: bool
    wanted: str

    @property
    def name(self) -> str:
        return f"{self.recording.file} > {self.target} {'with' if self.pnc else 'without'} pnc"

    @property
    def fields(self) -> dict[str, str]:
        """Of the form that asks for it."""
        return {
            "model": "canary",
            "language": self.recording.language,
            "target_language": self.target,
            "pnc": "true" if self.pnc else "false",
        }


def tasks() -> list[Task]:
    """Every sentence in every language that the manifest has for it, with and without pnc."""
    return [
        Task(recording, target, pnc, text)
        for recording in singles()
        for target, text in {recording.language: recording.text, **recording.translations}.items()
        for pnc in (True, False)
    ]


@dataclass(frozen=True)
class Direct:
    """What NeMo itself says to the same samples; words are (text, start, end)."""

    text: str
    words: list[tuple[str, float, float]]


def nemo_directly(wanted: Sequence[Task], directory: Path) -> dict[str, Direct]:
    """NeMo in a process with nothing of ours, which has ended when this returns."""
    jobs = []
    for task in wanted:
        path = directory / f"{task.recording.where.name}.pcm"
        path.write_bytes(pcm(task.recording))
        jobs.append([task.name, str(path), task.recording.language, task.target, task.pnc])
    model = DEMO / manifest().models["canary"].path / "canary.nemo"
    ended = subprocess.run(
        [sys.executable, "-m", "tests.engines.nemo_directly", model],
        cwd=ROOT,
        env={**os.environ, **QUIET},
        input=json.dumps(jobs).encode(),
        capture_output=True,
        timeout=NEMO_S,
    )
    assert ended.returncode == 0, ended.stderr.decode()[-4000:]
    answers: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return {
        name: Direct(text, [(word, start, end) for word, start, end in words])
        for name, (text, words, _) in answers.items()
    }


def spoken(body: str, response_format: str) -> str:
    """The words of an answer in any format, in one line. Fails when a real parser would."""
    if response_format == "srt":
        cues = list(srt.parse(body))
        assert [cue.index for cue in cues] == list(range(1, len(cues) + 1))
        body = " ".join(cue.content for cue in cues)
    elif response_format == "vtt":
        body = " ".join(caption.text for caption in webvtt.from_buffer(io.StringIO(body)).captions)
    elif response_format != "text":
        body = json.loads(body)["text"]
    return re.sub(r"\s+", " ", body).strip()


def workers(demo: GatewayProcess, key: str) -> list[psutil.Process]:
    """The processes of a worker: its guard and itself."""
    found = []
    for process in demo.children():
        try:
            if f"backend.app.workers.{key}" in process.cmdline():
                found.append(process)
        except psutil.Error:
            continue
    return found


def worker(demo: GatewayProcess, key: str) -> psutil.Process:
    """The engine process itself."""
    (found,) = (p for p in demo.engines() if p in workers(demo, key))
    return found


def worker_health(demo: GatewayProcess, key: str) -> dict[str, Any]:
    line = worker(demo, key).cmdline()
    status, body = ask(line[line.index("--uds") + 1], "/health")
    assert status == 200
    found: dict[str, Any] = json.loads(body)
    return found
