"""Decodes the sample recordings with NeMo itself, whole and cut at silences, as a gateway does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nemo.collections.asr.models import ASRModel
from silero_vad import get_speech_timestamps, load_silero_vad

from tools.demo_models.manifest import Recording, Speech
from tools.demo_models.speech import RATE, Samples, decode

from .package import NAME
from .tokenizer import plain

PADS_S = (0.0, 0.03, 0.1, 0.2, 0.3)
"""Quiet kept on each side of a cut."""
LATE_S = 0.4
"""How far the first and the last word may lie from where the speech begins and ends."""


@dataclass(frozen=True)
class Task:
    """Samples to decode, and the text that must come out."""

    name: str
    audio: Samples
    source: str
    target: str
    pnc: bool
    text: str

    @property
    def wanted(self) -> str:
        return self.text if self.pnc else plain(self.text)


def check(speech: Speech, model: Path) -> list[str]:
    """One line for each text or timestamp that is not what the manifest says."""
    torch.set_num_threads(1)
    canary = ASRModel.restore_from(str(model / NAME), map_location="cpu").eval()
    tasks = [task for recording in speech.recordings for task in _tasks(recording)]
    groups: dict[tuple[str, str, bool], list[Task]] = {}
    for task in tasks:
        groups.setdefault((task.source, task.target, task.pnc), []).append(task)
    misses = [miss for group in groups.values() for miss in _misses(canary, group)]
    print(f"canary: {len(tasks)} texts, {len(misses)} wrong", flush=True)
    return misses


def _tasks(recording: Recording) -> list[Task]:
    """The recording whole, its translations, and each of its sentences cut out."""
    language, audio = recording.language, decode(recording.where)
    tasks = []
    for pnc in (True, False):
        for target, text in {language: recording.text, **recording.translations}.items():
            name = f"{recording.file} {language}>{target}"
            tasks.append(Task(name, audio, language, target, pnc, text))
        for pad in PADS_S:
            for turn, (start, end) in zip(
                recording.turns, sentences(recording, audio), strict=True
            ):
                edge = int(pad * RATE)
                cut = audio[max(0, start - edge) : end + edge]
                name = f"{recording.file} cut at {start / RATE:.2f} pad {pad}"
                tasks.append(Task(name, cut, language, language, pnc, turn.text))
    return tasks


def sentences(recording: Recording, audio: Samples) -> list[tuple[int, int]]:
    """Where silero-vad hears each sentence, in samples. ValueError if it hears more or fewer."""
    spans = get_speech_timestamps(
        torch.from_numpy(audio), load_silero_vad(), min_silence_duration_ms=400, speech_pad_ms=0
    )
    if len(spans) != len(recording.turns):
        raise ValueError(f"{recording.file}: {len(spans)} stretches of speech")
    return [(span["start"], span["end"]) for span in spans]


def _misses(canary: Any, group: list[Task]) -> list[str]:
    """Decode tasks of one prompt in batches, with timestamps where source is target."""
    first = group[0]
    timed = first.source == first.target
    hypotheses = canary.transcribe(
        [task.audio for task in group] + [np.zeros(RATE, np.float32)],
        batch_size=8,
        source_lang=first.source,
        target_lang=first.target,
        pnc="yes" if first.pnc else "no",
        timestamps=timed,
        verbose=False,
    )
    misses = []
    for task, hypothesis in zip(group, hypotheses, strict=False):
        pnc = "pnc" if task.pnc else "plain"
        if hypothesis.text != task.wanted:
            misses.append(f"{task.name} {pnc}: got {hypothesis.text!r}, want {task.wanted!r}")
        elif timed and (problem := _untimely(task, hypothesis.timestamp["word"])):
            misses.append(f"{task.name} {pnc}: {problem}")
    return misses


def _untimely(task: Task, words: list[dict[str, Any]]) -> str | None:
    """What is wrong with the times of the words, if anything."""
    if " ".join(word["word"] for word in words) != task.wanted:
        return f"words {[word['word'] for word in words]}"
    times = [time for word in words for time in (word["start"], word["end"])]
    if times != sorted(times):
        return f"times not in order: {times}"
    loud = np.flatnonzero(np.abs(task.audio) > 0.01) / RATE
    if abs(times[0] - loud[0]) > LATE_S or abs(times[-1] - loud[-1]) > LATE_S:
        return f"{times[0]:.2f} to {times[-1]:.2f}, speech {loud[0]:.2f} to {loud[-1]:.2f}"
    return None
