"""Transcripts and diarizations as bodies of answers and as events."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

import msgspec

from backend.app.api.openai.audio_answer import Rendered
from backend.app.api.openai.audio_schemas import DiarizationParams, TranscriptionParams
from backend.app.audio import formats, subtitles
from backend.app.audio.transcript import Diarization, Segment, Transcript
from backend.app.workers.protocol import SAMPLE_RATE

JSON = "application/json"
PLAIN = "text/plain; charset=utf-8"
VTT = "text/vtt; charset=utf-8"


def transcript_body(transcript: Transcript, params: TranscriptionParams) -> Rendered:
    """The answer in the format asked for. Takes a while for hours of speech: not for the loop."""
    headers = transcript_headers(transcript)
    if params.response_format == "text":
        return Rendered(formats.text(transcript).encode(), PLAIN, headers)
    if params.response_format == "srt":
        return Rendered(subtitles.srt(transcript).encode(), PLAIN, headers)
    if params.response_format == "vtt":
        return Rendered(subtitles.vtt(transcript).encode(), VTT, headers)
    if params.response_format == "verbose_json":
        body = formats.verbose_json(transcript, params.granularities)
    elif params.response_format == "diarized_json":
        body = formats.diarized_json(transcript, words="word" in params.granularities)
    else:
        body = formats.json(transcript, logprobs=params.logprobs)
    return Rendered(msgspec.json.encode(body), JSON, headers)


def short_transcript_body(transcript: Transcript, params: TranscriptionParams) -> Rendered:
    body = formats.short_json(transcript, SAMPLE_RATE)
    return Rendered(msgspec.json.encode(body), JSON, transcript_headers(transcript))


def transcript_headers(transcript: Transcript) -> dict[str, str]:
    """Where the time went, and the codes of warnings for formats that have no place for them."""
    spent = ", ".join(f"{name};dur={s * 1000:.1f}" for name, s in transcript.timings.items())
    out = {"server-timing": spent} if spent else {}
    if transcript.warnings:
        out["x-warnings"] = ", ".join(dict.fromkeys(w.code for w in transcript.warnings))
    return out


def diarization_body(
    diarization: Diarization, params: DiarizationParams, filename: str, *, short: bool
) -> Rendered:
    turns = diarization.exclusive if params.exclusive else diarization.turns
    if params.response_format == "rttm":
        stem = PurePath(filename).stem
        return Rendered(formats.rttm(turns, stem).encode(), PLAIN)
    if short:
        body: dict[str, Any] = {"segments": [formats.turn_json(turn) for turn in turns]}
    else:
        body = formats.diarization_json(diarization)
    return Rendered(msgspec.json.encode(body), JSON)


def delta_event(segment: Segment, first: bool, logprobs: bool) -> bytes:
    """All deltas put together are the text of the transcript."""
    event: dict[str, Any] = {
        "type": "transcript.text.delta",
        "delta": segment.text if first else " " + segment.text,
    }
    if logprobs:
        event["logprobs"] = formats.token_logprobs(segment.tokens)
    return _frame(event)


def last_events(transcript: Transcript, params: TranscriptionParams) -> list[bytes]:
    """The speakers' segments, when they were asked for, and the end."""
    events: list[dict[str, Any]] = []
    diarized = params.response_format == "diarized_json"
    if diarized:
        words = "word" in params.granularities
        events = [
            formats.diarized_segment(number, segment, words=words)
            for number, segment in enumerate(transcript.segments)
        ]
    said = formats.json(transcript, logprobs=params.logprobs, coverage=diarized)
    tokens = formats.usage_tokens(transcript)
    done = {"type": "transcript.text.done", **said, "usage": tokens}
    return [_frame(event) for event in (*events, done)]


def _frame(event: dict[str, Any]) -> bytes:
    return b"data: " + msgspec.json.encode(event) + b"\n\n"
