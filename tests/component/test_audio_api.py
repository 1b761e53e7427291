"""The audio routes end to end: real HTTP, real decoding, the SDK, engines that misbehave."""

from __future__ import annotations

import asyncio
import io
import json
import socket
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import srt  # type: ignore[import-untyped]
import webvtt
from openai.types.audio import TranscriptionDiarized, TranscriptionVerbose
from pydantic import BaseModel, ValidationError

from backend.app.api.openai import audio_shapes as shapes
from tests.support import audio
from tests.support.audio_gateway import AudioGateway, audio_gateway
from tests.support.gateway import eventually

PATH = "/v1/audio/transcriptions"
THREE = audio.wav(3.0)
WORDS = "word0 said0. word1 said1. word2 said2."
SILENCE = audio.riff(audio.fmt(), (b"data", bytes(64_000)))
VOICE = audio.data_url(audio.wav(2.5))

SHAPES: dict[str, tuple[type[BaseModel], ...]] = {
    PATH: (shapes.Transcription, shapes.TranscriptionVerbose, shapes.TranscriptionDiarized),
    "/v1/audio/translations": (shapes.Transcription, shapes.TranscriptionVerbose),
    "/v1/audio/diarizations": (shapes.Diarization,),
    "/api/audio/transcribe": (shapes.ShortTranscription,),
    "/api/diarization/process": (shapes.ShortDiarization,),
}
"""What the OpenAPI document says of JSON answers."""


def describes(shape: type[BaseModel], body: Any) -> bool:
    """True when the body has what the shape asks for, and nothing that it does not name."""
    try:
        return bool(shape.model_validate(body).model_dump(exclude_unset=True) == body)
    except ValidationError:
        return False


@pytest.fixture(scope="module")
def gateway() -> Iterator[AudioGateway]:
    with audio_gateway() as running:
        yield running


@pytest.fixture(scope="module")
def http(gateway: AudioGateway) -> Iterator[httpx.Client]:
    """A client that knows the OpenAPI document: no route answers or refuses otherwise."""
    with gateway.http() as client:
        paths = client.get("/openapi.json").json()["paths"]

        def documented(answer: httpx.Response) -> None:
            told = paths.get(answer.request.url.path, {}).get(answer.request.method.lower())
            if told is not None:
                assert str(answer.status_code) in told["responses"]
                kind = answer.headers["content-type"].split(";")[0]
                assert kind in told["responses"][str(answer.status_code)]["content"]
            known = SHAPES.get(answer.request.url.path, ())
            if known and answer.status_code == 200 and kind == "application/json":
                answer.read()
                assert any(describes(shape, answer.json()) for shape in known)

        client.event_hooks["response"].append(documented)
        yield client


def send(
    http: httpx.Client,
    file: bytes | None = THREE,
    path: str = PATH,
    **fields: Any,
) -> httpx.Response:
    """A form; keyword `a__` is the array field `a[]`."""
    data = {name.replace("__", "[]"): value for name, value in fields.items()}
    if not path.startswith("/api") and "model" not in data:
        data["model"] = "canary"
    files = {} if file is None else {"file": ("talk.wav", file, "audio/wav")}
    return http.post(path, data=data, files=files or {"nothing": (None, b"")})


def error(answer: httpx.Response) -> dict[str, Any]:
    assert answer.headers["content-type"] == "application/json"
    found: dict[str, Any] = answer.json()["error"]
    assert set(found) == {"message", "type", "param", "code"}
    return found


