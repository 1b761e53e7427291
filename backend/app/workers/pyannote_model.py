"""A diarization pipeline as pyannote.audio 4.0 runs it. The only module that knows pyannote."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from . import pyannote_config
from .protocol import SAMPLE_RATE
from .pyannote_types import Counts, Found, Hook, Spoken, Vector, usable
from .shell import Phase, Refused

SPEECH_S = 30.0
"""So much of a speaker's speech makes a vector where the pipeline gives none."""
_CLUSTERING = {"embeddings": 0.0, "discrete_diarization": 1.0}
"""What pyannote says before and after it, once each."""


class PyannoteModel:
    """Call it from one thread at a time."""

    def __init__(self, directory: Path, cache: Path, device: str, phase: Phase) -> None:
        config = pyannote_config.resolve(pyannote_config.read(directory), directory, cache)
        phase("starting", "importing pyannote.audio")
        import torch
        from pyannote.audio import Pipeline

        self._torch: Any = torch
        if device == "cuda":
            if not torch.cuda.is_available():
                raise RuntimeError("--device cuda, but torch sees no GPU here")
            torch.cuda.set_device(0)
        phase("weights", config["pipeline"]["params"].get("clustering", ""))
        self._pipeline: Any = Pipeline.from_pretrained(config)
        self._pipeline.to(torch.device(device))

    def __call__(self, pcm: bytes, counts: Counts, hook: Hook) -> Found:
        """Who speaks when in these s16le samples. Raises Refused, or what `hook` raises."""
        try:
            return self._diarize(self._waveform(pcm), counts, hook)
        except (MemoryError, self._torch.OutOfMemoryError) as exc:
            self._torch.cuda.empty_cache()
            message = "There is not enough free memory to tell speakers apart."
            raise Refused("out_of_memory", message, retryable=True) from exc
        except self._torch.AcceleratorError as exc:
            _die(exc)

    def probe(self, pcm: bytes, hook: Hook) -> None:
        """Through both networks, though nobody may speak."""
        self(pcm, Counts(), hook)
        self._pipeline._embedding(self._waveform(pcm)[None])

    def _waveform(self, pcm: bytes) -> Any:
        samples = np.frombuffer(pcm, "<i2").astype(np.float32)
        samples /= 32768
        return self._torch.from_numpy(samples)[None]

    def _diarize(self, waveform: Any, counts: Counts, hook: Hook) -> Found:
        output = self._run(waveform, counts, hook)
        length = waveform.shape[1] / SAMPLE_RATE
        turns = _spoken(output.speaker_diarization, length)
        exclusive = _spoken(output.exclusive_speaker_diarization, length)
        speakers = output.speaker_diarization.labels()
        vectors = {}
        for speaker, row in zip(speakers, output.speaker_embeddings, strict=True):
            vector = usable(row)
            if vector is None:
                vector = self._vector(waveform, [t for t in exclusive if t.speaker == speaker])
            if vector is not None and any(turn.speaker == speaker for turn in turns):
                vectors[speaker] = vector
        return Found(turns, exclusive, vectors)

    def _run(self, waveform: Any, counts: Counts, hook: Hook) -> Any:
        def report(
            step: str,
            artifact: object,
            file: object = None,
            total: int | None = None,
            completed: int | None = None,
        ) -> None:
            if total and completed is not None:
                # NumPy's numbers some of them; and the last batch counts as a full one
                hook(step, min(1.0, int(completed) / int(total)))
            elif step in _CLUSTERING:
                hook("clustering", _CLUSTERING[step])

        file = {"waveform": waveform, "sample_rate": SAMPLE_RATE, "uri": "recording"}
        try:
            return self._pipeline(file, hook=report, **counts.arguments())
        except ValueError:
            # fewer stretches of speech than speakers asked for: VBx cannot make so many clusters
            if counts.least is None:
                raise
            return self._pipeline(file, hook=report, **Counts(most=counts.most).arguments())

    def _vector(self, waveform: Any, turns: Sequence[Spoken]) -> Vector | None:
        """Made as the pipeline makes it, from what someone says alone. The pipeline gives none to
        who speaks less than two seconds in ten."""
        pieces = list(_first(turns, SPEECH_S))
        if not pieces:
            return None
        speech = self._torch.cat([waveform[:, start:end] for start, end in pieces], dim=1)
        if speech.shape[1] < self._pipeline._embedding.min_num_samples:
            return None
        return usable(self._pipeline._embedding(speech[None])[0])


def _spoken(annotation: Any, length: float) -> list[Spoken]:
    """pyannote fills the last stretch up with silence, in which it may hear someone go on."""
    return [
        Spoken(float(segment.start), min(float(segment.end), length), speaker)
        for segment, _, speaker in annotation.itertracks(yield_label=True)
        if segment.start < length
    ]


def _first(turns: Sequence[Spoken], longest_s: float) -> Iterator[tuple[int, int]]:
    """The first seconds of these turns, in samples."""
    left = round(longest_s * SAMPLE_RATE)
    for turn in turns:
        start = max(0, round(turn.start * SAMPLE_RATE))
        end = min(round(turn.end * SAMPLE_RATE), start + left)
        if end <= start:
            continue
        yield start, end
        left -= end - start


def _die(exc: Exception) -> NoReturn:
    """After a CUDA fault nothing in this process works any more: let it be restarted."""
    print(f"CUDA fault, the process ends: {exc}", file=sys.stderr, flush=True)
    os._exit(70)
