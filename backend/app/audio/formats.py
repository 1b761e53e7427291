"""Transcripts and diarizations in the shapes that clients ask for. Pure.

OpenAI's fields come first and exactly; beside them stand ours: `warnings`, `coverage`,
`language_code`, `target_language`, `language_margin`, `peaks`, speakers of words. A field of ours
is absent when it has nothing to say.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Collection, Iterable
from typing import Any

from backend.app.audio.transcript import (
    UNKNOWN_SPEAKER,
    Coverage,
    Diarization,
    Notice,
    Segment,
    Token,
    Transcript,
    Turn,
    Word,
)

LANGUAGE_NAMES = {
    "bg": "bulgarian",
    "cs": "czech",
    "da": "danish",
    "de": "german",
    "el": "greek",
    "en": "english",
    "es": "spanish",
    "et": "estonian",
    "fi": "finnish",
    "fr": "french",
    "hr": "croatian",
    "hu": "hungarian",
    "it": "italian",
    "lt": "lithuanian",
    "lv": "latvian",
    "mt": "maltese",
    "nl": "dutch",
    "pl": "polish",
    "pt": "portuguese",
    "ro": "romanian",
    "ru": "russian",
    "sk": "slovak",
    "sl": "slovenian",
    "sv": "swedish",
    "uk": "ukrainian",
}
"""`verbose_json` names languages in English, as Whisper did; everything else uses the code."""
FRAME_S = 0.08
"""What one vector of Canary's encoder stands for; `usage` counts these as audio tokens."""


def text(transcript: Transcript) -> str:
    """Plain text; with speakers, a line for each segment."""
    if not transcript.diarized:
        return transcript.text + "\n"
    return "".join(f"{s.speaker}: {s.text}\n" for s in transcript.segments if s.text)


def json(
    transcript: Transcript, *, logprobs: bool = False, coverage: bool = False
) -> dict[str, Any]:
    out: dict[str, Any] = {"text": transcript.text}
    if logprobs:
        tokens = (token for segment in transcript.segments for token in segment.tokens)
        out["logprobs"] = token_logprobs(tokens)
    return out | {
        "languages": languages(transcript),
        "usage": usage_seconds(transcript.duration),
        **_ours(transcript, coverage=coverage),
    }


def verbose_json(
    transcript: Transcript, granularities: Collection[str] = ("segment",)
) -> dict[str, Any]:
    code = transcript.target if transcript.task == "translate" else transcript.language
    out: dict[str, Any] = {
        "task": transcript.task,
        "language": LANGUAGE_NAMES.get(code or "", code or ""),
        "duration": transcript.duration,
        "text": transcript.text,
    }
    if "segment" in granularities:
        out["segments"] = [
            _verbose_segment(number, segment) for number, segment in enumerate(transcript.segments)
        ]
    if "word" in granularities:
        out["words"] = [_word(word) for word in transcript.words]
    return out | {"usage": usage_seconds(transcript.duration), **_ours(transcript)}


def diarized_json(transcript: Transcript, *, words: bool = False) -> dict[str, Any]:
    """`words` puts each segment's words, with their speakers, into it."""
    return {
        "task": "transcribe",
        "duration": transcript.duration,
        "text": transcript.text,
        "segments": [
            diarized_segment(number, segment, words=words)
            for number, segment in enumerate(transcript.segments)
        ],
        "usage": usage_seconds(transcript.duration),
        **_ours(transcript),
    }


def diarized_segment(number: int, segment: Segment, *, words: bool = False) -> dict[str, Any]:
    """Also the event of that name, whose shape is the same."""
    out: dict[str, Any] = {
        "type": "transcript.text.segment",
        "id": f"seg_{number:03}",
        "start": segment.start,
        "end": segment.end,
        "text": segment.text,
        "speaker": segment.speaker or UNKNOWN_SPEAKER,
    }
    if segment.overlap:
        out["overlap"] = True
    if words:
        out["words"] = [_word(word) for word in segment.words]
    return out


def short_json(transcript: Transcript, sampling_rate: int) -> dict[str, Any]:
    """The short form for curl."""
    segments = [
        {"start": s.start, "end": s.end, "text": s.text}
        | ({} if s.speaker is None else {"speaker": s.speaker})
        for s in transcript.segments
    ]
    out: dict[str, Any] = {"text": transcript.text, "sampling_rate": sampling_rate}
    return out | {"segments": segments, **_ours(transcript, coverage=False)}