def events(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.headers["content-type"].startswith("text/event-stream")
    frames = [frame for frame in answer.text.split("\n\n") if frame and frame[0] != ":"]
    return [json.loads(frame.removeprefix("data: ")) for frame in frames]


def test_json(http: httpx.Client) -> None:
    answer = send(http)
    assert answer.status_code == 200
    assert answer.json() == {
        "text": WORDS,
        "languages": [{"code": "en"}],
        "usage": {"type": "duration", "seconds": 3},
        "language_code": "en",
        "language_margin": 0.5,
    }
    assert {"decode", "vad", "queue", "model"} == {
        part.split(";")[0].strip() for part in answer.headers["server-timing"].split(",")
    }


def test_text_subtitles_and_silence(http: httpx.Client) -> None:
    assert send(http, response_format="text").text == WORDS + "\n"
    found = list(srt.parse(send(http, response_format="srt").text))
    assert " ".join(cue.content for cue in found) == WORDS
    answer = send(http, response_format="vtt")
    assert answer.headers["content-type"] == "text/vtt; charset=utf-8"
    assert len(webvtt.from_buffer(io.StringIO(answer.text)).captions) == len(found)
    for kind in ("json", "verbose_json", "diarized_json"):
        assert send(http, SILENCE, response_format=kind).json()["text"] == ""
    assert send(http, SILENCE, response_format="srt").text == ""


def test_verbose_json(http: httpx.Client) -> None:
    found = send(
        http,
        audio.wav(7.0),
        response_format="verbose_json",
        timestamp_granularities__=["word", "segment"],
        language="fr",
        peaks=70,
    ).json()
    parsed = TranscriptionVerbose.model_validate(found, strict=True)
    assert parsed.language == "french"
    assert parsed.words is not None
    assert parsed.segments is not None
    assert [round(word.start, 1) for word in parsed.words[:3]] == [0.0, 0.5, 1.0]
    assert len(parsed.segments) == 7
    assert found["coverage"]["gaps"] == [{"start": 3.0, "end": 3.5}]
    assert found["warnings"][0]["code"] == "speech_not_recognised"
    assert found["peaks"]["length"] == 70
    assert max(found["peaks"]["data"]) == audio.AMPLITUDE >> 8


def test_the_text_alone_asks_for_no_times(http: httpx.Client) -> None:
    """The fake gives words only when it is asked for times."""
    assert send(http, response_format="verbose_json").json()["segments"][0]["text"]
    answer = send(http, include__=["logprobs"])
    assert [t["token"] for t in answer.json()["logprobs"][:2]] == [" word0", " said0."]


def test_translations(http: httpx.Client) -> None:
    answer = send(
        http, path="/v1/audio/translations", language="fr", response_format="verbose_json"
    )
    found = answer.json()
    assert (found["task"], found["language"]) == ("translate", "english")
    found = send(http, target_language="de", response_format="verbose_json").json()
    assert found["task"] == "transcribe"
    assert (found["language_code"], found["target_language"]) == ("en", "de")


def test_diarized(http: httpx.Client) -> None:
    found = send(http, response_format="diarized_json", chunking_strategy="auto").json()
    parsed = TranscriptionDiarized.model_validate(found, strict=True)
    assert [segment.speaker for segment in parsed.segments] == ["A", "B", "A"]
    assert parsed.text == WORDS
    text = send(http, response_format="text", diarize="true").text
    assert text.splitlines()[1] == "B: word1 said1."
    assert "<v B>word1" in send(http, response_format="vtt", diarize="true").text
    assert "\nA: word0" in send(http, response_format="srt", diarize="true").text
    one = send(http, response_format="diarized_json", num_speakers=1).json()
    assert {segment["speaker"] for segment in one["segments"]} == {"A"}


def test_another_number_of_speakers_than_given_is_said(http: httpx.Client) -> None:
    """The fake hears two voices at most."""
    cases: list[tuple[dict[str, Any], list[str]]] = [
        ({"num_speakers": 10}, ["speakers_not_as_asked"]),
        ({"min_speakers": 3}, ["speakers_not_as_asked"]),
        ({"max_speakers": 1}, ["speakers_not_as_asked"]),
        ({"num_speakers": 2}, []),
        ({"min_speakers": 1, "max_speakers": 4}, []),
    ]
    for fields, codes in cases:
        for path in (PATH, "/v1/audio/diarizations"):
            kind = "diarized_json" if path == PATH else "json"
            model = "canary" if path == PATH else "pyannote"
            found = send(http, path=path, model=model, response_format=kind, **fields).json()
            assert [w["code"] for w in found.get("warnings", [])] == codes


def test_known_speakers(http: httpx.Client) -> None:
    found = send(
        http,
        response_format="diarized_json",
        known_speaker_names__=["Zoë"],
        known_speaker_references__=[VOICE],
        timestamp_granularities__=["word"],
    ).json()
    assert [segment["speaker"] for segment in found["segments"]] == ["Zoë", "A", "Zoë"]
    assert found["segments"][0]["words"][0]["speaker"] == "Zoë"


@pytest.mark.parametrize(
    "kind",
    [
        "audio/wav",
        "audio/wav; codecs=opus",
        'audio/wav;codecs="1"',
        'audio/wav ; codecs="pcm, 1" ; rate=16000 ',
        "",
    ],
)
def test_references_of_every_spelling(kind: str, http: httpx.Client) -> None:
    data = VOICE.partition(",")[2]
    answer = send(
        http,
        response_format="diarized_json",
        known_speaker_names__=["Zoë"],
        known_speaker_references__=[f"data:{kind};base64,{data}"],
    )
    assert answer.json()["segments"][0]["speaker"] == "Zoë"


def test_a_form_holds_few_voices_and_little_text(http: httpx.Client, gateway: AudioGateway) -> None:
    answer = send(http, known_speaker_references__=["x"] * 51)
    assert answer.status_code == 400
    assert error(answer)["param"] == "known_speaker_references"
    assert "50" in error(answer)["message"]
    fields: dict[str, Any] = {f"unheard_of_{number}": "x" * 60_000 for number in range(20)}
    answer = send(http, **fields)
    assert answer.status_code == 413
    eventually(gateway.at_rest)


@pytest.mark.parametrize(
    ("reference", "status"),
    [
        ("not a data url", 400),
        ("data:audio/wav;base64,%%%%", 400),
        ("data:audio/wav;base64,AAA", 400),
        (audio.data_url(b""), 400),
        (audio.data_url(b"%PDF-1.4"), 415),
        (audio.data_url(audio.wav(1.0)), 400),
        (audio.data_url(audio.wav())[:-400], 400),
    ],
)
def test_bad_references(reference: str, status: int, http: httpx.Client) -> None:
    answer = send(
        http,
        response_format="diarized_json",
        known_speaker_names__=["Zoë"],
        known_speaker_references__=[reference],
    )
    assert answer.status_code == status
    assert error(answer)["param"] == "known_speaker_references[0]"


def test_a_sample_in_which_nobody_speaks_is_the_caller_s_mistake(http: httpx.Client) -> None:
    """Wherever it is sent: found by the engine only, and never an answer without speakers."""
    voice: dict[str, Any] = {
        "known_speaker_names__": ["Nobody"],
        "known_speaker_references__": [VOICE],
    }
    wanted: list[tuple[str, dict[str, Any]]] = [
        (PATH, {"response_format": "diarized_json"}),
        (PATH, {"response_format": "srt", "diarize": "true"}),
        ("/v1/audio/diarizations", {"model": "pyannote"}),
    ]
    for path, fields in wanted:
        answer = send(http, path=path, **fields, **voice)
        assert answer.status_code == 400
        assert error(answer)["param"] == "known_speaker_references"
        assert "Nobody speaks" in error(answer)["message"]
    answer = send(http, stream="true", response_format="diarized_json", **voice)
    said = error(answer) if answer.status_code == 400 else events(answer)[-1]["error"]
    assert said["param"] == "known_speaker_references"


def test_diarizations(http: httpx.Client) -> None:
    path = "/v1/audio/diarizations"
    found = send(http, path=path, model="pyannote").json()
    assert found["duration"] == 3.0
    assert found["speakers"] == ["A", "B"]
    assert found["segments"][0] == {"start": 0.0, "end": 1.2, "speaker": "A"}
    assert found["exclusive"][0] == {"start": 0.0, "end": 1.0, "speaker": "A"}
    answer = send(http, path=path, model="pyannote", response_format="rttm")
    assert answer.text.splitlines()[0] == "SPEAKER talk 1 0.000 1.200 <NA> <NA> A <NA> <NA>"
    assert error(send(http, path=path, model="canary"))["param"] == "model"


def test_short_forms(http: httpx.Client) -> None:
    found = send(http, path="/api/audio/transcribe").json()
    assert (found["text"], found["sampling_rate"]) == (WORDS, 16_000)
    assert found["segments"][1] == {"start": 1.0, "end": 1.9, "text": "word1 said1."}
    found = send(http, path="/api/audio/transcribe", diarize="true").json()
    assert [segment["speaker"] for segment in found["segments"]] == ["A", "B", "A"]
    found = send(http, path="/api/diarization/process").json()
    assert list(found) == ["segments"]
    assert found["segments"][0]["end"] == 1.2
    exclusive = send(http, path="/api/diarization/process", exclusive="true").json()
    assert exclusive["segments"][0]["end"] == 1.0


def test_streams(http: httpx.Client) -> None:
    found = events(send(http, stream="true", include__=["logprobs"]))
    assert [event["type"] for event in found] == ["transcript.text.delta"] * 3 + [
        "transcript.text.done"
    ]
    assert "".join(event["delta"] for event in found[:-1]) == found[-1]["text"] == WORDS
    assert found[0]["logprobs"]
    assert found[-1]["usage"]["type"] == "tokens"
    found = events(send(http, stream="true", response_format="diarized_json"))
    kinds = [event["type"].rsplit(".", 1)[1] for event in found]
    assert kinds == ["delta"] * 3 + ["segment"] * 3 + ["done"]
    assert [event["speaker"] for event in found[3:6]] == ["A", "B", "A"]
    assert found[-1]["coverage"]["speech_seconds"] == 3.0


def test_sdk(gateway: AudioGateway, tmp_path: Path) -> None:
    path = tmp_path / "meeting.m4a"
    path.write_bytes(audio.encoded("ipod", "aac", seconds=3.1))
    with gateway.sdk() as client, path.open("rb") as file:
        plain = client.audio.transcriptions.create(model="whisper-1", file=file)
        assert plain.text == WORDS
        file.seek(0)
        text = client.audio.transcriptions.create(
            model="canary", file=file, response_format="srt", language="en"
        )
        assert isinstance(text, str)
        file.seek(0)
        diarized = client.audio.transcriptions.create(
            model="canary",
            file=file,
            response_format="diarized_json",
            chunking_strategy={"type": "server_vad", "threshold": 0.5},
            known_speaker_names=["Anna"],
            known_speaker_references=[VOICE],
        )
        assert isinstance(diarized, TranscriptionDiarized)
        assert [segment.speaker for segment in diarized.segments] == ["Anna", "A", "Anna"]
        file.seek(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the SDK's, of its own method
            assert client.audio.translations.create(model="canary", file=file).text == WORDS
        file.seek(0)
        said = ""
        with client.audio.transcriptions.create(model="canary", file=file, stream=True) as stream:
            for event in stream:
                if event.type == "transcript.text.delta":
                    said += event.delta
                elif event.type == "transcript.text.done":
                    assert event.text == said == WORDS
        file.seek(0)
        with pytest.raises(openai.BadRequestError) as caught:
            client.audio.transcriptions.create(model="canary", file=file, language="xx")
        assert caught.value.param == "language"


def test_async_sdk(gateway: AudioGateway) -> None:
    async def main() -> None:
        async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none") as client:
            found = await asyncio.gather(
                *(
                    client.audio.transcriptions.create(
                        model="canary",
                        file=("a.wav", THREE),
                        response_format="verbose_json",
                        timestamp_granularities=["word"],
                    )
                    for _ in range(8)
                )
            )
        assert {answer.text for answer in found} == {WORDS}
        assert all(answer.words and len(answer.words) == 6 for answer in found)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"model": ""}, 400, "model"),
        ({"model": "nobody"}, 404, "model"),
        ({"model": "qwen"}, 400, "model"),
        ({"response_format": "docx"}, 400, "response_format"),
        ({"file": None}, 400, "file"),
        ({"file": b""}, 400, "file"),
        ({"file": b"%PDF-1.7"}, 415, "file"),
        ({"file": audio.video("mp4")}, 415, "file"),
        ({"language": "fr", "target_language": "de"}, 400, "target_language"),
        ({"prompt": "x" * 70_000}, 413, "prompt"),
        ({"known_speaker_names__": ["Anna"]}, 400, "known_speaker_references"),
    ],
)
def test_refused(
    fields: dict[str, Any], status: int, param: str, http: httpx.Client, gateway: AudioGateway
) -> None:
    answer = send(http, **fields)
    assert answer.status_code == status
    assert error(answer)["param"] == param
    eventually(gateway.at_rest)


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("application/json", b'{"model": "canary"}', 415),
        ("application/x-www-form-urlencoded", b"model=canary", 415),
        ("", b"model=canary", 415),
        ("multipart/form-data", b"", 400),
        (f"multipart/form-data; boundary={'x' * 71}", b"", 400),
        ("multipart/form-data; boundary=x", b"", 400),
        ("multipart/form-data; boundary=x", b"--y\r\n\r\n", 400),
        ("multipart/form-data; boundary=x", b"--x\r\nA: b\r\n\r\nhello\r\n--x--\r\n", 400),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\nRIFF',
            400,
        ),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\nRIFF\r\n' * 2
            + b"--x--\r\n",
            400,
        ),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n' * 251 + b"--x--\r\n",
            400,
        ),
    ],
)
def test_malformed_forms(
    content_type: str, body: bytes, status: int, http: httpx.Client, gateway: AudioGateway
) -> None:
    headers = {"content-type": content_type}
    answer = http.post(PATH, content=body, headers=headers)
    assert answer.status_code == status
    assert error(answer)["message"]
    eventually(gateway.at_rest)


