"""The Pyannote worker with the real pipelines: it answers what pyannote does, however long."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import wave
from collections.abc import AsyncIterator, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest

from backend.app.models.pyannote import DEMO_SAME_VOICE
from backend.app.workers import protocol as p
from tools.bench.scores import error_rate
from tools.demo_models.manifest import Manifest

from .conftest import QUIET, READY_S, REPOSITORY, running
from .pyannote_client import (
    Worker,
    asking,
    cut,
    dialogue,
    hub_cache,
    pieces,
    repeated,
    until,
    voices,
    with_voices,
)

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

PIPELINES = ("pyannote-3.1", "pyannote-community-1")
WINDOW_S, OVERLAP_S = 60, 10
"""Short, so that minutes take several windows; each sample recording fits in one."""
DIALOGUES = ("dialogue-two", "dialogue-three")
WORST = 0.05
PACKAGED = "the sample that comes with pyannote.audio"


@cache
def packaged() -> bytes:
    """Half a minute of two people on the telephone, whom the demo pipelines do not know."""
    found = find_spec("pyannote.audio")
    assert found is not None
    assert found.origin is not None
    with wave.open(str(Path(found.origin).parent / "sample" / "sample.wav")) as file:
        assert (file.getnchannels(), file.getframerate()) == (1, p.SAMPLE_RATE)
        samples: bytes = file.readframes(file.getnframes())
        return samples


@pytest.fixture(scope="module", params=PIPELINES)
def worker(
    request: pytest.FixtureRequest, manifest: Manifest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Worker]:
    """Of 3.1 as it is published: in a Hub's cache, spread over repositories."""
    where = manifest.models[request.param].where
    flags = ["--window-s", str(WINDOW_S), "--overlap-s", str(OVERLAP_S)]
    flags += ["--same-voice", DEMO_SAME_VOICE]
    if request.param == "pyannote-3.1":
        cache_dir = tmp_path_factory.mktemp("hub")
        where = hub_cache(where, cache_dir)
        flags += ["--cache", str(cache_dir)]
    with running("backend.app.workers.pyannote", where, *flags) as process:
        yield Worker(request.param, process)


