"""What the gateway and the audio engines say to each other.

    GET  /health      200 `Health` when ready; 503 `Health` with the phase before
    POST /transcribe  header `x-params`: TranscribeParams; answer: segments, then done
    POST /diarize     header `x-params`: DiarizeParams; answer: turns, then done

A request's body is mono 16 kHz s16le PCM and nothing else; its length need not be known. The answer
is NDJSON, one message a line, and may begin before the body has ended. It ends with exactly one
`Done` or `Failed`; an answer without either was broken off. An answer whose status is not 200 has
one `Failed` as its body. Closing the connection cancels.

Times are seconds from the start of the recording. This module imports nothing of ours.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import TypeVar

import msgspec

SAMPLE_RATE = 16_000
SAMPLE_BYTES = 2
PARAMS_HEADER = "x-params"
NDJSON = "application/x-ndjson"

# fmt: off
LANGUAGES: tuple[str, ...] = (
    "bg", "cs", "da", "de", "el", "en", "es", "et", "fi", "fr", "hr", "hu", "it",
    "lt", "lv", "mt", "nl", "pl", "pt", "ro", "ru", "sk", "sl", "sv", "uk",
)
# fmt: on
"""What canary-1b-v2 knows. A model of the family may know fewer: see `Health.languages`."""


def language_problem(source: str | None, target: str | None) -> tuple[str, str] | None:
    """Why this pair cannot be asked of Canary: (which parameter, plain words), or None.

    `source` None is to be detected; `target` None is the same as the source. NeMo itself answers
    an unknown language with garbage, so every caller asks here first.
    """
    for name, code in (("source", source), ("target", target)):
        if code is not None and code not in LANGUAGES:
            return name, f"'{code}' is not one of the languages known: {', '.join(LANGUAGES)}."
    if (
        target is not None
        and source is not None
        and source != target
        and "en" not in (source, target)
    ):
        return "target", f"Translation from '{source}' to '{target}': one side must be English."
    return None


class _Wire(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    pass


# --- requests -----------------------------------------------------------------------------------


class TranscribeParams(_Wire, frozen=True, forbid_unknown_fields=True):
    source: str | None = None
    """Language spoken. None: the best of `candidates`, decided on the first speech."""
    target: str | None = None
    """Language of the text. None: as spoken."""
    candidates: tuple[str, ...] = ()
    """Used when `source` is None; one candidate costs nothing."""
    pnc: bool = True
    """Punctuation and capitals."""
    timestamps: bool = True
    """Times of words and sentences, by the model; without, one segment per chunk and no words."""
    logprobs: bool = False
    """Send `Segment.tokens`."""
    samples: int | None = None
    """Length of the body, where known: gives `Progress.total`, and a short body is an error."""
    probe: bool = False
    """Decode though nothing is said, and tell no text: does the model still answer?"""


class Reference(_Wire, frozen=True):
    """A known voice: its audio lies at the head of the body, one after the other."""

    name: str
    samples: int


class DiarizeParams(_Wire, frozen=True, forbid_unknown_fields=True):
    num_speakers: int | None = None
    min_speakers: int | None = None
    max_speakers: int | None = None
    references: tuple[Reference, ...] = ()
    """Their samples come first in the body, in this order; times count from after them."""
    samples: int | None = None
    """Length of the recording, references not counted, where known."""
    probe: bool = False
    """As in TranscribeParams."""


# --- answers ------------------------------------------------------------------------------------


class Progress(_Wire, frozen=True, tag="progress", tag_field="type"):
    """How far a request has come. For transcription `done` and `total` are seconds of audio."""

    phase: str
    done: float
    total: float | None = None


class Word(_Wire, frozen=True):
    start: float
    end: float
    word: str
    confidence: float | None = None
    """From 0 to 1."""


class Token(_Wire, frozen=True):
    token: str
    logprob: float


class Segment(_Wire, frozen=True, tag="segment", tag_field="type"):
    """A stretch of text. In order of time; all texts joined by a space are the transcript."""

    start: float
    end: float
    text: str
    language: str
    """Language of `text`."""
    words: tuple[Word, ...] = ()
    logprob: float | None = None
    """Mean log-probability of the tokens of the chunk this came from."""
    tokens: tuple[Token, ...] = ()


class Turn(_Wire, frozen=True, tag="turn", tag_field="type"):
    """Someone speaks. `exclusive` turns never overlap; the others may."""

    start: float
    end: float
    speaker: str
    exclusive: bool = False


class Span(_Wire, frozen=True, array_like=True):
    start: float
    end: float


class Coverage(_Wire, frozen=True, omit_defaults=False):
    """Where speech was heard and where no believable text came of it."""

    speech_seconds: float
    decoded_seconds: float
    gaps: tuple[Span, ...] = ()


class Timings(_Wire, frozen=True, omit_defaults=False):
    """Seconds spent on one request: finding speech, waiting for the model, in the model."""

    vad: float = 0.0
    queue: float = 0.0
    model: float = 0.0


class Done(_Wire, frozen=True, tag="done", tag_field="type"):
    duration: float
    speech_spans: tuple[Span, ...] = ()
    coverage: Coverage | None = None
    language: str | None = None
    """Language spoken: as asked, or as found. None when nothing was said and none was given."""
    language_margin: float | None = None
    """Mean log-probability of the winner less that of the second; None: nothing was compared."""
    embeddings: dict[str, list[float]] = {}
    """Diarization: one vector per speaker."""
    timings: Timings | None = None


class Failed(_Wire, frozen=True, tag="error", tag_field="type", omit_defaults=False):
    """`code`: bad_request, bad_audio, loading, draining, out_of_memory or engine_error."""

    code: str
    message: str
    retryable: bool = False


Message = Progress | Segment | Turn | Done | Failed


class Health(_Wire, frozen=True, omit_defaults=False):
    phase: str
    """`starting`, `weights`, `warm-up`, `ready` or `draining`."""
    detail: str = ""
    languages: tuple[str, ...] = ()
    in_flight: int = 0
    queued: int = 0
    """Chunks that wait for the model."""


# --- to bytes and back --------------------------------------------------------------------------


class ProtocolError(ValueError):
    """The other side sent what this protocol does not know."""


_MESSAGE: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message)
_HEALTH = msgspec.json.Decoder(Health)
_Params = TypeVar("_Params", TranscribeParams, DiarizeParams)


def encode_params(params: TranscribeParams | DiarizeParams) -> str:
    """The header's value: JSON in ASCII."""
    return json.dumps(msgspec.to_builtins(params), ensure_ascii=True, separators=(",", ":"))


