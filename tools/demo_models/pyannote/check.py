"""Runs the demo pipelines with pyannote.audio itself and scores them against the RTTM files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from pyannote.audio import Pipeline
from pyannote.core import Annotation
from pyannote.database.util import load_rttm
from pyannote.metrics.diarization import DiarizationErrorRate

from tools.demo_models.manifest import Recording, Speech
from tools.demo_models.speech import RATE, decode

WORST = 0.05
"""The highest diarization error rate that passes; no collar, overlaps counted."""


def check(speech: Speech, models: list[Path]) -> list[str]:
    """One line for each recording with too many errors or another number of speakers."""
    torch.set_num_threads(1)
    misses = []
    for model in models:
        pipeline = Pipeline.from_pretrained(model)
        for recording in speech.recordings:
            if miss := _miss(pipeline, recording):
                misses.append(f"{model.name} {recording.file}: {miss}")
    print(f"pyannote: {len(models) * len(speech.recordings)} recordings, {len(misses)} wrong")
    return misses


def diarize(pipeline: Any, recording: Recording) -> Annotation:
    samples = torch.from_numpy(decode(recording.where))[None]
    name = recording.where.stem
    return pipeline({"waveform": samples, "sample_rate": RATE, "uri": name}).speaker_diarization


def _miss(pipeline: Any, recording: Recording) -> str | None:
    (truth,) = load_rttm(recording.rttm).values()
    found = diarize(pipeline, recording)
    rate = DiarizationErrorRate()(truth, found)
    speakers = len(found.labels())
    print(f"{recording.file}: {speakers} speakers, DER {rate:.3f}", flush=True)
    if speakers != len(recording.speakers) or rate > WORST:
        return f"{speakers} of {len(recording.speakers)} speakers, DER {rate:.3f}"
    return None
