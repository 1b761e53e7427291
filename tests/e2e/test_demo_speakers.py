"""Who said what: the demo Canary and the demo Pyannote together, through the whole gateway."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from string import ascii_uppercase
from typing import Any

import httpx
import openai
import pytest
import webvtt
from openai.types.audio import TranscriptionDiarized

from tests.support import audio
from tests.support.demo_audio import (
    manifest,
    named,
    pcm,
    silence,
    spoken,
    wav,
    worker,
    worker_health,
)
from tests.support.gateway import GatewayProcess, at_rest, eventually
from tools.bench.scores import by_speaker, cpwer, error_rate
from tools.demo_models.manifest import Recording
from tools.demo_models.speech import RATE

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

TRANSCRIPTIONS, DIARIZATIONS = "/v1/audio/transcriptions", "/v1/audio/diarizations"
SAMPLE_S = 8
"""Of a known voice; OpenAI asks for 2 to 10 s."""

each = pytest.mark.parametrize("stem", ["dialogue-two", "dialogue-three"])


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
def long() -> bytes:
    """Minutes of dialogue."""
    return wav(pcm(named("dialogue-three")) * 8)


def send(http: httpx.Client, path: str, file: bytes, **fields: Any) -> httpx.Response:
    """A form; keyword `a__` is the array field `a[]`."""
    data = {name.replace("__", "[]"): v for name, v in fields.items()}
    return http.post(path, data=data or None, files={"file": ("talk.wav", file)})


def transcribe(http: httpx.Client, recording: Recording, **fields: Any) -> str:
    asked = {"model": "canary", "language": recording.language, **fields}
    answer = send(http, TRANSCRIPTIONS, recording.where.read_bytes(), **asked)
    assert answer.status_code == 200, answer.text
    return answer.text


def diarized(sdk: openai.OpenAI, recording: Recording, **fields: Any) -> TranscriptionDiarized:
    """As OpenAI's guide asks for it."""
    found = sdk.audio.transcriptions.create(
        model="gpt-4o-transcribe-diarize",
        file=recording.where,
        language=recording.language,
        response_format="diarized_json",
        chunking_strategy="auto",
        **fields,
    )
    assert isinstance(found, TranscriptionDiarized)
    return found


def said_by(recording: Recording, names: dict[str, str]) -> list[tuple[str, str]]:
    """(speaker, sentence) of each turn; who is not in `names` gets the next letter."""
    letters = iter(ascii_uppercase)
    for speaker in recording.speakers:
        names = {speaker: names[speaker] if speaker in names else next(letters)} | names
    return [(names[turn.speaker], turn.text) for turn in recording.turns]


def sample(*speakers: str) -> list[str]:
    """Each voice's sample, from where it speaks most but in the dialogue of three."""
    found = []
    for speaker in speakers:
        parts = [
            (recording, [turn for turn in recording.times if turn[2] == speaker])
            for recording in manifest().speech.recordings
            if recording != named("dialogue-three")
        ]
        recording, own = max(parts, key=lambda part: sum(end - start for start, end, _ in part[1]))
        samples = pcm(recording)
        said = (samples[round(start * RATE) * 2 : round(end * RATE) * 2] for start, end, _ in own)
        found.append(audio.data_url(wav(b"".join(said)[: SAMPLE_S * RATE * 2])))
    return found


# ---- who said what ------------------------------------------------------------------------------


@each
def test_every_sentence_has_its_speaker(sdk: openai.OpenAI, http: httpx.Client, stem: str) -> None:
    recording = named(stem)
    found = diarized(sdk, recording)
    assert [(s.speaker, s.text) for s in found.segments] == said_by(recording, {})
    plain = json.loads(transcribe(http, recording))
    assert found.text == plain["text"] == recording.text
    truth = by_speaker((turn.speaker, turn.text) for turn in recording.turns)
    assert cpwer(truth, by_speaker((s.speaker, s.text) for s in found.segments)) == 0
    assert [s.id for s in found.segments] == [f"seg_{n:03}" for n in range(len(found.segments))]
    assert all(a.end <= b.start for a, b in pairwise(found.segments))
    extra = found.model_extra or {}
    assert extra["coverage"]["gaps"] == []
    assert "warnings" not in extra


@each
def test_words_have_speakers_too(http: httpx.Client, stem: str) -> None:
    recording = named(stem)
    wanted = [(word, who) for who, text in said_by(recording, {}) for word in text.split()]
    body = transcribe(
        http, recording, response_format="diarized_json", timestamp_granularities__=["word"]
    )
    words = [word for segment in json.loads(body)["segments"] for word in segment["words"]]
    assert [(word["word"], word["speaker"]) for word in words] == wanted
    assert all(0 <= word["speaker_confidence"] <= 1 for word in words)
    verbose = transcribe(
        http,
        recording,
        response_format="verbose_json",
        diarize="true",
        timestamp_granularities__=["word"],
    )
    assert json.loads(verbose)["words"] == words


