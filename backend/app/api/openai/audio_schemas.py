"""The parameters of the audio routes: OpenAI's, checked one by one, and our extensions.

Pure. Whatever is wrong is a 400 that names the parameter; unknown fields are ignored, as OpenAI
does. What OpenAI has and Canary has no use for is accepted and said in `warnings`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from backend.app.audio.transcript import UNKNOWN_SPEAKER, Notice
from backend.app.errors import InvalidRequest
from backend.app.workers.protocol import LANGUAGES

FORMATS = ("json", "text", "srt", "verbose_json", "vtt", "diarized_json")
TRANSLATION_FORMATS = FORMATS[:-1]
DIARIZATION_FORMATS = ("json", "rttm")
STREAMED = ("json", "text", "diarized_json")
TIMED = ("verbose_json", "diarized_json")
"""Formats that have room for words."""
UNTIMED = ("json", "text")
"""Formats without any times: cheaper, as the model need not align its text."""
SPEAKER_HINTS = ("num_speakers", "min_speakers", "max_speakers", "known_speaker_names")
MOST_SPEAKERS = 50
MOST_PEAKS = 10_000
_NAME = re.compile(r"[^\s\x00-\x1f\x7f](?:[^\x00-\x1f\x7f]{0,62}[^\s\x00-\x1f\x7f])?")


class Fields:
    """The text fields of a form. Arrays are sent as `name[]` or by repeating `name`."""

    def __init__(self, fields: Mapping[str, Sequence[str]]) -> None:
        self._fields = fields

    def one(self, name: str) -> str | None:
        """The last value sent; None when that is empty or nothing was."""
        values = self._fields.get(name)
        return (values[-1].strip() or None) if values else None

    def many(self, name: str) -> list[str]:
        sent = [*self._fields.get(f"{name}[]", ()), *self._fields.get(name, ())]
        return [value.strip() for value in sent if value.strip()]

    def inner(self, name: str) -> dict[str, str]:
        """An object sent as `name[key]`."""
        start = f"{name}["
        return {
            key[len(start) : -1]: values[-1]
            for key, values in self._fields.items()
            if key.startswith(start) and key.endswith("]") and len(key) > len(start) + 1
        }

    def choice(self, name: str, allowed: Sequence[str], default: str) -> str:
        value = self.one(name)
        if value is not None and value not in allowed:
            bad(name, f"'{value}' is not one of {', '.join(allowed)}.")
        return value or default

    def number(self, name: str, low: float, high: float) -> float | None:
        value = self.one(name)
        return None if value is None else _number(name, value, low, high)

    def integer(self, name: str, low: int, high: int) -> int | None:
        value = self.number(name, low, high)
        if value is not None and not value.is_integer():
            bad(name, f"{value:g} is not a whole number.")
        return None if value is None else int(value)

    def flag(self, name: str, *, default: bool = False) -> bool:
        value = self.one(name)
        if value is None:
            return default
        if value.lower() not in {"true", "false", "1", "0"}:
            bad(name, f"'{value}' is neither true nor false.")
        return value.lower() in {"true", "1"}

    def language(self, name: str) -> str | None:
        value = self.one(name)
        return None if value is None else _language(name, value)


@dataclass(frozen=True)
class SpeakerHints:
    exactly: int | None = None
    at_least: int | None = None
    at_most: int | None = None
    names: tuple[str, ...] = ()
    """Of known speakers, in the order of their samples."""


@dataclass(frozen=True)
class TranscriptionParams:
    """A request for a transcription or translation, after every check."""

    model: str
    response_format: str
    stream: bool
    granularities: tuple[str, ...]
    language: str | None
    candidates: tuple[str, ...]
    target: str | None
    pnc: bool
    logprobs: bool
    diarize: bool
    speakers: SpeakerHints
    peaks: int
    notices: tuple[Notice, ...]

    @property
    def timestamps(self) -> bool:
        return self.diarize or self.response_format not in UNTIMED


@dataclass(frozen=True)
class DiarizationParams:
    model: str | None
    response_format: str
    exclusive: bool
    """Where a format has room for one list of turns: those that never overlap."""
    speakers: SpeakerHints


def parse_transcription(
    form: Mapping[str, Sequence[str]], *, voices: int = 0, translate: bool = False
) -> TranscriptionParams:
    """Check a form of `/v1/audio/transcriptions` or `…/translations`.

    `voices`: how many samples of known speakers came with it. Raises InvalidRequest.
    """
    fields = Fields(form)
    model = fields.one("model")
    if model is None:
        bad("model", "You must provide a 'model': a name from GET /v1/models.")
    formats = TRANSLATION_FORMATS if translate else FORMATS
    response_format = fields.choice("response_format", formats, "json")
    stream = fields.flag("stream")
    if stream and response_format not in STREAMED:
        bad("stream", f"'{response_format}' cannot be streamed, only {', '.join(STREAMED)}.")
    logprobs = _include(fields, response_format)
    speakers = parse_speakers(fields, voices)
    language = fields.language("language")
    target = fields.language("target_language") or fields.language("to_language")
    if translate and target not in {None, "en"}:
        bad("target_language", "This route translates to English; use /v1/audio/transcriptions.")
    target = "en" if translate else target
    diarize = _diarize(fields, response_format, stream, translated=target not in {None, language})
    return TranscriptionParams(
        model=model,
        response_format=response_format,
        stream=stream,
        granularities=_granularities(fields, response_format),
        language=language,
        candidates=_candidates(fields),
        target=target,
        pnc=fields.flag("pnc", default=True),
        logprobs=logprobs,
        diarize=diarize,
        speakers=speakers,
        peaks=fields.integer("peaks", 0, MOST_PEAKS) or 0,
        notices=tuple(_without_effect(fields, diarize)),
    )


def parse_diarization(form: Mapping[str, Sequence[str]], *, voices: int = 0) -> DiarizationParams:
    """Check a form of `/v1/audio/diarizations`. Raises InvalidRequest."""
    fields = Fields(form)
    return DiarizationParams(
        model=fields.one("model"),
        response_format=fields.choice("response_format", DIARIZATION_FORMATS, "json"),
        exclusive=fields.flag("exclusive"),
        speakers=parse_speakers(fields, voices),
    )


def parse_speakers(fields: Fields, voices: int) -> SpeakerHints:
    exactly = fields.integer("num_speakers", 1, MOST_SPEAKERS)
    at_least = fields.integer("min_speakers", 1, MOST_SPEAKERS)
    at_most = fields.integer("max_speakers", 1, MOST_SPEAKERS)
    if exactly is not None and (at_least, at_most) != (None, None):
        bad("num_speakers", "Give either 'num_speakers' or bounds, not both.")
    if at_least is not None and at_most is not None and at_least > at_most:
        bad("min_speakers", f"'min_speakers' ({at_least}) is above 'max_speakers' ({at_most}).")
    names = tuple(fields.many("known_speaker_names"))
    if len(names) != voices:
        bad(
            "known_speaker_names" if len(names) < voices else "known_speaker_references",
            f"{len(names)} known speakers are named and {voices} samples were sent;"
            " each needs the other.",
        )
    for name in names:
        if not _NAME.fullmatch(name):
            bad("known_speaker_names", "A speaker's name is one line of 1 to 64 characters.")
        if name.casefold() == UNKNOWN_SPEAKER:
            bad("known_speaker_names", f"'{name}' stands for nobody known; give another name.")
    if len({name.casefold() for name in names}) < len(names):
        bad("known_speaker_names", "Two known speakers have the same name.")
    return SpeakerHints(exactly, at_least, at_most, names)


def bad(param: str, message: str) -> NoReturn:
    raise InvalidRequest(message, param=param)


def _number(name: str, text: str, low: float, high: float) -> float:
    try:
        value = float(text)
    except ValueError:
        bad(name, f"'{text}' is not a number.")
    if not low <= value <= high or math.isnan(value):
        bad(name, f"{text} is not between {low:g} and {high:g}.")
    return value


def _language(name: str, text: str) -> str:
    """ISO 639-1; a region (`en-GB`) says nothing to Canary and is left off."""
    code = re.split("[-_]", text.lower(), maxsplit=1)[0]
    if code not in LANGUAGES:
        bad(name, f"'{text}' is not one of the languages known: {', '.join(LANGUAGES)}.")
    return code


def _candidates(fields: Fields) -> tuple[str, ...]:
    """Each once: two that are the same would tie, and cost twice."""
    named = (_language("languages", code) for code in fields.many("languages"))
    return tuple(dict.fromkeys(named))


def _include(fields: Fields, response_format: str) -> bool:
    wanted = fields.many("include")
    for name in wanted:
        if name != "logprobs":
            bad("include", f"'{name}' cannot be included, only 'logprobs'.")
    if wanted and response_format != "json":
        bad("include", "'logprobs' need 'response_format' to be 'json'.")
    return bool(wanted)


def _granularities(fields: Fields, response_format: str) -> tuple[str, ...]:
    name = "timestamp_granularities"
    wanted = tuple(dict.fromkeys(fields.many(name)))
    for value in wanted:
        if value not in {"word", "segment"}:
            bad(name, f"'{value}' is neither 'word' nor 'segment'.")
    if wanted and response_format not in TIMED:
        bad(name, "Timestamp granularities need 'response_format' to be 'verbose_json'.")
    return wanted or ("segment",)


def _diarize(fields: Fields, response_format: str, stream: bool, *, translated: bool) -> bool:
    wanted = fields.flag("diarize", default=response_format == "diarized_json")
    if response_format == "diarized_json" and not wanted:
        bad("diarize", "'diarized_json' is the format of a diarization; leave 'diarize' out.")
    if wanted and translated:
        name = "diarize" if response_format != "diarized_json" else "response_format"
        bad(name, "A translation has no times of words by which to tell speakers apart.")
    if wanted and response_format == "json":
        bad("diarize", "'json' has no room for speakers; 'diarized_json' has.")
    if wanted and stream and response_format != "diarized_json":
        bad("diarize", "A stream tells speakers as 'diarized_json' only.")
    return wanted


def _without_effect(fields: Fields, diarize: bool) -> list[Notice]:
    """Check what Canary cannot use, and say so."""
    unused = [name for name in ("prompt",) if fields.one(name)]
    unused += ["keywords"] if fields.many("keywords") else []
    temperature = fields.number("temperature", 0, 1)
    unused += ["temperature"] if temperature else []
    unused += ["chunking_strategy"] if _manual_chunking(fields) else []
    found = [(name, "on this model") for name in unused]
    if fields.one("language") and fields.many("languages"):
        found.append(("languages", "beside 'language'"))
    if not diarize:
        found += [(name, "without 'diarize'") for name in SPEAKER_HINTS if fields.many(name)]
    return [
        Notice("parameter_without_effect", f"'{name}' has no effect {why}.") for name, why in found
    ]


def _manual_chunking(fields: Fields) -> bool:
    """True for a `server_vad` object: recordings are cut by our own detection of speech."""
    name = "chunking_strategy"
    text = fields.one(name)
    strategy: object = fields.inner(name)
    if text is not None and text != "auto":
        try:
            strategy = json.loads(text)
        except (ValueError, RecursionError):
            strategy = None
    if strategy == {} and text in {None, "auto"}:
        return False
    if not isinstance(strategy, dict) or strategy.get("type") != "server_vad":
        bad(name, "Must be 'auto' or an object whose 'type' is 'server_vad'.")
    for key, low, high in (
        ("threshold", 0, 1),
        ("prefix_padding_ms", 0, 60_000),
        ("silence_duration_ms", 0, 60_000),
    ):
        if strategy.get(key) is not None:
            _number(f"{name}[{key}]", str(strategy[key]), low, high)
    return True
