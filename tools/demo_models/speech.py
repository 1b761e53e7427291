"""Speech for the demo models: sentences spoken by espeak-ng, and the sample recordings."""

from __future__ import annotations

import functools
import io
import itertools
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from .manifest import Recording, Speech, Turn, Voice

Samples = npt.NDArray[np.float32]

RATE = 16000
PEAK = 0.5
EDGE_S = 0.5
"""Quiet before the first and after the last turn of a recording."""
NOISE = 3e-5
"""RMS of the hiss under a recording; full scale is 1."""
CODECS = {
    ".wav": ("wav", "pcm_s16le"),
    ".flac": ("flac", "flac"),
    ".mp3": ("mp3", "libmp3lame"),
    ".m4a": ("ipod", "aac"),
    ".ogg": ("ogg", "libopus"),
    ".webm": ("webm", "libopus"),
}

LOSSY = {"libmp3lame": 64000, "aac": 64000, "libopus": 48000}
"""Bits per second."""


@dataclass(frozen=True)
class Span:
    """Where a turn lies in its recording, in samples at `RATE`."""

    start: int
    end: int
    turn: Turn


@functools.cache
def speak(voice: Voice, text: str) -> Samples:
    """`text` as mono samples at `RATE`, without silence around it. Needs espeak-ng."""
    command = ["espeak-ng", "-v", voice.espeak, "-s", str(voice.speed), "-p", str(voice.pitch)]
    wav = subprocess.run([*command, "--stdout", text], check=True, capture_output=True).stdout
    samples = decode(io.BytesIO(wav))
    samples *= np.float32(PEAK / np.abs(samples).max())
    loud = np.flatnonzero(np.abs(samples) > 0.004)
    return np.asarray(samples[loud[0] : loud[-1] + 1])


def word_ends(voice: Voice, text: str) -> list[float]:
    """When each word of `speak(voice, text)` is over, in seconds: as long as the text up to it."""
    words = text.split()
    ends = [len(speak(voice, " ".join(words[:count]))) / RATE for count in range(1, len(words))]
    whole = len(speak(voice, text)) / RATE
    return [min(whole, longest) for longest in itertools.accumulate([*ends, whole], max)]


def mix(speech: Speech, recording: Recording) -> tuple[Samples, list[Span]]:
    """The recording at `RATE`, and where each turn is."""
    position, spans = int(EDGE_S * RATE), list[Span]()
    for number, turn in enumerate(recording.turns):
        position += int(turn.pause_s * RATE) if number else 0
        end = position + len(speak(speech.voices[turn.speaker], turn.text))
        spans.append(Span(position, end, turn))
        position = end
    hiss = np.random.default_rng(len(recording.file)).standard_normal(position + int(EDGE_S * RATE))
    samples = (NOISE * hiss).astype(np.float32)
    for span in spans:
        samples[span.start : span.end] += speak(speech.voices[span.turn.speaker], span.turn.text)
    return samples, spans


def write_recordings(speech: Speech) -> None:
    """Write every recording of the manifest with its RTTM."""
    for recording in speech.recordings:
        samples, spans = mix(speech, recording)
        recording.where.parent.mkdir(parents=True, exist_ok=True)
        encode(samples, recording.where, recording.sample_rate, recording.channels)
        recording.rttm.write_text("".join(_rttm(recording.where.stem, spans)), "utf-8")


def encode(samples: Samples, target: Path | io.BytesIO, rate: int, channels: int) -> None:
    """Encode mono samples at `RATE`; the name of `target` says how."""
    container, codec = CODECS[Path(target.name).suffix]
    layout = "stereo" if channels == 2 else "mono"
    pcm = np.clip(np.rint(samples * 32767), -32768, 32767).astype(np.int16)
    if codec in LOSSY:  # the AAC encoder fails on a last frame of a few samples: make it half one
        missing = (512 - len(pcm) * rate // RATE) % 1024
        pcm = np.append(pcm, np.zeros(missing * RATE // rate, np.int16))
    frame = av.AudioFrame.from_ndarray(pcm[None], format="s16", layout="mono")
    frame.sample_rate = RATE
    with av.open(target if isinstance(target, io.BytesIO) else str(target), "w", container) as out:
        stream = out.add_stream(codec, rate=rate, layout=layout)
        if codec in LOSSY:
            stream.bit_rate = LOSSY[codec]
        for piece in (frame, None):
            out.mux(stream.encode(piece))


def decode(source: Path | io.BytesIO) -> Samples:
    """Mono samples at `RATE`."""
    with av.open(source if isinstance(source, io.BytesIO) else str(source)) as media:
        resampler = av.AudioResampler("s16", "mono", RATE)
        frames: list[Any] = [
            piece for f in media.decode(audio=0) for piece in resampler.resample(f)
        ]
        frames += resampler.resample(None)
    pcm = np.concatenate([frame.to_ndarray()[0] for frame in frames])
    return np.asarray(pcm / 32768, np.float32)


def _rttm(name: str, spans: list[Span]) -> Iterator[str]:
    for span in spans:
        start, length = span.start / RATE, (span.end - span.start) / RATE
        speaker = span.turn.speaker
        yield f"SPEAKER {name} 1 {start:.3f} {length:.3f} <NA> <NA> {speaker} <NA> <NA>\n"