def diarization_json(diarization: Diarization) -> dict[str, Any]:
    return {
        "duration": diarization.duration,
        "speakers": list(diarization.speakers),
        "segments": [turn_json(turn) for turn in diarization.turns],
        "exclusive": [turn_json(turn) for turn in diarization.exclusive],
        **_warnings(diarization.warnings),
    }


def rttm(turns: Iterable[Turn], uri: str) -> str:
    """NIST's Rich Transcription Time Marked; `uri` and speakers lose their white space."""
    name = "_".join(uri.split()) or "audio"
    return "".join(
        f"SPEAKER {name} 1 {turn.start:.3f} {turn.end - turn.start:.3f} <NA> <NA>"
        f" {'_'.join(turn.speaker.split())} <NA> <NA>\n"
        for turn in turns
    )


def token_logprobs(tokens: Iterable[Token]) -> list[dict[str, Any]]:
    return [{"token": t.text, "bytes": list(t.text.encode()), "logprob": t.logprob} for t in tokens]


def languages(transcript: Transcript) -> list[dict[str, str]]:
    return [{"code": transcript.language}] if transcript.language else []


def usage_seconds(duration: float) -> dict[str, Any]:
    return {"type": "duration", "seconds": math.ceil(duration)}


def usage_tokens(transcript: Transcript) -> dict[str, Any]:
    """For the last event of a stream, where OpenAI counts tokens: frames in, words out."""
    frames = math.ceil(transcript.duration / FRAME_S)
    words = len(transcript.text.split())
    return {
        "type": "tokens",
        "input_tokens": frames,
        "input_token_details": {"audio_tokens": frames, "text_tokens": 0},
        "output_tokens": words,
        "total_tokens": frames + words,
    }


def _verbose_segment(number: int, segment: Segment) -> dict[str, Any]:
    data = segment.text.encode()
    out: dict[str, Any] = {
        "id": number,
        "seek": round(segment.start * 100),
        "start": segment.start,
        "end": segment.end,
        "text": segment.text,
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": segment.logprob if segment.logprob is not None else 0.0,
        "compression_ratio": len(data) / len(zlib.compress(data)) if data else 1.0,
        "no_speech_prob": 0.0,
    }
    if segment.speaker is not None:
        out |= {"speaker": segment.speaker, "overlap": segment.overlap}
    return out


def _word(word: Word) -> dict[str, Any]:
    out: dict[str, Any] = {"word": word.text, "start": word.start, "end": word.end}
    if word.confidence is not None:
        out["confidence"] = word.confidence
    if word.speaker is not None:
        out |= {
            "speaker": word.speaker,
            "speaker_confidence": word.speaker_confidence,
            "overlap": word.overlap,
        }
    return out


def turn_json(turn: Turn) -> dict[str, Any]:
    """Times finer than a sample, without the dust of binary fractions."""
    return {"start": round(turn.start, 6), "end": round(turn.end, 6), "speaker": turn.speaker}


def _ours(transcript: Transcript, *, coverage: bool = True) -> dict[str, Any]:
    out: dict[str, Any] = {}
    if transcript.language is not None:
        out["language_code"] = transcript.language
    if transcript.target is not None and transcript.target != transcript.language:
        out["target_language"] = transcript.target
    if transcript.language_margin is not None:
        out["language_margin"] = transcript.language_margin
    if coverage and transcript.coverage is not None:
        out["coverage"] = _coverage(transcript.coverage)
    if transcript.peaks is not None:
        out["peaks"] = transcript.peaks
    return out | _warnings(transcript.warnings)


def _coverage(coverage: Coverage) -> dict[str, Any]:
    return {
        "speech_seconds": coverage.speech_seconds,
        "decoded_seconds": coverage.decoded_seconds,
        "gaps": [{"start": start, "end": end} for start, end in coverage.gaps],
    }


def _warnings(notices: Iterable[Notice]) -> dict[str, Any]:
    out = [{"code": notice.code, "message": notice.message} for notice in notices]
    return {"warnings": out} if out else {}
