"""The JSON that the audio routes answer with, for the OpenAPI document.

`audio/formats.py` writes it; a test holds each answer against these. What is `None` here by default
is left out of an answer that has nothing to say there.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class SpokenLanguage(BaseModel):
    code: str = Field(description="ISO 639-1.")


class DurationUsage(BaseModel):
    type: Literal["duration"]
    seconds: int = Field(description="Of audio, rounded up.")


class Notice(BaseModel):
    """Something that the caller should know of a request that went well."""

    code: str
    message: str


class Gap(BaseModel):
    start: float
    end: float


class Coverage(BaseModel):
    """Seconds of speech that were heard, and of those that became text that can be believed."""

    speech_seconds: float
    decoded_seconds: float
    gaps: list[Gap]


class Peaks(BaseModel):
    """The waveform's outline as audiowaveform writes it."""

    version: Literal[2]
    channels: Literal[1]
    sample_rate: int
    samples_per_pixel: int
    bits: Literal[8]
    length: int
    data: list[int] = Field(description="Lowest and highest value of each column in turn.")


class _Extensions(BaseModel):
    language_code: str | None = Field(None, description="As spoken; ISO 639-1. Extension.")
    target_language: str | None = Field(None, description="Of a translation's text. Extension.")
    language_margin: float | None = Field(
        None, description="By how much it won over the next likely language. Extension."
    )
    peaks: Peaks | None = Field(None, description="With `peaks`. Extension.")
    warnings: list[Notice] | None = Field(None, description="Extension.")


class TokenLogprob(BaseModel):
    token: str
    bytes: list[int]
    logprob: float


class Transcription(_Extensions):
    """`json`."""

    text: str
    logprobs: list[TokenLogprob] | None = Field(None, description="With `include[]=logprobs`.")
    languages: list[SpokenLanguage]
    usage: DurationUsage


class SpokenWord(BaseModel):
    word: str
    start: float
    end: float
    confidence: float | None = Field(None, description="From 0 to 1. Extension.")
    speaker: str | None = Field(None, description="When speakers are told apart. Extension.")
    speaker_confidence: float | None = Field(None, description="From 0 to 1. Extension.")
    overlap: bool | None = Field(None, description="Others speak at that time. Extension.")


class VerboseSegment(BaseModel):
    id: int
    seek: int
    start: float
    end: float
    text: str
    tokens: list[int] = Field(description="Always empty: Canary's tokens are not Whisper's.")
    temperature: float
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float = Field(description="Always 0: silence is not decoded at all.")
    speaker: str | None = Field(None, description="With `diarize`. Extension.")
    overlap: bool | None = Field(None, description="With `diarize`. Extension.")


class TranscriptionVerbose(_Extensions):
    """`verbose_json`."""

    task: Literal["transcribe", "translate"]
    language: str = Field(description="Of the text, by its English name.")
    duration: float
    text: str
    segments: list[VerboseSegment] | None = None
    words: list[SpokenWord] | None = None
    usage: DurationUsage
    coverage: Coverage | None = Field(None, description="Extension.")


class DiarizedSegment(BaseModel):
    """Also the event of that name."""

    type: Literal["transcript.text.segment"]
    id: str
    start: float
    end: float
    text: str
    speaker: str = Field(description="A, B, …, the name of a known voice, or `unknown`.")
    overlap: bool | None = Field(None, description="Others speak at that time. Extension.")
    words: list[SpokenWord] | None = Field(None, description="Extension.")


class TranscriptionDiarized(_Extensions):
    """`diarized_json`."""

    task: Literal["transcribe"]
    duration: float
    text: str
    segments: list[DiarizedSegment]
    usage: DurationUsage
    coverage: Coverage | None = Field(None, description="Extension.")


class ShortSegment(BaseModel):
    start: float
    end: float
    text: str
    speaker: str | None = Field(None, description="With `diarize`.")


class ShortTranscription(_Extensions):
    text: str
    sampling_rate: int
    segments: list[ShortSegment]


class SpeakerTurn(BaseModel):
    start: float
    end: float
    speaker: str


class Diarization(BaseModel):
    duration: float
    speakers: list[str]
    segments: list[SpeakerTurn] = Field(description="Who speaks when; turns may overlap.")
    exclusive: list[SpeakerTurn] = Field(description="The same, nobody at the same time.")
    warnings: list[Notice] | None = None


class ShortDiarization(BaseModel):
    segments: list[SpeakerTurn]