@each
def test_a_stream_gives_text_early_and_speakers_at_the_end(sdk: openai.OpenAI, stem: str) -> None:
    recording = named(stem)
    whole = diarized(sdk, recording)
    events = list(
        sdk.audio.transcriptions.create(
            model="canary",
            file=recording.where,
            language=recording.language,
            response_format="diarized_json",
            chunking_strategy="auto",
            stream=True,
        )
    )
    count = len(recording.turns)
    kinds = ["transcript.text.delta"] * count + ["transcript.text.segment"] * count
    assert [event.type for event in events] == [*kinds, "transcript.text.done"]
    deltas = [event.delta for event in events if event.type == "transcript.text.delta"]
    segments = [event for event in events if event.type == "transcript.text.segment"]
    last = events[-1]
    assert last.type == "transcript.text.done"
    assert "".join(deltas) == last.text == recording.text
    assert [s.model_dump() for s in segments] == [s.model_dump() for s in whole.segments]


@each
def test_subtitles_and_text_name_the_speakers(http: httpx.Client, stem: str) -> None:
    recording = named(stem)
    wanted = said_by(recording, {})
    lines = "".join(f"{who}: {text}\n" for who, text in wanted)
    assert transcribe(http, recording, response_format="text", diarize="true") == lines
    srt = transcribe(http, recording, response_format="srt", diarize="true")
    assert cues_by_speaker(spoken(srt, "srt").split()) == cues_by_speaker(lines.split())
    vtt = transcribe(http, recording, response_format="vtt", diarize="true")
    captions = webvtt.from_string(vtt).captions
    cues = [word for c in captions for word in (f"{c.voice}:", *c.text.split())]
    assert cues_by_speaker(cues) == cues_by_speaker(lines.split())


def cues_by_speaker(words: list[str]) -> list[list[str]]:
    """Words with `A:` among them, by speaker: a sentence may take several cues."""
    found: list[list[str]] = []
    for word in words:
        if re.fullmatch(r"[A-Z]:", word):
            if not found or found[-1][0] != word:
                found.append([word])
        else:
            found[-1].append(word)
    return found


# ---- who spoke when -----------------------------------------------------------------------------


def test_every_dialogue_has_as_many_voices_as_speak_in_it(http: httpx.Client) -> None:
    dialogues = [r for r in manifest().speech.recordings if len(r.speakers) > 1]
    assert len(dialogues) >= 2
    for recording in dialogues:
        answer = send(http, DIARIZATIONS, recording.where.read_bytes(), model="pyannote")
        found = answer.json()
        assert found["speakers"] == list(ascii_uppercase[: len(recording.speakers)])
        rows = [(turn["start"], turn["end"], turn["speaker"]) for turn in found["segments"]]
        assert error_rate(recording.times, rows) <= 0.05, recording.file
        assert found["duration"] == pytest.approx(len(pcm(recording)) / 2 / RATE, abs=0.1)
        assert all(a["end"] <= b["start"] for a, b in pairwise(found["exclusive"]))


def test_rttm_and_the_short_form_say_the_same(demo: GatewayProcess, http: httpx.Client) -> None:
    recording = named("dialogue-two")
    body = recording.where.read_bytes()
    found = send(http, DIARIZATIONS, body, model="pyannote").json()
    rttm = send(http, DIARIZATIONS, body, model="pyannote", response_format="rttm").text
    rows = [line.split() for line in rttm.splitlines()]
    assert {(row[0], row[1], row[2]) for row in rows} == {("SPEAKER", "talk", "1")}
    for row, turn in zip(rows, found["segments"], strict=True):
        assert row[7] == turn["speaker"]
        assert float(row[3]) == pytest.approx(turn["start"], abs=0.001)
    ended = subprocess.run(
        ["curl", "-sS", "--noproxy", "*", "-F", f"file=@{recording.where}",
         demo.url + "/api/diarization/process"],
        capture_output=True, timeout=300, check=True,
    )  # fmt: skip
    assert json.loads(ended.stdout) == {"segments": found["segments"]}


def test_a_given_number_of_speakers_is_kept(http: httpx.Client) -> None:
    body = named("dialogue-three").where.read_bytes()
    for count in (1, 2, 3):
        found = send(http, DIARIZATIONS, body, num_speakers=count).json()
        assert len(found["speakers"]) == count
    refused = send(http, DIARIZATIONS, body, num_speakers=0)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "num_speakers")


