"""The protocol: what one side writes the other reads, however the network cuts it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.app.workers import protocol as p

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
TIME = st.floats(0, 1e5)
SPANS = st.lists(st.builds(p.Span, start=TIME, end=TIME), max_size=3).map(tuple)
WORD = st.builds(p.Word, start=TIME, end=TIME, word=TEXT, confidence=st.none() | st.floats(0, 1))
TOKEN = st.builds(p.Token, token=TEXT, logprob=st.floats(-99, 0))
MESSAGE: st.SearchStrategy[p.Message] = st.one_of(
    st.builds(p.Progress, phase=TEXT, done=TIME, total=st.none() | TIME),
    st.builds(
        p.Segment,
        start=TIME,
        end=TIME,
        text=TEXT,
        language=st.sampled_from(p.LANGUAGES),
        words=st.lists(WORD, max_size=3).map(tuple),
        logprob=st.none() | st.floats(-99, 0),
        tokens=st.lists(TOKEN, max_size=3).map(tuple),
    ),
    st.builds(p.Turn, start=TIME, end=TIME, speaker=TEXT, exclusive=st.booleans()),
    st.builds(
        p.Done,
        duration=TIME,
        speech_spans=SPANS,
        coverage=st.none()
        | st.builds(p.Coverage, speech_seconds=TIME, decoded_seconds=TIME, gaps=SPANS),
        language=st.none() | TEXT,
        language_margin=st.none() | st.floats(0, 9),
        embeddings=st.dictionaries(TEXT, st.lists(st.floats(-1, 1), max_size=3), max_size=2),
        timings=st.none() | st.builds(p.Timings, vad=TIME, queue=TIME, model=TIME),
    ),
    st.builds(p.Failed, code=TEXT, message=TEXT, retryable=st.booleans()),
)


@given(st.lists(MESSAGE, max_size=6), st.lists(st.integers(1, 50), min_size=1))
def test_messages_survive_any_cutting(messages: list[p.Message], sizes: list[int]) -> None:
    stream = b"".join(p.encode(message) for message in messages)
    lines, found, at = p.Lines(), list[p.Message](), 0
    while at < len(stream):
        size = sizes[at % len(sizes)]
        found += lines.feed(stream[at : at + size])
        at += size
    assert found == messages


@given(MESSAGE)
def test_a_message_is_one_line_of_json_that_names_its_type(message: p.Message) -> None:
    line = p.encode(message)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    names = {"Failed": "error"}
    name = type(message).__name__
    assert json.loads(line)["type"] == names.get(name, name.lower())


@given(
    st.builds(
        p.TranscribeParams,
        source=st.none() | TEXT,
        target=st.none() | TEXT,
        candidates=st.lists(TEXT, max_size=3).map(tuple),
        pnc=st.booleans(),
        timestamps=st.booleans(),
        logprobs=st.booleans(),
        samples=st.none() | st.integers(0, 10**9),
    )
)
def test_transcription_parameters_fit_in_a_header(params: p.TranscribeParams) -> None:
    header = p.encode_params(params)
    assert header.isascii()
    assert header.isprintable()
    assert p.decode_params(header, p.TranscribeParams) == params


def test_diarization_parameters_fit_in_a_header() -> None:
    params = p.DiarizeParams(
        num_speakers=2, min_speakers=1, max_speakers=3, samples=4,
        references=(p.Reference(name="Zoé", samples=48_000),),
    )  # fmt: skip
    assert p.decode_params(p.encode_params(params), p.DiarizeParams) == params


@pytest.mark.parametrize(
    ("header", "named"),
    [
        ('{"source": 3}', "source"),
        ('{"sauce": "en"}', "sauce"),
        ("[]", "object"),
        ("{", "x-params"),
        ('{"samples": 1.5}', "samples"),
    ],
)
def test_wrong_parameters_are_named(header: str, named: str) -> None:
    with pytest.raises(p.ProtocolError, match=named):
        p.decode_params(header, p.TranscribeParams)


@pytest.mark.parametrize("line", [b"{}", b"nonsense", b'{"type":"elsewhere"}', b'{"type":"done"}'])
def test_an_unknown_message_is_an_error(line: bytes) -> None:
    with pytest.raises(p.ProtocolError):
        p.decode(line)


def test_health_survives_and_nonsense_does_not() -> None:
    health = p.Health(phase="weights", detail="x.nemo", languages=("en",), in_flight=1, queued=2)
    assert p.decode_health(p.encode(health)) == health
    with pytest.raises(p.ProtocolError):
        p.decode_health(b"<html>")


def test_there_are_the_languages_of_the_model_card() -> None:
    assert len(set(p.LANGUAGES)) == 25


@pytest.mark.parametrize(
    ("source", "target", "blamed"),
    [
        ("en", None, None),
        ("fr", "fr", None),
        ("fr", "en", None),
        ("en", "uk", None),
        (None, "en", None),
        (None, None, None),
        ("xx", None, "source"),
        ("EN", None, "source"),
        ("en", "zh", "target"),
        (None, "zh", "target"),
        ("fr", "de", "target"),
    ],
)
def test_pairs_of_languages(source: str | None, target: str | None, blamed: str | None) -> None:
    problem = p.language_problem(source, target)
    assert (problem[0] if problem else None) == blamed


@given(st.integers(0, 10**10))
def test_seconds_lead_back_to_the_sample(samples: int) -> None:
    (span,) = p.spans([(0, samples)])
    assert round(span.end * p.SAMPLE_RATE) == samples
