"""Every parameter of the audio routes: what is taken, and what is refused by name."""

from __future__ import annotations

import contextlib
import typing
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.audio import transcription_create_params as sdk
from openai.types.audio_model import AudioModel
from openai.types.audio_response_format import AudioResponseFormat

from backend.app.api.openai import audio_openapi
from backend.app.api.openai.audio_schemas import (
    FORMATS,
    DiarizationParams,
    TranscriptionParams,
    parse_diarization,
    parse_transcription,
)
from backend.app.config import DEFAULT_ALIASES
from backend.app.errors import InvalidRequest
from backend.app.services.transcription_ask import Ask

Form = dict[str, list[str]]


def form(**fields: str | list[str]) -> Form:
    out = {"model": ["canary"]}
    for name, value in fields.items():
        key = f"{name}[]" if isinstance(value, list) else name
        out[key] = value if isinstance(value, list) else [value]
    return out


def parsed(**fields: str | list[str]) -> TranscriptionParams:
    return parse_transcription(form(**fields))


def refused(parse: Callable[[], object]) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        parse()
    assert caught.value.status == 400
    assert caught.value.param
    assert caught.value.message
    return caught.value


def test_defaults() -> None:
    assert parsed() == TranscriptionParams(
        model="canary",
        response_format="json",
        stream=False,
        granularities=("segment",),
        language=None,
        candidates=(),
        target=None,
        pnc=True,
        logprobs=False,
        diarize=False,
        speakers=parse_diarization({}).speakers,
        peaks=0,
        notices=(),
    )


def test_formats_are_openai_s() -> None:
    assert set(FORMATS) == set(typing.get_args(AudioResponseFormat))


def test_every_model_of_openai_s_names_one_here() -> None:
    assert set(typing.get_args(AudioModel)) <= set(DEFAULT_ALIASES["canary"])


def test_our_openapi_names_every_parameter_of_openai_s() -> None:
    extra: Any = audio_openapi.TRANSCRIPTION["openapi_extra"]
    ours = extra["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    theirs = typing.get_type_hints(sdk.TranscriptionCreateParamsStreaming)
    assert set(theirs) <= {name.removesuffix("[]") for name in ours}


@pytest.mark.parametrize(
    ("fields", "attribute", "value"),
    [
        ({"response_format": "vtt"}, "response_format", "vtt"),
        ({"stream": "true"}, "stream", True),
        ({"stream": "False"}, "stream", False),
        ({"stream": "1", "response_format": "diarized_json"}, "diarize", True),
        ({"response_format": "srt", "diarize": "true"}, "diarize", True),
        ({"language": "fr"}, "language", "fr"),
        ({"language": "pt-BR"}, "language", "pt"),
        ({"language": ""}, "language", None),
        ({"languages": ["de", "EN"]}, "candidates", ("de", "en")),
        ({"languages": ["en", "en-GB", "fr"]}, "candidates", ("en", "fr")),
        ({"target_language": "de"}, "target", "de"),
        ({"to_language": "de"}, "target", "de"),
        ({"include": ["logprobs"]}, "logprobs", True),
        ({"pnc": "false"}, "pnc", False),
        ({"peaks": "800"}, "peaks", 800),
        (
            {"timestamp_granularities": ["word"], "response_format": "verbose_json"},
            "granularities",
            ("word",),
        ),
        (
            {"timestamp_granularities": ["word", "segment"], "response_format": "diarized_json"},
            "granularities",
            ("word", "segment"),
        ),
        ({"unheard_of": "yes"}, "notices", ()),
        ({"temperature": "0"}, "notices", ()),
        (
            {
                "diarize": "true",
                "response_format": "srt",
                "language": "fr",
                "target_language": "fr",
            },
            "diarize",
            True,
        ),
        ({"response_format": "diarized_json", "num_speakers": "2"}, "notices", ()),
        ({"chunking_strategy": "auto"}, "notices", ()),
    ],
)
def test_taken(fields: dict[str, str | list[str]], attribute: str, value: object) -> None:
    assert getattr(parsed(**fields), attribute) == value


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"response_format": "docx"}, "response_format"),
        ({"stream": "perhaps"}, "stream"),
        ({"stream": "true", "response_format": "srt"}, "stream"),
        ({"stream": "true", "response_format": "verbose_json"}, "stream"),
        ({"language": "xx"}, "language"),
        ({"language": "english"}, "language"),
        ({"languages": ["en", "tlh"]}, "languages"),
        ({"target_language": "la"}, "target_language"),
        ({"temperature": "1.5"}, "temperature"),
        ({"temperature": "nan"}, "temperature"),
        ({"temperature": "warm"}, "temperature"),
        ({"include": ["everything"]}, "include"),
        ({"include": ["logprobs"], "response_format": "text"}, "include"),
        ({"timestamp_granularities": ["word"]}, "timestamp_granularities"),
        (
            {"timestamp_granularities": ["letter"], "response_format": "verbose_json"},
            "timestamp_granularities",
        ),
        ({"chunking_strategy": "never"}, "chunking_strategy"),
        ({"chunking_strategy": "{}"}, "chunking_strategy"),
        ({"chunking_strategy": "[" * 60_000}, "chunking_strategy"),
        (
            {"chunking_strategy": '{"type":"server_vad","threshold":2}'},
            "chunking_strategy[threshold]",
        ),
        ({"chunking_strategy[threshold]": "0.5"}, "chunking_strategy"),
        ({"num_speakers": "0"}, "num_speakers"),
        ({"num_speakers": "2.5"}, "num_speakers"),
        ({"num_speakers": "two"}, "num_speakers"),
        ({"num_speakers": "2", "max_speakers": "3"}, "num_speakers"),
        ({"min_speakers": "3", "max_speakers": "2"}, "min_speakers"),
        ({"known_speaker_names": ["Anna"]}, "known_speaker_references"),
        ({"response_format": "diarized_json", "diarize": "false"}, "diarize"),
        ({"diarize": "true"}, "diarize"),
        ({"diarize": "true", "response_format": "text", "stream": "true"}, "diarize"),
        ({"diarize": "true", "response_format": "srt", "target_language": "fr"}, "diarize"),
        (
            {"response_format": "diarized_json", "language": "en", "target_language": "fr"},
            "response_format",
        ),
        ({"peaks": "-1"}, "peaks"),
        ({"peaks": "1e9"}, "peaks"),
        ({"model": ""}, "model"),
    ],
)
def test_refused(fields: dict[str, str | list[str]], param: str) -> None:
    assert refused(lambda: parsed(**fields)).param == param