def test_common_slips_are_told_in_our_words(http: httpx.Client) -> None:
    answer = http.post(PATH, data={"model": "canary"}, files={"file[]": THREE})
    assert "as 'file'" in error(answer)["message"]
    answer = send(http, path="/api/audio/transcribe", stream="true")
    assert error(answer)["param"] == "stream"
    assert "verbose_json" not in error(answer)["message"]
    answer = http.post(PATH, data={"model": "canary"}, files={"file": ("x" * 5000, THREE)})
    assert "filename" in error(answer)["message"]
    request = http.build_request("POST", PATH, data={"model": "canary"}, files={"file": THREE})
    headers = {**request.headers, "content-encoding": "gzip"}
    answer = http.post(PATH, content=request.read(), headers=headers)
    assert answer.status_code == 415
    assert "gzip" in error(answer)["message"]


def test_a_body_of_unknown_length(http: httpx.Client) -> None:
    """As from `curl -T -`: chunked, in pieces that cut boundaries anywhere."""
    request = http.build_request("POST", PATH, data={"model": "canary"}, files={"file": THREE})
    body = request.read()
    for size in (7, 1000, 65_536):
        pieces = (body[at : at + size] for at in range(0, len(body), size))
        answer = http.post(
            PATH,
            content=pieces,
            headers={"content-type": request.headers["content-type"]},
        )
        assert answer.json()["text"] == WORDS


