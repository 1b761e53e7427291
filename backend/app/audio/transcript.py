"""What a request about a recording comes to: words, segments, speaker turns. Pure.

Times are seconds from the start of the recording.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

UNKNOWN_SPEAKER = "unknown"


@dataclass(frozen=True, slots=True)
class Notice:
    """Something the caller should know about an answer that is otherwise good."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Word:
    start: float
    end: float
    text: str
    confidence: float | None = None
    """The recogniser's, from 0 to 1."""
    speaker: str | None = None
    speaker_confidence: float | None = None
    """Share of the word during which that speaker spoke, alone counted full, from 0 to 1."""
    overlap: bool = False
    """Somebody else spoke at the same time."""


@dataclass(frozen=True, slots=True)
class Token:
    text: str
    logprob: float


@dataclass(frozen=True, slots=True)
class Segment:
    start: float
    end: float
    text: str
    language: str
    words: tuple[Word, ...] = ()
    logprob: float | None = None
    """Mean log-probability of the tokens."""
    tokens: tuple[Token, ...] = ()
    speaker: str | None = None
    overlap: bool = False


@dataclass(frozen=True, slots=True)
class Turn:
    """Somebody speaks."""

    start: float
    end: float
    speaker: str


@dataclass(frozen=True, slots=True)
class Coverage:
    """Seconds of speech heard, seconds that came to text, and where none did."""

    speech_seconds: float
    decoded_seconds: float
    gaps: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Diarization:
    """Who spoke when: `exclusive` turns never overlap, `turns` may. Speakers are final names."""

    duration: float
    turns: tuple[Turn, ...]
    exclusive: tuple[Turn, ...]
    warnings: tuple[Notice, ...] = ()

    @property
    def speakers(self) -> tuple[str, ...]:
        """In order of first appearance."""
        return tuple(dict.fromkeys(turn.speaker for turn in self.turns))


@dataclass(frozen=True, slots=True)
class Transcript:
    duration: float
    text: str
    segments: tuple[Segment, ...]
    task: str = "transcribe"
    language: str | None = None
    """Language spoken, as asked or found. None: nothing was said and none was given."""
    language_margin: float | None = None
    """By how much it won over the second candidate, in mean log-probability."""
    target: str | None = None
    """Language of the text."""
    coverage: Coverage | None = None
    diarized: bool = False
    """Segments and words have speakers."""
    warnings: tuple[Notice, ...] = ()
    peaks: Mapping[str, Any] | None = None
    """The outline of the waveform, when asked for."""
    timings: Mapping[str, float] = field(default_factory=dict)
    """Seconds spent on decoding, finding speech, waiting for the model, and in the model."""

    @property
    def words(self) -> tuple[Word, ...]:
        return tuple(word for segment in self.segments for word in segment.words)