def test_model_is_required() -> None:
    assert refused(lambda: parse_transcription({})).param == "model"


@pytest.mark.parametrize(
    ("names", "voices", "param"),
    [
        ([], 1, "known_speaker_names"),
        (["Anna"], 2, "known_speaker_names"),
        (["Anna", "Bert"], 1, "known_speaker_references"),
        (["Anna", "anna"], 2, "known_speaker_names"),
        (["An\nna"], 1, "known_speaker_names"),
        (["x" * 65], 1, "known_speaker_names"),
        (["Unknown"], 1, "known_speaker_names"),
    ],
)
def test_known_speakers_refused(names: list[str], voices: int, param: str) -> None:
    fields = form(known_speaker_names=names)
    assert refused(lambda: parse_transcription(fields, voices=voices)).param == param
    assert refused(lambda: parse_diarization(fields, voices=voices)).param == param


def test_known_speakers_taken() -> None:
    names = ["Anna", "José María", "x" * 64, "5", "agent", "customer"]
    found = parse_transcription(form(known_speaker_names=names), voices=len(names))
    assert found.speakers.names == tuple(names)


def test_what_has_no_effect_is_said() -> None:
    found = parsed(
        prompt="Names: Zoë",
        temperature="0.4",
        keywords=["Zoë"],
        chunking_strategy='{"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300}',
    )
    assert [notice.message.split("'")[1] for notice in found.notices] == [
        "prompt",
        "keywords",
        "temperature",
        "chunking_strategy",
    ]
    (notice,) = parsed(language="fr", languages=["de", "en"]).notices
    assert notice.message == "'languages' has no effect beside 'language'."
    (notice,) = parsed(num_speakers="2").notices
    assert notice.message == "'num_speakers' has no effect without 'diarize'."
    bracketed = form(**{"chunking_strategy[type]": "server_vad"})
    assert len(parse_transcription(bracketed).notices) == 1


def test_translations() -> None:
    found = parse_transcription(form(language="fr"), translate=True)
    assert (found.language, found.target) == ("fr", "en")
    for fields, param in (
        ({"response_format": "diarized_json"}, "response_format"),
        ({"target_language": "fr"}, "target_language"),
        ({"diarize": "true", "response_format": "srt"}, "diarize"),
    ):
        body = form(**fields)
        assert refused(lambda b=body: parse_transcription(b, translate=True)).param == param  # type: ignore[misc]


def test_diarizations() -> None:
    assert parse_diarization({}) == DiarizationParams(
        None, "json", False, parse_diarization({}).speakers
    )
    found = parse_diarization(form(response_format="rttm", min_speakers="2", exclusive="true"))
    assert (found.response_format, found.speakers.at_least, found.exclusive) == ("rttm", 2, True)
    assert refused(lambda: parse_diarization(form(response_format="srt"))).param == (
        "response_format"
    )


@pytest.mark.parametrize(
    ("fields", "timestamps"),
    [
        ({}, False),
        ({"response_format": "text"}, False),
        ({"response_format": "text", "diarize": "true"}, True),
        ({"response_format": "srt"}, True),
        ({"response_format": "verbose_json"}, True),
    ],
)
def test_times_are_only_made_where_they_are_needed(
    fields: dict[str, str | list[str]], timestamps: bool
) -> None:
    assert parsed(**fields).timestamps is timestamps


def ask(**more: Any) -> Ask:
    return Ask("canary", **{"candidates": ("en", "fr"), **more})


def test_sources() -> None:
    assert ask(language="de").sources() == ("de",)
    assert ask().sources() == ("en", "fr")
    assert ask(candidates=("de", "it")).sources() == ("de", "it")


def test_translation_needs_english_on_one_side() -> None:
    assert ask(target="de").sources() == ("en",)
    assert ask(target="en").sources() == ("en", "fr")
    assert ask(target="fr").sources() == ("en", "fr")
    assert refused(lambda: ask(language="fr", target="de").sources()).param == "target_language"
    assert (
        refused(lambda: ask(target="de", candidates=("it", "fr")).sources()).param
        == "target_language"
    )


def test_an_unknown_source_is_refused_even_among_known_ones() -> None:
    assert refused(lambda: ask(candidates=("en", "xx")).sources()).param == "language"


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "model",
                "stream",
                "language",
                "languages[]",
                "include[]",
                "peaks",
                "temperature",
                "chunking_strategy",
                "chunking_strategy[type]",
                "chunking_strategy[]",
                "known_speaker_names[]",
                "timestamp_granularities[]",
                "num_speakers",
            ]
        ),
        st.lists(st.text(max_size=20), min_size=1, max_size=3),
    )
)
def test_no_form_breaks_it(fields: Form) -> None:
    for parse in (
        parse_transcription,
        partial(parse_transcription, translate=True),
        parse_diarization,
    ):
        with contextlib.suppress(InvalidRequest):
            parse(fields)