def test_what_has_no_effect_is_said(http: httpx.Client) -> None:
    answer = send(http, prompt="Names: Zoë", temperature="0.3")
    assert len(answer.json()["warnings"]) == 2
    assert answer.headers["x-warnings"] == "parameter_without_effect"
    assert "x-warnings" not in send(http, temperature="0", unheard_of="yes").headers


def test_damage_is_said(http: httpx.Client) -> None:
    cut = audio.wav(5.0)[:120_000]
    assert send(http, cut).json()["warnings"][0]["code"] == "truncated_audio"
    assert send(http, cut, response_format="text").headers["x-warnings"] == "truncated_audio"


def test_history_knows_what_was_heard(http: httpx.Client, gateway: AudioGateway) -> None:
    assert send(http).status_code == 200
    eventually(gateway.at_rest)
    (last,) = gateway.activity.recent(1)
    assert (last.model, last.outcome, last.audio_seconds) == ("canary", "completed", 3.0)
    assert last.content == {"transcript": WORDS}


def test_limits() -> None:
    with audio_gateway(pyannote=None, max_audio_s=2, spool_mb=1) as gateway, gateway.http() as http:
        answer = send(http)
        assert answer.status_code == 413
        assert "2 s" in error(answer)["message"]
        answer = send(http, bytes(1_100_000))
        assert answer.status_code == 507  # it never fits, so it is not to be sent again
        assert "retry-after" not in answer.headers
        assert answer.headers["x-should-retry"] == "false"
        assert "1 MiB" in error(answer)["message"]
        assert send(http, audio.wav(1.0)).json()["text"] == "word0 said0."