def decode_params(value: str, kind: type[_Params]) -> _Params:
    """Raises ProtocolError, in words that name the field."""
    try:
        return msgspec.json.decode(value, type=kind)
    except msgspec.DecodeError as exc:
        raise ProtocolError(f"{PARAMS_HEADER}: {exc}") from None


def encode(message: Message | Health) -> bytes:
    """One line."""
    return msgspec.json.encode(message) + b"\n"


def decode(line: bytes) -> Message:
    try:
        return _MESSAGE.decode(line)
    except msgspec.DecodeError as exc:
        raise ProtocolError(f"unreadable message from the engine: {exc}") from None


def decode_health(body: bytes) -> Health:
    try:
        return _HEALTH.decode(body)
    except msgspec.DecodeError as exc:
        raise ProtocolError(f"unreadable health from the engine: {exc}") from None


class Lines:
    """Cuts a stream of bytes into messages, wherever the network cut it."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[Message]:
        """The messages that are complete now. Consume all before feeding again."""
        self._rest += data
        *lines, rest = self._rest.split(b"\n")
        self._rest = rest
        for line in lines:
            if line:
                yield decode(bytes(line))


def seconds(samples: int) -> float:
    return samples / SAMPLE_RATE


def spans(pairs: Iterable[tuple[int, int]]) -> tuple[Span, ...]:
    """From samples to seconds."""
    return tuple(Span(start=seconds(a), end=seconds(b)) for a, b in pairs)
