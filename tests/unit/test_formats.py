"""Formats: what clients and real parsers make of them."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any, TypeVar

import pytest
import srt  # type: ignore[import-untyped]
import webvtt
from hypothesis import given
from hypothesis import strategies as st
from openai.types.audio import (
    Transcription,
    TranscriptionDiarized,
    TranscriptionTextDeltaEvent,
    TranscriptionTextDoneEvent,
    TranscriptionTextSegmentEvent,
    TranscriptionVerbose,
    TranslationVerbose,
)
from pydantic import BaseModel

from backend.app.api.openai.audio_render import delta_event, last_events, transcript_body
from backend.app.api.openai.audio_schemas import parse_transcription
from backend.app.audio import formats, subtitles
from backend.app.audio.transcript import (
    Coverage,
    Diarization,
    Notice,
    Segment,
    Token,
    Transcript,
    Turn,
    Word,
)
from backend.app.workers.protocol import LANGUAGES

HELLO = Segment(
    start=0.5,
    end=1.5,
    text="Hello there.",
    language="en",
    words=(Word(0.5, 0.9, "Hello", 0.98), Word(1.0, 1.5, "there.", 0.75)),
    logprob=-0.25,
    tokens=(Token("Hello", -0.2), Token(" there.", -0.3)),
)
BYE = Segment(2.0, 2.5, "Bye.", "en", (Word(2.0, 2.5, "Bye.", 0.5),), logprob=-0.5)
SPOKEN = Transcript(
    duration=3.2,
    text="Hello there. Bye.",
    segments=(HELLO, BYE),
    language="en",
    language_margin=0.7,
    target="en",
    coverage=Coverage(1.5, 1.2, ((1.5, 1.8),)),
    warnings=(Notice("damaged_audio", "2 packets were left out."),),
    peaks={"length": 1, "data": [-3, 4]},
)
DIARIZED = replace(
    SPOKEN,
    diarized=True,
    segments=(
        replace(
            HELLO,
            speaker="Anna",
            words=tuple(
                replace(word, speaker="Anna", speaker_confidence=1.0) for word in HELLO.words
            ),
        ),
        replace(BYE, speaker="A", overlap=True),
    ),
)
SILENCE = Transcript(duration=2.0, text="", segments=())


Model = TypeVar("Model", bound=BaseModel)


def strictly(model: type[Model], value: Any) -> Model:
    """Validate, where the SDK itself would take anything."""
    return model.model_validate(value, strict=True)


def params(**fields: str) -> Any:
    return parse_transcription({"model": ["canary"], **{k: [v] for k, v in fields.items()}})


@pytest.mark.parametrize("transcript", [SPOKEN, DIARIZED, SILENCE])
def test_json_shapes_are_openai_s(transcript: Transcript) -> None:
    strictly(Transcription, formats.json(transcript, logprobs=True))
    verbose = formats.verbose_json(transcript, ("word", "segment"))
    strictly(TranscriptionVerbose, verbose)
    strictly(TranslationVerbose, verbose)
    strictly(TranscriptionDiarized, formats.diarized_json(transcript, words=True))


def test_json() -> None:
    assert formats.json(SPOKEN) == {
        "text": "Hello there. Bye.",
        "languages": [{"code": "en"}],
        "usage": {"type": "duration", "seconds": 4},
        "language_code": "en",
        "language_margin": 0.7,
        "peaks": {"length": 1, "data": [-3, 4]},
        "warnings": [{"code": "damaged_audio", "message": "2 packets were left out."}],
    }
    assert formats.json(SILENCE) == {
        "text": "",
        "languages": [],
        "usage": {"type": "duration", "seconds": 2},
    }


def test_logprobs_are_bytes_of_tokens() -> None:
    found = formats.json(SPOKEN, logprobs=True)["logprobs"]
    assert found[1] == {"token": " there.", "bytes": list(b" there."), "logprob": -0.3}
    assert "logprobs" not in formats.json(SPOKEN)


def test_verbose_json() -> None:
    found = formats.verbose_json(SPOKEN)
    assert found["language"] == "english"
    assert found["duration"] == 3.2
    assert "words" not in found
    first = found["segments"][0]
    assert first["seek"] == 50
    assert first["avg_logprob"] == -0.25
    assert 0 < first["compression_ratio"] < 1
    assert "speaker" not in first
    assert found["coverage"] == {
        "speech_seconds": 1.5,
        "decoded_seconds": 1.2,
        "gaps": [{"start": 1.5, "end": 1.8}],
    }


def test_words_only_when_asked_for() -> None:
    found = formats.verbose_json(SPOKEN, ("word",))
    assert "segments" not in found
    assert [word["word"] for word in found["words"]] == ["Hello", "there.", "Bye."]
    assert found["words"][0] == {"word": "Hello", "start": 0.5, "end": 0.9, "confidence": 0.98}


def test_a_translation_names_the_language_of_its_text() -> None:
    french = replace(SPOKEN, task="translate", language="fr", target="en")
    assert formats.verbose_json(french)["language"] == "english"
    assert formats.verbose_json(replace(french, task="transcribe"))["language"] == "french"


def test_every_language_has_a_name() -> None:
    assert set(formats.LANGUAGE_NAMES) == set(LANGUAGES)


def test_diarized_json() -> None:
    found = formats.diarized_json(DIARIZED, words=True)
    assert found["task"] == "transcribe"
    assert found["text"] == SPOKEN.text
    assert [segment["speaker"] for segment in found["segments"]] == ["Anna", "A"]
    assert [segment["id"] for segment in found["segments"]] == ["seg_000", "seg_001"]
    assert found["segments"][1]["overlap"] is True
    assert found["segments"][0]["words"][0]["speaker"] == "Anna"


def test_without_a_diarization_the_speaker_is_unknown() -> None:
    found = formats.diarized_json(SPOKEN)
    assert {segment["speaker"] for segment in found["segments"]} == {"unknown"}


def test_text() -> None:
    assert formats.text(SPOKEN) == "Hello there. Bye.\n"
    assert formats.text(DIARIZED) == "Anna: Hello there.\nA: Bye.\n"
    assert formats.text(SILENCE) == "\n"


def test_rttm() -> None:
    turns = [Turn(0.5, 1.75, "Anna B"), Turn(1.0, 2.0, "A")]
    assert formats.rttm(turns, "my talk") == (
        "SPEAKER my_talk 1 0.500 1.250 <NA> <NA> Anna_B <NA> <NA>\n"
        "SPEAKER my_talk 1 1.000 1.000 <NA> <NA> A <NA> <NA>\n"
    )
    assert formats.rttm([], "") == ""


def test_diarization_json() -> None:
    turns = (Turn(0.0, 2.0, "A"), Turn(1.0, 3.0, "B"))
    found = formats.diarization_json(Diarization(4.0, turns, turns[:1]))
    assert found == {
        "duration": 4.0,
        "speakers": ["A", "B"],
        "segments": [
            {"start": 0.0, "end": 2.0, "speaker": "A"},
            {"start": 1.0, "end": 3.0, "speaker": "B"},
        ],
        "exclusive": [{"start": 0.0, "end": 2.0, "speaker": "A"}],
    }


def test_events_are_openai_s() -> None:
    asked = params(response_format="diarized_json", stream="true")
    frames = [delta_event(HELLO, True, True), delta_event(BYE, False, False)]
    frames += last_events(DIARIZED, asked)
    assert all(frame.startswith(b"data: ") and frame.endswith(b"\n\n") for frame in frames)
    events = [json.loads(frame[6:]) for frame in frames]
    kinds = [event["type"].rsplit(".", 1)[1] for event in events]
    assert kinds == ["delta", "delta", "segment", "segment", "done"]
    for event in events[:2]:
        strictly(TranscriptionTextDeltaEvent, event)
    for event in events[2:4]:
        strictly(TranscriptionTextSegmentEvent, event)
    done = strictly(TranscriptionTextDoneEvent, events[4])
    assert "".join(event["delta"] for event in events[:2]) == done.text
    assert done.usage is not None
    assert done.usage.input_tokens == 40
    assert done.usage.total_tokens == 43


def test_media_types() -> None:
    kinds = {
        name: transcript_body(SPOKEN, params(response_format=name)).media_type
        for name in ("json", "text", "srt", "vtt", "verbose_json", "diarized_json")
    }
    assert kinds.pop("text").startswith("text/plain")
    assert kinds.pop("srt").startswith("text/plain")
    assert kinds.pop("vtt").startswith("text/vtt")
    assert set(kinds.values()) == {"application/json"}


def test_headers_carry_what_text_cannot() -> None:
    timed = replace(SPOKEN, timings={"decode": 0.0123, "model": 1.0})
    rendered = transcript_body(timed, params(response_format="srt"))
    assert rendered.headers == {
        "server-timing": "decode;dur=12.3, model;dur=1000.0",
        "x-warnings": "damaged_audio",
    }


def test_srt() -> None:
    assert subtitles.srt(SPOKEN) == (
        "1\n00:00:00,500 --> 00:00:01,500\nHello there.\n\n2\n00:00:02,000 --> 00:00:02,800\nBye.\n"
    )
    assert subtitles.srt(SILENCE) == ""


def test_vtt() -> None:
    assert subtitles.vtt(SPOKEN).startswith(
        "WEBVTT\n\n00:00:00.500 --> 00:00:01.500\nHello there.\n\n"
    )
    assert subtitles.vtt(SILENCE) == "WEBVTT\n"


def test_subtitles_name_speakers() -> None:
    assert "\nAnna:\nHello there.\n" in subtitles.srt(DIARIZED).replace("Anna: ", "Anna:\n")
    assert "<v Anna>Hello there." in subtitles.vtt(DIARIZED)
    odd = replace(DIARIZED, segments=(replace(HELLO, speaker="R&D <1>"),))
    assert "<v R&amp;D &lt;1&gt;>Hello" in subtitles.vtt(odd)


def test_a_sentence_ends_a_cue_that_is_full_enough() -> None:
    text = "This is the first sentence of a long turn, and it is over. The second one"
    words = text.split()
    segment = replace(
        HELLO,
        text=text,
        words=tuple(Word(n * 0.3, n * 0.3 + 0.2, w) for n, w in enumerate(words)),
    )
    cues = subtitles.cues(replace(SPOKEN, segments=(segment,)), named=False)
    assert [" ".join(cue.lines) for cue in cues] == [
        "This is the first sentence of a long turn, and it is over.",
        "The second one",
    ]
    assert cues[1].start_ms == 13 * 300


def test_a_text_without_words_is_spread_over_its_time() -> None:
    text = "one two three four five six seven eight nine ten " * 4
    long = Segment(10.0, 30.0, text, "en")
    cues = subtitles.cues(replace(SPOKEN, segments=(long,)), named=False)
    assert len(cues) >= 3
    assert cues[0].start_ms == 10_000
    assert cues[-1].end_ms == 30_000
    assert all(cue.end_ms - cue.start_ms <= 7000 for cue in cues)


TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=60)
TIME = st.floats(0, 100, allow_nan=False)


@st.composite
def spoken(draw: st.DrawFn) -> Transcript:
    """Words at any times, in any order, with any text."""
    segments = []
    for _ in range(draw(st.integers(0, 4))):
        words = tuple(
            Word(draw(TIME), draw(TIME), draw(TEXT)) for _ in range(draw(st.integers(0, 12)))
        )
        text = " ".join(word.text for word in words) or draw(TEXT)
        speaker = draw(st.sampled_from([None, "A", "Anna Maria", "x" * 64]))
        segments.append(Segment(draw(TIME), draw(TIME), text, "en", words, speaker=speaker))
    text = " ".join(segment.text for segment in segments)
    return Transcript(100.0, text, tuple(segments), diarized=draw(st.booleans()))


@given(spoken(), st.booleans())
def test_cues_keep_every_rule_and_every_word(transcript: Transcript, named: bool) -> None:
    cues = subtitles.cues(transcript, named=named)
    end = 0
    for cue in cues:
        assert 1 <= len(cue.lines) <= 2
        assert all(0 < len(line) <= 42 for line in cue.lines)
        assert end <= cue.start_ms < cue.end_ms
        end = cue.end_ms
    if not named:
        shown = "".join("".join(cue.lines) for cue in cues)
        said = "".join(
            word.text
            for segment in transcript.segments
            for word in (segment.words or (Word(0, 0, segment.text),))
        )
        assert "".join(shown.split()) == "".join(said.split())


@given(spoken())
def test_real_parsers_read_what_we_write(transcript: Transcript) -> None:
    cues = subtitles.cues(transcript, named=True)
    parsed = list(srt.parse(subtitles.srt(transcript)))
    assert [round(cue.start.total_seconds() * 1000) for cue in parsed] == [
        cue.start_ms for cue in cues
    ]
    assert [cue.content for cue in parsed] == [
        "\n".join(cue.lines).replace("-->", "->") for cue in cues
    ]
    plain = subtitles.cues(transcript, named=False)
    captions = webvtt.from_buffer(io.StringIO(subtitles.vtt(transcript))).captions
    assert [round(caption.start_in_seconds) for caption in captions] == [
        cue.start_ms // 1000 for cue in plain
    ]
    assert len(captions) == len(plain)