def test_a_transcript_is_not_lost_with_its_speakers() -> None:
    for pyannote in (
        None,
        ("--end", "raise"),
        ("--end", "exit"),
        ("--end", "exit", "--after", "2"),
    ):
        with audio_gateway(pyannote=pyannote) as gateway, gateway.http() as http:
            answer = send(http, response_format="diarized_json")
            assert answer.status_code == 200
            found = TranscriptionDiarized.model_validate(answer.json(), strict=True)
            assert found.text == WORDS
            assert {segment.speaker for segment in found.segments} == {"unknown"}
            (warning,) = answer.json()["warnings"]
            assert warning["code"] == "diarization_failed"
            assert "secret" not in warning["message"]
            assert send(http, response_format="text", diarize="true").text == WORDS + "\n"
            found_events = events(send(http, response_format="diarized_json", stream="true"))
            assert [w["code"] for w in found_events[-1]["warnings"]] == [warning["code"]]
            alone = send(http, path="/v1/audio/diarizations", model="pyannote")
            assert alone.status_code in {404, 502}


def test_a_recogniser_that_fails_is_said() -> None:
    with (
        audio_gateway(canary=("--end", "raise"), pyannote=None) as gateway,
        gateway.http() as http,
    ):
        for stream in ("false", "true"):
            answer = send(http, stream=stream)
            assert answer.status_code == 502
            assert "secret" not in error(answer)["message"]
        (last,) = gateway.activity.recent(1)
        assert (last.outcome, last.status) == ("failed", 502)


