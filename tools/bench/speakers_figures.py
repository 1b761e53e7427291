"""What is measured of telling speakers apart, one function a figure."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import numpy as np
import psutil

from backend.app.workers.pyannote_types import Counts, Vector
from backend.app.workers.pyannote_voices import distances
from tools.bench.audio_figures import forget_peak, peak
from tools.bench.gateway import BenchError
from tools.bench.scores import by_speaker, cpwer, error_rate
from tools.demo_models.manifest import Recording, Speech
from tools.demo_models.speech import RATE, decode

TRANSCRIPTIONS, DIARIZATIONS = "/v1/audio/transcriptions", "/v1/audio/diarizations"


class Client:
    """Asks a gateway, one request after the other."""

    def __init__(self, port: int) -> None:
        self._http = httpx.Client(
            base_url=f"http://127.0.0.1:{port}", timeout=3600, trust_env=False
        )

    def both(self, file: Path, language: str) -> dict[str, Any]:
        """Text and speakers in one request."""
        return self._ask(TRANSCRIPTIONS, file, model="canary", language=language,
                         response_format="diarized_json")  # fmt: skip

    def text(self, file: Path, language: str) -> dict[str, Any]:
        """Text with times of words, as the speakers' text needs them."""
        return self._ask(TRANSCRIPTIONS, file, model="canary", language=language,
                         response_format="verbose_json")  # fmt: skip

    def turns(self, file: Path) -> dict[str, Any]:
        return self._ask(DIARIZATIONS, file, model="pyannote")

    def _ask(self, path: str, file: Path, **fields: str) -> dict[str, Any]:
        with file.open("rb") as body:
            answer = self._http.post(path, data=fields, files={"file": (file.name, body)})
        found: dict[str, Any] = answer.json()
        if answer.status_code != 200 or "warnings" in found:
            raise BenchError(f"{path}: {answer.status_code} {answer.text[:500]}")
        return found


# ---- who said what ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Quality:
    """Of one recording, without a hint. `der`: no collar, overlaps counted."""

    name: str
    speakers: int
    found: int
    der: float
    cpwer: float


def quality(client: Client, recording: Recording) -> Quality:
    turns = client.turns(recording.where)["segments"]
    said = client.both(recording.where, recording.language)["segments"]
    return Quality(
        name=recording.where.stem,
        speakers=len(recording.speakers),
        found=len({turn["speaker"] for turn in turns}),
        der=error_rate(
            recording.times, [(turn["start"], turn["end"], turn["speaker"]) for turn in turns]
        ),
        cpwer=cpwer(
            by_speaker((turn.speaker, turn.text) for turn in recording.turns),
            by_speaker((segment["speaker"], segment["text"]) for segment in said),
        ),
    )


# ---- together or one after the other ----------------------------------------------------------


@dataclass(frozen=True)
class Together:
    """Seconds, medians of the rounds; the ratios are medians of each round's."""

    audio_s: float
    rounds: int
    both_s: float
    text_s: float
    turns_s: float
    wall: float
    """One request ÷ two, one after the other."""
    slower: float
    """One request ÷ the slower of the two."""
    cpu: float
    """CPU seconds of gateway and engines, one request ÷ two."""

    @property
    def per_hour_s(self) -> float:
        return self.both_s / self.audio_s * 3600


def together(
    client: Client, file: Path, audio_s: float, rounds: int, cpu_s: Callable[[], float]
) -> Together:
    """Rounds A B, B A, …; a first one is not counted."""

    def took(work: Callable[[], object]) -> tuple[float, float]:
        wall, cpu = time.perf_counter(), cpu_s()
        work()
        return time.perf_counter() - wall, cpu_s() - cpu

    def one() -> list[tuple[float, float]]:
        return [took(lambda: client.both(file, "en"))]

    def two() -> list[tuple[float, float]]:
        return [took(lambda: client.text(file, "en")), took(lambda: client.turns(file))]

    one()
    two()
    found = []
    for number in range(rounds):
        if number % 2:
            (text, turns), (both,) = two(), one()
        else:
            (both,), (text, turns) = one(), two()
        found.append((both, text, turns))
    return Together(
        audio_s=audio_s,
        rounds=rounds,
        both_s=median(both[0] for both, _, _ in found),
        text_s=median(text[0] for _, text, _ in found),
        turns_s=median(turns[0] for _, _, turns in found),
        wall=median(both[0] / (text[0] + turns[0]) for both, text, turns in found),
        slower=median(both[0] / max(text[0], turns[0]) for both, text, turns in found),
        cpu=median(both[1] / (text[1] + turns[1]) for both, text, turns in found),
    )


# ---- however long -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Memory:
    """One recording, text and speakers in one request. Bytes: the highest resident memory."""

    audio_s: float
    seconds: float
    speakers: int
    gateway: int
    canary: int
    pyannote: int


def memory(client: Client, file: Path, audio_s: float, watched: Sequence[psutil.Process]) -> Memory:
    """`watched`: the gateway and both engines."""
    for process in watched:
        forget_peak(process)
    started = time.perf_counter()
    found = client.both(file, "en")
    seconds = time.perf_counter() - started
    speakers = len({segment["speaker"] for segment in found["segments"]})
    return Memory(audio_s, seconds, speakers, *map(peak, watched))


# ---- known voices -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Threshold:
    """Shares of pairs of samples: of two people within `at`, of one person beyond it."""

    at: float
    false_accepts: float
    false_rejects: float


@dataclass(frozen=True)
class Curve:
    same: int
    others: int
    """So many pairs."""
    farthest_same: float
    nearest_other: float
    thresholds: tuple[Threshold, ...]


AT = (0.02, 0.05, 0.08, 0.1, 0.12, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.8)
LEAST_S = 2.0
"""Of a sample, as in OpenAI's contract: the shortest are the hardest to tell apart."""


def curve(pipeline: Path, speech: Speech) -> Curve:
    """Each sample of a voice against each other one, by the worker's own model in this process."""
    from backend.app.workers.pyannote_model import PyannoteModel

    model = PyannoteModel(pipeline, pipeline.parent, "cpu", lambda *_: None)
    heard: list[tuple[str, Vector]] = []
    for voice, pcm in _samples(speech):
        for vector in model(pcm, Counts(1, 1), lambda *_: None).vectors.values():
            heard.append((voice, vector))
    far = distances([v for _, v in heard], [v for _, v in heard])
    pairs = [(heard[i][0] == heard[j][0], far[i, j]) for i, j in combinations(range(len(heard)), 2)]
    same = np.array([d for equal, d in pairs if equal])
    others = np.array([d for equal, d in pairs if not equal])
    return Curve(
        same=len(same),
        others=len(others),
        farthest_same=float(same.max()),
        nearest_other=float(others.min()),
        thresholds=tuple(
            Threshold(at, float((others <= at).mean()), float((same > at).mean())) for at in AT
        ),
    )


def _samples(speech: Speech) -> Iterator[tuple[str, bytes]]:
    """Each voice's turns in each recording: one a sample, or more where they are short."""
    for recording in speech.recordings:
        audio = np.rint(decode(recording.where) * 32767).astype("<i2")
        for voice in recording.speakers:
            own = [
                audio[round(start * RATE) : round(end * RATE)]
                for start, end, who in recording.times
                if who == voice
            ]
            sample: list[Any] = []
            for turn in own:
                sample.append(turn)
                if sum(map(len, sample)) >= LEAST_S * RATE:
                    yield voice, np.concatenate(sample).tobytes()
                    sample = []
