"""The audio routes' forms and answers as OpenAPI: FastAPI cannot know what is read as a stream."""

from __future__ import annotations

from typing import Any

from backend.app.api.openai import audio_shapes as shapes
from backend.app.api.openai.audio_schemas import (
    DIARIZATION_FORMATS,
    FORMATS,
    MOST_PEAKS,
    MOST_SPEAKERS,
    TRANSLATION_FORMATS,
)

Schema = dict[str, Any]


def _text(description: str, **more: Any) -> Schema:
    return {"type": "string", "description": description, **more}


def _integer(description: str, low: int, high: int) -> Schema:
    return {"type": "integer", "minimum": low, "maximum": high, "description": description}


def _flag(description: str, *, default: bool = False) -> Schema:
    return {"type": "boolean", "default": default, "description": description}


def _list(description: str, values: tuple[str, ...] = ()) -> Schema:
    items: Schema = {"type": "string", "enum": list(values)} if values else {"type": "string"}
    return {"type": "array", "items": items, "description": description}


_FILE = _text("The recording: wav, mp3, flac, ogg, opus, m4a, mp4 or webm.", format="binary")
_MODEL = _text("A name from GET /v1/models, such as `canary` or `whisper-1`.")
_SPEAKERS: Schema = {
    "num_speakers": _integer("How many speak, when that is known.", 1, MOST_SPEAKERS),
    "min_speakers": _integer("How many speak at least.", 1, MOST_SPEAKERS),
    "max_speakers": _integer("How many speak at most.", 1, MOST_SPEAKERS),
    "known_speaker_names[]": _list("Names of voices to be recognised."),
    "known_speaker_references[]": _list(
        "For each name a sample of 2 s to 900 s, as data URL; at most 50."
    ),
}
_COMMON: Schema = {
    "file": _FILE,
    "model": _MODEL,
    "prompt": _text("Accepted; this model has no use for it."),
    "temperature": {
        "type": "number",
        "minimum": 0,
        "maximum": 1,
        "description": "Accepted; this model decodes without sampling.",
    },
    "stream": _flag("Answer with server-sent events, text as it is recognised."),
    "language": _text("Language spoken, ISO 639-1. Without it, it is found out."),
    "languages[]": _list("Languages that may be spoken, to choose from."),
    "timestamp_granularities[]": _list("Times to give.", ("word", "segment")),
    "pnc": _flag("Punctuation and capitals. Extension.", default=True),
    "peaks": _integer("Columns of the waveform's outline to send. Extension.", 0, MOST_PEAKS),
}
_TRANSCRIPTION: Schema = {
    **_COMMON,
    "response_format": {"type": "string", "enum": list(FORMATS), "default": "json"},
    "include[]": _list("What else to send, with `json`.", ("logprobs",)),
    "chunking_strategy": _text("`auto` or a `server_vad` object. Recordings are always cut here."),
    "keywords[]": _list("Accepted; this model has no use for them."),
    "target_language": _text("Translate into this language; one side is English. Extension."),
    "diarize": _flag("Tell speakers apart; every format but `json` has room for them. Extension."),
    **_SPEAKERS,
}
_TRANSLATION: Schema = {
    **_COMMON,
    "response_format": {"type": "string", "enum": list(TRANSLATION_FORMATS), "default": "json"},
}
_DIARIZATION: Schema = {
    "file": _FILE,
    "model": _text("A diarization model; `pyannote` by default."),
    "response_format": {"type": "string", "enum": list(DIARIZATION_FORMATS), "default": "json"},
    "exclusive": _flag("In formats with one list of turns: those that never overlap."),
    **_SPEAKERS,
}


def _operation(properties: Schema, required: list[str], shape: Any, *others: str) -> dict[str, Any]:
    """`shape`: of the answer's JSON; `others`: media types of answers that are text."""
    form = {"type": "object", "required": required, "properties": properties}
    return {
        "openapi_extra": {
            "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": form}}}
        },
        "responses": {
            200: {
                "model": shape,
                "description": "Successful Response",
                "content": {kind: {"schema": {"type": "string"}} for kind in others},
            }
        },
    }


_BOTH = ["file", "model"]
_SPOKEN = ("text/plain", "text/vtt", "text/event-stream")
TRANSCRIPTION = _operation(
    _TRANSCRIPTION,
    _BOTH,
    shapes.Transcription | shapes.TranscriptionVerbose | shapes.TranscriptionDiarized,
    *_SPOKEN,
)
TRANSLATION = _operation(
    _TRANSLATION, _BOTH, shapes.Transcription | shapes.TranscriptionVerbose, *_SPOKEN
)
DIARIZATION = _operation(_DIARIZATION, ["file"], shapes.Diarization, "text/plain")
SHORT_TRANSCRIPTION = _operation(_TRANSCRIPTION, ["file"], shapes.ShortTranscription)
SHORT_DIARIZATION = _operation(_DIARIZATION, ["file"], shapes.ShortDiarization, "text/plain")