def test_a_recogniser_that_dies_in_a_stream_is_an_error_event() -> None:
    flags = ("--end", "exit", "--after", "2")
    with audio_gateway(canary=flags, pyannote=("--end", "hang")) as gateway:
        with gateway.http() as http:
            found = events(send(http, stream="true", response_format="diarized_json"))
            assert [event.get("type") for event in found[:2]] == ["transcript.text.delta"] * 2
            assert found[2]["error"]["code"] == "engine_error"
            assert len(found) == 3
            # a retry finds nobody, which is an answer too
            assert send(http).status_code == 502
        eventually(lambda: gateway.engines["pyannote"].broken_off() == 1)


def test_the_sdk_understands_a_stream_that_fails() -> None:
    with (
        audio_gateway(canary=("--end", "exit", "--after", "1"), pyannote=None) as gateway,
        gateway.sdk() as client,
        client.audio.transcriptions.create(
            model="canary", file=("a.wav", THREE), stream=True
        ) as stream,
        pytest.raises(openai.APIError),
    ):
        for _ in stream:
            pass


def test_silence_of_an_engine_is_filled_with_comments() -> None:
    settings = {"sse_commit_s": 0.05, "sse_keepalive_s": 0.05}
    with audio_gateway(canary=("--end", "hang"), pyannote=None, **settings) as gateway:
        with (
            gateway.http() as http,
            http.stream(
                "POST",
                PATH,
                data={"model": "canary", "stream": "true"},
                files={"file": THREE},
            ) as answer,
        ):
            assert answer.status_code == 200
            lines = answer.iter_lines()
            comments = [next(lines) for _ in range(4)]
            assert all(not line or line.startswith(":") for line in comments)
            eventually(gateway.engines["canary"].in_flight)
        eventually(lambda: gateway.engines["canary"].broken_off() == 1)


