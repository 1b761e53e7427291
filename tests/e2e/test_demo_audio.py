"""The demo Canary through the real NeMo and the whole gateway, by the clients people use."""

from __future__ import annotations

import asyncio
import json
import subprocess
import threading
import warnings
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai.types.audio import TranscriptionVerbose

from tests.support.demo_audio import (
    Direct,
    Task,
    manifest,
    named,
    nemo_directly,
    pcm,
    silence,
    singles,
    spoken,
    tasks,
    wav,
    worker,
    worker_health,
    workers,
)
from tests.support.gateway import GatewayProcess, at_rest, eventually
from tools.demo_models.speech import RATE

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

PATH = "/v1/audio/transcriptions"
FORMATS = ("json", "text", "srt", "vtt", "verbose_json")
FRAME_S = 0.08
"""The step in which NeMo tells times."""
VAD_FRAME = 512
LONG_S = 600

DEMO_ALIGNER_S = 0.3
"""How far the tiny demo aligner may be off; the real one works in steps of 0.08 s."""


@pytest.fixture(scope="module")
def sdk(demo: GatewayProcess) -> Iterator[openai.OpenAI]:
    url = demo.url + "/v1"
    with openai.OpenAI(base_url=url, api_key="none", max_retries=0, timeout=300) as client:
        yield client


@pytest.fixture(scope="module")
def http(demo: GatewayProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=demo.url, timeout=300, trust_env=False) as client:
        yield client


@pytest.fixture(scope="module")
def direct(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Direct]:
    return nemo_directly(tasks(), tmp_path_factory.mktemp("direct"))


@pytest.fixture(scope="module")
def lap() -> bytes:
    """Three sentences with pauses, a whole number of the speech detector's frames long."""
    pieces = [
        part
        for stem, pause_s in (("fox", 0.7), ("meeting", 1.6), ("rain", 3.1))
        for part in (pcm(named(stem)), silence(pause_s))
    ]
    samples = b"".join(pieces)
    return samples + bytes(-len(samples) % (2 * VAD_FRAME))


