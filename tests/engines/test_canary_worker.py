"""The Canary worker with the real NeMo: it answers what NeMo does, placed and accounted for."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from itertools import pairwise
from pathlib import Path

import aiohttp
import numpy as np
import pytest

from backend.app.workers import protocol as p
from tools.demo_models.manifest import Manifest, Recording

from .conftest import Direct, RunningWorker, Task

pytestmark = pytest.mark.engine

FRAME_S = 0.08
"""The step in which NeMo tells times."""
DEADLINE_S = 240.0
PIECE = 65_536

DEMO_ALIGNER_S = 0.3
"""How far the tiny demo aligner may be off; the real one works in steps of 0.08 s."""


async def until_idle(session: aiohttp.ClientSession) -> None:
    while True:
        async with session.get("/health") as answer:
            found = p.decode_health(await answer.read())
        if (found.in_flight, found.queued) == (0, 0):
            return
        await asyncio.sleep(0.02)


class Client:
    """Speaks to the worker; `transcribe` sends a body of unknown length in pieces."""

    def __init__(self, socket: str) -> None:
        self._socket = socket

    def run(
        self, *works: Callable[[aiohttp.ClientSession], Awaitable[list[p.Message]]]
    ) -> list[list[p.Message]]:
        """All at a time, one answer for each."""

        async def main() -> list[list[p.Message]]:
            async with aiohttp.ClientSession(
                "http://worker",
                connector=aiohttp.UnixConnector(self._socket, limit=0),
                timeout=aiohttp.ClientTimeout(DEADLINE_S),
            ) as session:
                return list(await asyncio.gather(*(work(session) for work in works)))

        return asyncio.run(main())

    def transcribe(self, pcm: bytes, params: p.TranscribeParams) -> list[p.Message]:
        return self.run(asking(pcm, params))[0]


def asking(
    pcm: bytes, params: p.TranscribeParams
) -> Callable[[aiohttp.ClientSession], Awaitable[list[p.Message]]]:
    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(pcm), PIECE):
            yield pcm[at : at + PIECE]

    async def work(session: aiohttp.ClientSession) -> list[p.Message]:
        headers = {p.PARAMS_HEADER: p.encode_params(params)}
        async with session.post("/transcribe", data=pieces(), headers=headers) as answer:
            return list(p.Lines().feed(await answer.read()))

    return work


@pytest.fixture
def client(canary_worker: RunningWorker) -> Client:
    return Client(canary_worker.socket)


def params_of(task: Task) -> p.TranscribeParams:
    return p.TranscribeParams(source=task.recording.language, target=task.target, pnc=task.pnc)


def segments(messages: Sequence[p.Message]) -> list[p.Segment]:
    return [message for message in messages if isinstance(message, p.Segment)]


def text(messages: Sequence[p.Message]) -> str:
    return " ".join(segment.text for segment in segments(messages))


def done(messages: Sequence[p.Message]) -> p.Done:
    last = messages[-1]
    assert isinstance(last, p.Done), last
    return last


def times(segment_or_word: p.Segment | p.Word) -> tuple[float, float]:
    return segment_or_word.start, segment_or_word.end


def test_the_demo_model_says_what_the_manifest_promises(
    canary_tasks: list[Task], direct: dict[str, Direct]
) -> None:
    assert len(canary_tasks) >= 20
    for task in canary_tasks:
        if task.pnc:
            assert direct[task.name].text == task.wanted


def test_alone_it_equals_nemo_exactly(
    client: Client, canary_tasks: list[Task], direct: dict[str, Direct], pcm: dict[str, bytes]
) -> None:
    for task in canary_tasks:
        found = client.transcribe(pcm[task.recording.file], params_of(task))
        wanted = direct[task.name]
        assert text(found) == wanted.text
        assert [(s.text, *times(s)) for s in segments(found)] == wanted.segments
        words = [(w.word, *times(w)) for s in segments(found) for w in s.words]
        assert words == wanted.words
        assert {s.language for s in segments(found)} == {task.target}


def test_together_the_text_is_the_same_and_times_are_within_a_frame(
    client: Client, canary_tasks: list[Task], direct: dict[str, Direct], pcm: dict[str, bytes]
) -> None:
    works = [asking(pcm[task.recording.file], params_of(task)) for task in canary_tasks]
    answers = client.run(*works, *works)
    for task, found in zip([*canary_tasks, *canary_tasks], answers, strict=True):
        wanted = direct[task.name]
        assert text(found) == wanted.text
        words = [word for segment in segments(found) for word in segment.words]
        for word, (_, start, end) in zip(words, wanted.words, strict=True):
            assert times(word) == pytest.approx((start, end), abs=FRAME_S + 1e-6)


def test_without_times_the_text_is_the_same(
    client: Client, canary_tasks: list[Task], direct: dict[str, Direct], pcm: dict[str, bytes]
) -> None:
    task = canary_tasks[0]
    source = task.recording.language
    asked = p.TranscribeParams(source=source, target=task.target, timestamps=False, logprobs=True)
    found = client.transcribe(pcm[task.recording.file], asked)
    (segment,) = segments(found)
    assert segment.text == direct[task.name].text
    assert segment.words == ()
    assert "".join(token.token for token in segment.tokens).strip() == segment.text
    assert all(token.logprob <= 0 for token in segment.tokens)
    mean = sum(token.logprob for token in segment.tokens) / len(segment.tokens)
    assert segment.logprob == pytest.approx(mean)
    (spoken, *_), *_ = done(found).speech_spans, None
    assert segment.start == spoken.start


def several(manifest: Manifest) -> list[Recording]:
    return [found for found in manifest.speech.recordings if len(found.turns) > 1]


def test_several_sentences_come_in_order_at_their_places(
    client: Client, manifest: Manifest, pcm: dict[str, bytes]
) -> None:
    assert several(manifest)
    for recording in several(manifest):
        asked = p.TranscribeParams(source=recording.language, samples=len(pcm[recording.file]) // 2)
        messages = client.transcribe(pcm[recording.file], asked)
        assert text(messages) == recording.text
        found = segments(messages)
        for turn, segment, (start, end, _) in zip(
            recording.turns, found, recording.times, strict=True
        ):
            assert segment.text == turn.text
            assert segment.start == pytest.approx(start, abs=DEMO_ALIGNER_S)
            assert segment.end == pytest.approx(end, abs=DEMO_ALIGNER_S)
        assert all(a.end <= b.start for a, b in pairwise(found))
        last = done(messages)
        assert last.coverage is not None
        assert last.coverage.gaps == ()
        assert last.coverage.decoded_seconds == last.coverage.speech_seconds > 0
        progress = [message for message in messages if isinstance(message, p.Progress)]
        assert progress[-1].done == progress[-1].total == last.duration


def test_a_long_recording_keeps_its_places(
    client: Client, manifest: Manifest, pcm: dict[str, bytes]
) -> None:
    recording = several(manifest)[0]
    once = pcm[recording.file] + bytes(2 * p.SAMPLE_RATE)
    period = p.seconds(len(once) // 2)
    times_over = round(600 / period)
    messages = client.transcribe(once * times_over, p.TranscribeParams(source=recording.language))
    found = segments(messages)
    assert len(found) == times_over * len(recording.turns)
    for number, segment in enumerate(found):
        lap, turn = divmod(number, len(recording.turns))
        assert segment.text == recording.turns[turn].text
        first = found[turn]
        # a cut, and with it the step of 0.08 s, may fall elsewhere in the next lap
        assert segment.start - first.start == pytest.approx(lap * period, abs=DEMO_ALIGNER_S)
    assert done(messages).duration == pytest.approx(times_over * period)


@pytest.mark.parametrize("sound", ["silence", "hiss", "tone"])
def test_where_nobody_speaks_nothing_is_written(client: Client, sound: str) -> None:
    n = 5 * p.SAMPLE_RATE
    made = {
        "silence": np.zeros(n),
        "hiss": np.random.default_rng(0).standard_normal(n) * 300,
        "tone": np.sin(np.arange(n) * 2 * np.pi * 440 / p.SAMPLE_RATE) * 8000,
    }[sound]
    messages = client.transcribe(made.astype("<i2").tobytes(), p.TranscribeParams(source="en"))
    assert text(messages) == ""
    assert done(messages).speech_spans == ()
    assert done(messages).duration == 5


def test_the_language_is_found(client: Client, manifest: Manifest, pcm: dict[str, bytes]) -> None:
    singles = [found for found in manifest.speech.recordings if len(found.turns) == 1]
    for recording in singles:
        asked = p.TranscribeParams(candidates=("en", "fr", "de"))
        messages = client.transcribe(pcm[recording.file], asked)
        last = done(messages)
        assert last.language == recording.language
        assert last.language_margin is not None
        assert last.language_margin > 0
        assert text(messages) == recording.text


@pytest.mark.parametrize(
    "params",
    [
        p.TranscribeParams(),
        p.TranscribeParams(source="xx"),
        p.TranscribeParams(source="fr", target="de"),
        p.TranscribeParams(source="en", samples=1),
    ],
)
def test_what_it_cannot_do_is_refused_and_the_next_request_works(
    client: Client, params: p.TranscribeParams
) -> None:
    (failed,) = client.transcribe(bytes(64_000), params)
    assert isinstance(failed, p.Failed)
    assert failed.code in {"bad_request", "bad_audio"}
    assert done(client.transcribe(bytes(64_000), p.TranscribeParams(source="en"))).duration == 2


def test_a_probe_is_answered(client: Client) -> None:
    asked = p.TranscribeParams(source="en", probe=True)
    assert client.transcribe(bytes(32_000), asked) == [p.Done(duration=1)]


def test_a_clip_is_served_beside_an_endless_file_which_then_leaves_nothing_behind(
    client: Client, manifest: Manifest, canary_tasks: list[Task], pcm: dict[str, bytes]
) -> None:
    recording, task = several(manifest)[0], canary_tasks[0]
    clip = asking(pcm[task.recording.file], params_of(task))

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield pcm[recording.file]

    async def listen(session: aiohttp.ClientSession) -> list[p.Message]:
        headers = {p.PARAMS_HEADER: p.encode_params(p.TranscribeParams(source="en"))}
        async with session.post("/transcribe", data=endless(), headers=headers) as answer:
            await answer.content.readline()
            beside = await clip(session)
            assert answer.connection is not None
            assert answer.connection.transport is not None
            answer.connection.transport.abort()
        await until_idle(session)
        assert text(await clip(session)) == task.wanted
        return beside

    (beside,) = client.run(listen)
    assert text(beside) == task.wanted


def test_a_model_of_another_rate_hears_the_same_tone() -> None:
    import torch

    from backend.app.workers.canary_model import at_rate

    second = torch.sin(2 * torch.pi * 440 * torch.arange(p.SAMPLE_RATE) / p.SAMPLE_RATE)
    assert at_rate(second, p.SAMPLE_RATE) is second
    for rate in (8_000, 24_000):
        found = at_rate(second, rate)
        assert len(found) == rate
        assert int(torch.fft.rfft(found).abs().argmax()) == 440


def test_phases_are_told_while_loading(canary_worker: RunningWorker) -> None:
    lines = canary_worker.log.read_text().splitlines()
    phases = [line.split()[1] for line in lines if line.startswith("PHASE ")]
    assert list(dict.fromkeys(phases)) == ["starting", "weights", "warm-up", "ready"]


def test_a_model_that_is_not_there_ends_it_with_the_reason(tmp_path: Path) -> None:
    where = ["--model", str(tmp_path), "--uds", str(tmp_path / "s")]
    argv = [sys.executable, "-m", "backend.app.workers.canary", *where]
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("Loading failed:")
    assert "no .nemo file" in last