@pytest.fixture(scope="module")
def direct(
    worker: Worker,
    manifest: Manifest,
    pcm: dict[str, bytes],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Any]:
    """The pipeline called directly, in a process with nothing of ours."""
    directory = tmp_path_factory.mktemp("direct")
    jobs: list[tuple[str, str, dict[str, int]]] = []
    for number, (name, samples) in enumerate({**pcm, PACKAGED: packaged()}.items()):
        path = directory / f"{number}.pcm"
        path.write_bytes(samples)
        jobs.append((name, str(path), {}))
        if any(one in name for one in DIALOGUES):
            jobs += [
                (f"{name} of {count}", str(path), {"num_speakers": count}) for count in (1, 2, 3)
            ]
    done = subprocess.run(
        [sys.executable, "-m", "tests.engines.pyannote_directly",
         manifest.models[worker.name].where],
        cwd=REPOSITORY,
        env={**os.environ, **QUIET, "PYANNOTE_METRICS_ENABLED": "0"},
        input=json.dumps(jobs).encode(),
        capture_output=True,
        timeout=READY_S + 120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()[-4000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def wanted(direct: dict[str, Any], name: str, samples: bytes) -> list[list[tuple[Any, ...]]]:
    length = len(samples) / 2 / p.SAMPLE_RATE
    return [until(turns, length) for turns in direct[name][:2]]


# ---- what it says -------------------------------------------------------------------------------


def test_it_equals_the_pipeline_exactly(
    worker: Worker, direct: dict[str, Any], pcm: dict[str, bytes]
) -> None:
    for name, samples in {**pcm, PACKAGED: packaged()}.items():
        found = worker.diarize(samples, samples=len(samples) // 2)
        turns, exclusive = wanted(direct, name, samples)
        assert found.turns == turns, name
        assert found.exclusive == exclusive, name
        for speaker, vector in direct[name][2].items():
            if speaker in found.vectors and np.isfinite(vector).all() and np.any(vector):
                assert found.vectors[speaker] == pytest.approx(vector, abs=1e-6)


def test_a_given_number_equals_the_pipeline_s(
    worker: Worker, direct: dict[str, Any], manifest: Manifest, pcm: dict[str, bytes]
) -> None:
    for stem in DIALOGUES:
        file = dialogue(manifest, stem).file
        for count in (1, 2, 3):
            found = worker.diarize(pcm[file], num_speakers=count)
            assert found.turns == wanted(direct, f"{file} of {count}", pcm[file])[0]
            assert len(found.speakers) == count


def test_clean_dialogues_are_told_apart_without_a_hint(
    worker: Worker, manifest: Manifest, pcm: dict[str, bytes]
) -> None:
    for stem in DIALOGUES:
        recording = dialogue(manifest, stem)
        found = worker.diarize(pcm[recording.file])
        assert len(found.speakers) == len(recording.speakers)
        assert error_rate(recording.times, found.turns) <= WORST


def test_silence_is_nobody(worker: Worker) -> None:
    found = worker.diarize(bytes(5 * 32_000))
    assert (found.turns, found.exclusive, found.vectors) == ([], [], {})


# ---- however long -------------------------------------------------------------------------------


def test_speakers_are_the_same_through_all_windows(
    worker: Worker, manifest: Manifest, pcm: dict[str, bytes]
) -> None:
    body, truth = repeated(manifest, pcm, ["two", "three", "two", "three", "two", "three"])
    assert len(body) / 32_000 > 2 * WINDOW_S
    messages = worker.messages(body)
    done = [m for m in messages if isinstance(m, p.Progress) and m.phase == "segmentation"]
    assert [m.done for m in done] == sorted(m.done for m in done)
    found = worker.diarize(body)
    assert len(found.speakers) == 3
    assert error_rate(truth, found.turns) <= WORST
    for count in (1, 2, 3):
        assert len(worker.diarize(body, num_speakers=count).speakers) == count


# ---- known voices -------------------------------------------------------------------------------


def test_known_voices_are_named_whatever_their_order(
    worker: Worker, manifest: Manifest, pcm: dict[str, bytes]
) -> None:
    recording = dialogue(manifest, "dialogue-three")
    for names in (("anna", "ben"), ("ben", "anna"), ("ben",)):
        samples = voices(manifest, pcm, *names)
        found = worker.diarize(**with_voices(samples, pcm[recording.file]))
        said = {name: [(a, b) for a, b, who in found.turns if who == name] for name in names}
        for name in names:
            own = [(a, b, name) for a, b, who in recording.times if who == name]
            assert error_rate(own, [(a, b, name) for a, b in said[name]]) <= 2 * WORST
        assert len(found.speakers) == 3


def test_who_is_not_there_is_given_to_nobody(
    worker: Worker, manifest: Manifest, pcm: dict[str, bytes]
) -> None:
    body = pcm[dialogue(manifest, "voyage").file]
    found = worker.diarize(**with_voices(voices(manifest, pcm, "anna", "ben"), body))
    assert not {"anna", "ben"} & set(found.speakers)


def test_a_sample_without_a_voice_is_refused_by_name(
    worker: Worker, manifest: Manifest, pcm: dict[str, bytes]
) -> None:
    body = pcm[dialogue(manifest, "dialogue-two").file]
    (failed,) = (
        m
        for m in worker.messages(**with_voices({"nobody": bytes(4 * 32_000)}, body))
        if not isinstance(m, p.Progress)
    )
    assert isinstance(failed, p.Failed)
    assert failed.code == "bad_audio"
    assert "'nobody'" in failed.message


# ---- bad luck -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"num_speakers": 0}, "num_speakers"),
        ({"num_speakers": -1}, "num_speakers"),
        ({"min_speakers": 3, "max_speakers": 2}, "min_speakers"),
        ({"max_speakers": 101}, "max_speakers"),
    ],
)
def test_what_makes_no_sense_is_refused(worker: Worker, params: dict[str, int], field: str) -> None:
    (failed,) = worker.messages(bytes(32_000), **params)
    assert isinstance(failed, p.Failed)
    assert failed.code == "bad_request"
    assert field in failed.message


def test_more_speakers_than_there_is_speech_for_is_no_failure(
    worker: Worker, manifest: Manifest, pcm: dict[str, bytes]
) -> None:
    body = cut(pcm[dialogue(manifest, "dialogue-two").file], 0, 4)
    assert worker.diarize(body, num_speakers=50).turns


def test_who_leaves_frees_the_model_for_the_next(
    worker: Worker, manifest: Manifest, pcm: dict[str, bytes]
) -> None:
    body = pcm[dialogue(manifest, "dialogue-two").file]

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield body

    async def leave(session: aiohttp.ClientSession) -> list[p.Message]:
        sending = asyncio.ensure_future(session.post("/diarize", data=endless()))
        await in_flight(session, 1)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        await in_flight(session, 0)
        async with session.post("/diarize", data=pieces(body * 20)) as answer:
            await answer.content.readline()
            assert answer.connection is not None
            assert answer.connection.transport is not None
            answer.connection.transport.abort()
        await in_flight(session, 0)
        return await asking(body)(session)

    (messages,) = worker.run(leave)
    assert isinstance(messages[-1], p.Done)


async def in_flight(session: aiohttp.ClientSession, count: int) -> None:
    while True:
        async with session.get("/health") as answer:
            found = p.decode_health(await answer.read())
        if (found.in_flight, found.queued) == (count, 0):
            return
        await asyncio.sleep(0.02)


def test_a_probe_needs_no_voice(worker: Worker) -> None:
    assert worker.messages(bytes(32_000), probe=True) == [p.Done(duration=1)]


def test_phases_are_told_while_loading(worker: Worker) -> None:
    lines = worker.process.log.read_text().splitlines()
    phases = [line.split()[1] for line in lines if line.startswith("PHASE ")]
    assert list(dict.fromkeys(phases)) == ["starting", "weights", "warm-up", "ready"]