@pytest.fixture(scope="module")
def long(lap: bytes) -> bytes:
    """Ten minutes of it."""
    return lap * -(-LONG_S * RATE * 2 // len(lap))


def send(http: httpx.Client, file: bytes | Path, path: str = PATH, **fields: Any) -> httpx.Response:
    """A form; keyword `a__` is the array field `a[]`."""
    data = {"model": "canary"} | {name.replace("__", "[]"): v for name, v in fields.items()}
    content = file.read_bytes() if isinstance(file, Path) else file
    answer = http.post(path, data=data, files={"file": ("talk.wav", content)})
    assert answer.status_code == 200, answer.text
    return answer


# ---- what is said -------------------------------------------------------------------------------


def test_every_recording_in_every_format(http: httpx.Client) -> None:
    misses = []
    for recording in manifest().speech.recordings:
        for kind in FORMATS:
            body = send(
                http, recording.where, language=recording.language, response_format=kind
            ).text
            if spoken(body, kind) != recording.text:
                misses.append(f"{recording.file} as {kind}: {spoken(body, kind)}")
    assert not misses


def test_alone_it_equals_nemo_exactly(http: httpx.Client, direct: dict[str, Direct]) -> None:
    assert len(direct) >= 20
    for task in tasks():
        wanted = direct[task.name]
        assert wanted.text == task.wanted or not task.pnc
        found = send(
            http,
            wav(pcm(task.recording)),
            response_format="verbose_json",
            timestamp_granularities__=["word"],
            **task.fields,
        ).json()
        assert found["text"] == wanted.text
        assert [(w["word"], w["start"], w["end"]) for w in found["words"]] == wanted.words


def test_together_in_every_format_the_text_is_the_same(
    demo: GatewayProcess, direct: dict[str, Direct]
) -> None:
    """All at once, so that languages, prompts and formats share batches."""

    async def one(client: httpx.AsyncClient, task: Task, kind: str) -> None:
        data = {**task.fields, "response_format": kind}
        if kind == "verbose_json":
            data["timestamp_granularities[]"] = "word"
        files = {"file": ("talk.wav", wav(pcm(task.recording)))}
        answer = await client.post(PATH, data=data, files=files)
        assert answer.status_code == 200, answer.text
        wanted = direct[task.name]
        assert spoken(answer.text, kind) == wanted.text
        if kind == "verbose_json":
            for word, (_, start, end) in zip(answer.json()["words"], wanted.words, strict=True):
                assert (word["start"], word["end"]) == pytest.approx((start, end), abs=FRAME_S)

    async def main() -> None:
        limits = httpx.Limits(max_connections=32)
        async with httpx.AsyncClient(
            base_url=demo.url, timeout=300, trust_env=False, limits=limits
        ) as client:
            await asyncio.gather(*(one(client, t, kind) for t in tasks() for kind in FORMATS))

    asyncio.run(main())


def test_sentences_stand_at_their_places(sdk: openai.OpenAI) -> None:
    for recording in manifest().speech.recordings:
        with recording.where.open("rb") as file:
            found = sdk.audio.transcriptions.create(
                model="canary",
                file=file,
                language=recording.language,
                response_format="verbose_json",
                timestamp_granularities=["word", "segment"],
            )
        assert isinstance(found, TranscriptionVerbose)
        assert found.segments is not None
        assert found.words is not None
        assert [segment.text for segment in found.segments] == [t.text for t in recording.turns]
        for segment, (start, end, _) in zip(found.segments, recording.times, strict=True):
            assert (segment.start, segment.end) == pytest.approx((start, end), abs=DEMO_ALIGNER_S)
        assert " ".join(word.word for word in found.words) == recording.text
        times = [at for word in found.words for at in (word.start, word.end)]
        assert times == sorted(times)
        assert times[-1] <= found.duration
        coverage = found.model_extra["coverage"]  # type: ignore[index]
        assert coverage["gaps"] == []
        assert coverage["decoded_seconds"] == coverage["speech_seconds"] > 0


def test_translations(sdk: openai.OpenAI) -> None:
    create: Any = sdk.audio.transcriptions.create
    for recording in singles():
        for target, text in recording.translations.items():
            with recording.where.open("rb") as file:
                asked: dict[str, Any] = {"model": "canary", "file": file}
                if target == "en":
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore", DeprecationWarning)  # the SDK's own
                        told = sdk.audio.translations.create(
                            **asked, extra_body={"language": recording.language}
                        )
                    assert told.text == text
                    file.seek(0)
                found = create(
                    **asked, language=recording.language, extra_body={"target_language": target}
                )
            assert found.text == text


def test_the_language_is_found_and_named(sdk: openai.OpenAI) -> None:
    create: Any = sdk.audio.transcriptions.create
    for recording in singles():
        for candidates in (["en", "fr", "de"], None):
            if candidates is None and recording.language == "de":
                continue  # not among CANARY_LANGUAGES by default
            extra = {"languages": candidates} if candidates else {}
            with recording.where.open("rb") as file:
                found = create(
                    model="whisper-1", file=file, response_format="verbose_json", extra_body=extra
                )
            assert found.text == recording.text
            assert found.model_extra["language_code"] == recording.language
            assert found.model_extra["language_margin"] > 0
    assert found.language == {"en": "english", "fr": "french", "de": "german"}[recording.language]


@pytest.mark.parametrize("kind", FORMATS)
def test_where_nobody_speaks_nothing_is_written(http: httpx.Client, kind: str) -> None:
    answer = send(http, wav(silence(3)), response_format=kind, language="en")
    if kind in {"srt", "vtt"}:
        assert answer.text in {"", "WEBVTT\n"}
    else:
        assert spoken(answer.text, kind) == ""


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"language": "xx"}, "language"),
        ({"language": "en", "extra_body": {"target_language": "tlh"}}, "target_language"),
        ({"language": "fr", "extra_body": {"target_language": "de"}}, "target_language"),
    ],
)
def test_an_unknown_language_is_refused(
    sdk: openai.OpenAI, fields: dict[str, Any], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        sdk.audio.transcriptions.create(
            model="canary", file=("x.wav", wav(pcm(named("fox")))), **fields
        )
    assert refused.value.param == param


# ---- by which client ----------------------------------------------------------------------------


def test_streams(sdk: openai.OpenAI) -> None:
    for stem in ("notes", "voyage", "fox"):
        recording = named(stem)
        with recording.where.open("rb") as file:
            events = list(
                sdk.audio.transcriptions.create(
                    model="canary", file=file, language=recording.language, stream=True
                )
            )
        deltas = [e.delta for e in events if e.type == "transcript.text.delta"]
        last = events[-1]
        assert last.type == "transcript.text.done"
        assert len(deltas) == len(events) - 1 == len(recording.turns)
        assert "".join(deltas) == last.text == recording.text
        assert last.usage is not None
        assert last.usage.output_tokens > 0


def test_many_at_a_time_by_the_async_sdk(demo: GatewayProcess) -> None:
    every = manifest().speech.recordings

    async def main() -> None:
        async with openai.AsyncOpenAI(
            base_url=demo.url + "/v1", api_key="none", max_retries=0, timeout=300
        ) as client:

            async def whole(number: int) -> str:
                recording = every[number % len(every)]
                answer = await client.audio.transcriptions.create(
                    model="canary", file=recording.where, language=recording.language
                )
                return answer.text

            async def streamed(number: int) -> str:
                recording = every[number % len(every)]
                stream = await client.audio.transcriptions.create(
                    model="canary", file=recording.where, language=recording.language, stream=True
                )
                deltas = [e.delta async for e in stream if e.type == "transcript.text.delta"]
                return "".join(deltas)

            ways = [(streamed if n % 3 == 0 else whole)(n) for n in range(2 * len(every))]
            found = await asyncio.gather(*ways)
        assert found == [recording.text for recording in (*every, *every)]

    asyncio.run(main())


def _curl(demo: GatewayProcess, path: str, *arguments: str, body: bytes = b"") -> Any:
    url = demo.url + path
    ended = subprocess.run(
        ["curl", "-sS", "--fail-with-body", "--noproxy", "*", url, *arguments],
        input=body,
        capture_output=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return json.loads(ended.stdout)


def test_curl(demo: GatewayProcess) -> None:
    recording = named("fox")
    file = f"file=@{recording.where}"
    fields = ("-F", "model=canary", "-F", "language=en")
    assert _curl(demo, PATH, *fields, "-F", file)["text"] == recording.text
    # a body of unknown length: the file comes from a pipe, and curl sends it in chunks
    chunked = (*fields, "-F", "file=@-;filename=talk", "-H", "Transfer-Encoding: chunked")
    assert _curl(demo, PATH, *chunked, body=recording.where.read_bytes())["text"] == recording.text
    short = _curl(demo, "/api/audio/transcribe", "-F", file)
    assert short["text"] == recording.text
    assert short["sampling_rate"] == RATE
    assert [segment["text"] for segment in short["segments"]] == [recording.text]


def test_a_body_of_unknown_length_in_small_pieces(http: httpx.Client) -> None:
    recording = named("meeting")
    request = http.build_request(
        "POST",
        PATH,
        data={"model": "canary", "language": "en"},
        files={"file": recording.where.read_bytes()},
    )
    body = request.read()
    pieces = (body[at : at + 999] for at in range(0, len(body), 999))
    headers = {"content-type": request.headers["content-type"]}
    answer = http.post(PATH, content=pieces, headers=headers)
    assert answer.json()["text"] == recording.text


# ---- however long -------------------------------------------------------------------------------


def test_ten_minutes(http: httpx.Client, lap: bytes, long: bytes) -> None:
    sentences = [named(stem).text for stem in ("fox", "meeting", "rain")]
    laps, period = len(long) // len(lap), len(lap) / 2 / RATE
    found = send(
        http,
        wav(long),
        language="en",
        response_format="verbose_json",
        timestamp_granularities__=["word", "segment"],
    ).json()
    assert found["text"] == " ".join(sentences * laps)
    assert found["duration"] == len(long) / 2 / RATE > LONG_S
    segments = found["segments"]
    assert [segment["text"] for segment in segments] == sentences * laps
    assert all(a["end"] <= b["start"] for a, b in pairwise(segments))
    # the same samples again are the same times again: no offset drifts, however far into the file
    words = [[w["start"], w["end"]] for w in found["words"]]
    count = len(words) // laps
    second = words[count : 2 * count]
    for number in range(2, laps):
        moved = [[a + (number - 1) * period, b + (number - 1) * period] for a, b in second]
        for at, wanted in zip(words[number * count : (number + 1) * count], moved, strict=True):
            assert at == pytest.approx(wanted, abs=1e-5)
    coverage = found["coverage"]
    assert coverage["gaps"] == []
    assert coverage["decoded_seconds"] == coverage["speech_seconds"] > laps * 5


def test_who_leaves_in_mid_file_leaves_nothing_behind(
    demo: GatewayProcess, sdk: openai.OpenAI, http: httpx.Client, long: bytes
) -> None:
    stream = sdk.audio.transcriptions.create(
        model="canary", file=("long.wav", wav(long)), language="en", stream=True
    )
    with stream:
        assert next(iter(stream)).type == "transcript.text.delta"
        assert http.get("/api/admin/status").json()["models"]["canary"]["in_flight"] == 1
    eventually(lambda: at_rest(http), 20)
    idle = {"in_flight": 0, "queued": 0}
    eventually(lambda: idle.items() <= worker_health(demo, "canary").items(), 20)


# ---- bad luck -----------------------------------------------------------------------------------


def test_unloading_leaves_no_process(demo: GatewayProcess, http: httpx.Client) -> None:
    send(http, named("fox").where, language="en")
    before = workers(demo, "canary")
    rss = worker(demo, "canary").memory_info().rss
    assert len(before) == 2
    answer = http.post("/api/admin/models/canary/unload", params={"wait": "true"})
    receipt = answer.json()["receipt"]
    assert (answer.json()["state"], receipt["escalated"]) == ("idle", False)
    assert receipt["freed_bytes"] > rss / 2
    assert receipt["seconds"] > 0
    assert not [process for process in before if process.is_running()]
    assert workers(demo, "canary") == []


def test_a_worker_killed_in_mid_file(
    demo: GatewayProcess, sdk: openai.OpenAI, http: httpx.Client, long: bytes
) -> None:
    """A stream ends with an error event, a plain request with 502; the next one is served."""
    # loads it, if need be
    assert send(http, named("rain").where, language="en").json()["text"] == named("rain").text
    whole: list[openai.APIStatusError] = []

    def ask_whole() -> None:
        try:
            sdk.audio.transcriptions.create(model="canary", file=("long.wav", wav(long)))
        except openai.APIStatusError as refused:
            whole.append(refused)

    beside = threading.Thread(target=ask_whole)
    beside.start()
    victim = worker(demo, "canary")
    eventually(lambda: worker_health(demo, "canary")["in_flight"] == 1, 30)
    stream = sdk.audio.transcriptions.create(
        model="canary", file=("long.wav", wav(long)), language="en", stream=True
    )

    def listen() -> None:
        for number, event in enumerate(stream):
            assert event.type == "transcript.text.delta"
            if number == 0:
                victim.kill()

    with stream, pytest.raises(openai.APIError) as broken:
        listen()
    beside.join(60)
    assert broken.value.code == "engine_error"
    (refused,) = whole
    assert (refused.status_code, refused.code) == (502, "engine_error")
    with named("fox").where.open("rb") as file:
        answer = sdk.audio.transcriptions.create(model="canary", file=file, language="en")
    assert answer.text == named("fox").text
    assert worker(demo, "canary").pid != victim.pid
    eventually(lambda: at_rest(http), 20)