@pytest.mark.parametrize("stream", ["false", "true"])
def test_a_client_that_leaves_stops_the_engines(stream: str) -> None:
    flags = ("--end", "hang", "--after", "1")
    with audio_gateway(canary=flags, pyannote=("--end", "hang")) as gateway:
        form = {"model": "canary", "stream": stream, "response_format": "diarized_json"}
        with gateway.http() as http:
            request = http.build_request("POST", PATH, data=form, files={"file": THREE})
        lines = [f"{name}: {value}" for name, value in request.headers.items()]
        head = "\r\n".join([f"POST {PATH} HTTP/1.1", *lines, "", ""])
        with socket.create_connection((request.url.host, request.url.port)) as client:
            client.sendall(head.encode() + request.read())
            for engine in gateway.engines.values():
                eventually(engine.in_flight)
        for engine in gateway.engines.values():
            eventually(lambda engine=engine: engine.broken_off() == 1)  # type: ignore[misc]
        eventually(gateway.at_rest)
        (last,) = gateway.activity.recent(1)
        assert (last.outcome, last.cancelled_by) == ("cancelled", "client")


def test_an_operator_can_stop_it() -> None:
    flags = ("--end", "hang", "--after", "1")
    with audio_gateway(canary=flags, pyannote=None) as gateway, gateway.http() as http:
        answers: list[httpx.Response] = []
        asker = threading.Thread(target=lambda: answers.append(send(http)))
        asker.start()
        running = eventually(gateway.activity.in_flight)
        eventually(lambda: gateway.registry.leases == 1)
        gateway.call(running[0].cancel, "operator")
        asker.join(10)
        assert answers[0].status_code == 503
        assert error(answers[0])["code"] == "cancelled"
        assert answers[0].headers["x-should-retry"] == "false"


def test_a_client_that_leaves_while_sending(gateway: AudioGateway) -> None:
    def broken() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\n' + bytes(1 << 20)
        eventually(lambda: gateway.spool.used)
        raise ConnectionAbortedError

    with gateway.http() as http, pytest.raises(ConnectionAbortedError):
        http.post(
            PATH,
            content=broken(),
            headers={"content-type": "multipart/form-data; boundary=x"},
        )
    eventually(gateway.at_rest)


def test_an_upload_that_stalls_is_given_up() -> None:
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\n\r\n"
        '--x\r\nContent-Disposition: form-data; name="file"\r\n\r\nRIFF'
    )
    with audio_gateway(client_write_s=0.2) as gateway:
        address = gateway.url.removeprefix("http://").split(":")
        with socket.create_connection((address[0], int(address[1])), timeout=20) as client:
            client.sendall(head.encode())
            answer = client.recv(65_536)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"request_timeout" in answer


def test_openapi_describes_the_forms(http: httpx.Client) -> None:
    paths = http.get("/openapi.json").json()["paths"]
    for path in (
        PATH,
        "/v1/audio/translations",
        "/v1/audio/diarizations",
        "/api/audio/transcribe",
        "/api/diarization/process",
    ):
        body = paths[path]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
        assert "file" in body["required"]
        assert body["properties"]["file"]["format"] == "binary"