# ---- known speakers -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "known",
    [{"anna": "Anna", "ben": "Ben"}, {"anna": "Ben", "ben": "Anna"}, {"ben": "Ben"}],
    ids=["two known", "swapped", "one known"],
)
def test_known_speakers_are_named_and_others_stay_letters(
    sdk: openai.OpenAI, known: dict[str, str]
) -> None:
    recording = named("dialogue-three")
    found = diarized(
        sdk,
        recording,
        known_speaker_names=list(known.values()),
        known_speaker_references=sample(*known),
    )
    assert [(s.speaker, s.text) for s in found.segments] == said_by(recording, known)


def test_an_absent_voice_is_nobody(sdk: openai.OpenAI) -> None:
    """Neither of two who do not speak is taken for the one who does."""
    recording = named("voyage")
    found = diarized(
        sdk,
        recording,
        known_speaker_names=["Anna", "Ben"],
        known_speaker_references=sample("anna", "ben"),
    )
    assert {s.speaker for s in found.segments} == {"A"}
    assert found.text == recording.text


def test_an_impostor_is_not_believed(sdk: openai.OpenAI) -> None:
    """A name with somebody else's voice is given to nobody."""
    recording = named("dialogue-two")
    found = diarized(
        sdk,
        recording,
        known_speaker_names=["Anna"],
        known_speaker_references=sample("claire"),
    )
    assert [(s.speaker, s.text) for s in found.segments] == said_by(recording, {})


@pytest.mark.parametrize(("stem", "other"), [("notes", "claire"), ("voyage", "emma")])
def test_not_even_the_nearest_voice_is_taken_for_another(
    sdk: openai.OpenAI, stem: str, other: str
) -> None:
    """Claire and Emma are the two demo voices that the demo model tells apart least."""
    found = diarized(
        sdk, named(stem), known_speaker_names=[other], known_speaker_references=sample(other)
    )
    assert other not in {segment.speaker for segment in found.segments}
    assert found.text == named(stem).text


def test_a_sample_in_which_nobody_speaks_is_named(http: httpx.Client) -> None:
    """It is the caller's mistake, alone and beside a transcript: never speakers lost in silence."""
    recording = named("dialogue-two")
    known = {
        "known_speaker_names__": ["Nobody"],
        "known_speaker_references__": [audio.data_url(wav(silence(4)))],
    }
    data = recording.where.read_bytes()
    for path, asked in (
        (DIARIZATIONS, {"model": "pyannote"}),
        (TRANSCRIPTIONS, {"model": "canary", "response_format": "diarized_json"}),
    ):
        refused = send(http, path, data, **asked, **known)
        error = refused.json()["error"]
        assert (refused.status_code, error["param"]) == (400, "known_speaker_references")
        assert "'Nobody'" in error["message"]


# ---- bad luck -----------------------------------------------------------------------------------


def test_a_diarizer_killed_in_mid_file_costs_no_transcript(
    demo: GatewayProcess, http: httpx.Client, long: bytes
) -> None:
    """Asked for both, one gets the text with a warning; asked for turns alone, an error."""
    recording = named("dialogue-three")
    with ThreadPoolExecutor() as pool:
        both = pool.submit(
            send,
            http,
            TRANSCRIPTIONS,
            long,
            model="canary",
            language="en",
            response_format="diarized_json",
        )
        alone = pool.submit(send, http, DIARIZATIONS, long)
        eventually(lambda: worker_health(demo, "pyannote")["in_flight"] == 2, 60)
        victim = worker(demo, "pyannote")
        victim.kill()
        found, refused = both.result(200), alone.result(200)
    assert found.status_code == 200, found.text
    transcript = TranscriptionDiarized.model_validate(found.json(), strict=True)
    assert transcript.text == " ".join([recording.text] * 8)
    (warning,) = found.json()["warnings"]
    assert warning["code"] == "diarization_failed"
    assert found.headers["x-warnings"] == "diarization_failed"
    assert (refused.status_code, refused.json()["error"]["code"]) == (502, "engine_error")
    again = send(http, DIARIZATIONS, recording.where.read_bytes())
    assert len(again.json()["speakers"]) == 3
    assert worker(demo, "pyannote").pid != victim.pid
    eventually(lambda: at_rest(http), 20)


def test_a_recogniser_killed_in_mid_file_ends_the_stream_with_an_error(
    demo: GatewayProcess, sdk: openai.OpenAI, http: httpx.Client, long: bytes
) -> None:
    stream = sdk.audio.transcriptions.create(
        model="canary",
        file=("long.wav", long),
        language="en",
        response_format="diarized_json",
        stream=True,
    )

    def listen() -> None:
        for number, event in enumerate(stream):
            assert event.type == "transcript.text.delta"
            if number == 0:
                worker(demo, "canary").kill()

    with stream, pytest.raises(openai.APIError) as broken:
        listen()
    assert broken.value.code == "engine_error"
    eventually(lambda: at_rest(http), 20)
    assert transcribe(http, named("fox"), response_format="text") == named("fox").text + "\n"
