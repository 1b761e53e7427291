"""A recording's way through the worker, with a pipeline that reads speakers off the samples.

A speaker is a loudness, so that who speaks when is known for any recording; in each window this
pipeline numbers them anew, as a real one does.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.app.workers.protocol import (
    SAMPLE_RATE,
    DiarizeParams,
    Done,
    Message,
    Progress,
    Reference,
    Turn,
)
from backend.app.workers.pyannote_job import EXACTLY_ONE, Policy, Tools, check, diarize, probe
from backend.app.workers.pyannote_queue import ModelThread
from backend.app.workers.pyannote_types import Counts, Found, Hook, Spoken
from backend.app.workers.shell import Refused
from tests.support.properties import cases

UNIT = SAMPLE_RATE // 10
"""A syllable: what is said takes so many of these samples."""
PIECE = 1000
SMALL = Policy(longest=20 * UNIT, overlap=4 * UNIT, same=0.5)
DEADLINE_S = 20.0


def pcm(*said: tuple[int, int]) -> bytes:
    """(speaker, syllables), one after the other; 0 is silence."""
    return b"".join(np.full(n * UNIT, who, "<i2").tobytes() for who, n in said)


class Fake:
    """A pipeline for speakers 1 to 8."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, Counts]] = []

    def __call__(self, pcm: bytes, counts: Counts, hook: Hook) -> Found:
        samples = np.frombuffer(pcm, "<i2")
        self.calls.append((len(samples), counts))
        hook("segmentation", 0.5)
        turns, at = [], 0
        for who, run in groupby(samples.tolist()):
            length = sum(1 for _ in run)
            if who:
                turns.append((at / SAMPLE_RATE, (at + length) / SAMPLE_RATE, who))
            at += length
        # numbered from the loudest, so that the first of a window may have any number
        order = sorted({who for *_, who in turns}, reverse=True)
        names = {who: f"SPEAKER_{i:02d}" for i, who in enumerate(order)}
        hook("segmentation", 1.0)
        spoken = [Spoken(a, b, names[who]) for a, b, who in turns]
        vectors = {names[who]: np.eye(9)[who] + 0.01 * len(samples) / UNIT for who in order}
        return Found(spoken, spoken, vectors)

    def probe(self, pcm: bytes, hook: Hook) -> None:
        self(pcm, Counts(), hook)


async def pieces(body: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(body), PIECE - 1):  # an odd number: samples are torn apart
        yield body[at : at + PIECE - 1]


def run(
    body: bytes,
    params: DiarizeParams | None = None,
    fake: Fake | None = None,
    policy: Policy = SMALL,
) -> list[Message]:
    async def main() -> list[Message]:
        tools = Tools(fake or Fake(), ModelThread(), policy)
        found = diarize(params or DiarizeParams(), tools, pieces(body))
        return [message async for message in found]

    return asyncio.run(main())


def turns(messages: Sequence[Message], exclusive: bool = False) -> list[tuple[float, float, str]]:
    return [
        (round(m.start, 6), round(m.end, 6), m.speaker)
        for m in messages
        if isinstance(m, Turn) and m.exclusive is exclusive
    ]


def done(messages: Sequence[Message]) -> Done:
    last = messages[-1]
    assert isinstance(last, Done)
    return last


def truth(said: Sequence[tuple[int, int]]) -> Iterator[tuple[float, float, int]]:
    at = 0
    for who, run in groupby(said, key=lambda pair: pair[0]):
        length = sum(n for _, n in run)
        if who and length:
            yield round(at / 10, 6), round((at + length) / 10, 6), who
        at += length


# ---- one window ----------------------------------------------------------------------------


def test_what_fits_is_what_the_pipeline_says() -> None:
    fake = Fake()
    messages = run(pcm((1, 3), (0, 2), (2, 5)), DiarizeParams(num_speakers=2), fake)
    assert turns(messages) == [(0, 0.3, "SPEAKER_01"), (0.5, 1, "SPEAKER_00")]
    assert turns(messages, exclusive=True) == turns(messages)
    assert fake.calls == [(10 * UNIT, Counts(2, 2))]
    assert set(done(messages).embeddings) == {"SPEAKER_00", "SPEAKER_01"}
    assert done(messages).duration == 1
    timings = done(messages).timings
    assert timings is not None
    assert min(timings.model, timings.queue) >= 0


@pytest.mark.parametrize("body", [b"", b"\x01"])
def test_nothing_at_all_is_not_shown_to_the_model(body: bytes) -> None:
    fake = Fake()
    assert done(run(body, fake=fake)).duration == 0
    assert fake.calls == []


def test_silence_has_no_turns() -> None:
    messages = run(pcm((0, 10)))
    assert turns(messages) == []
    assert done(messages).embeddings == {}


def test_progress_is_in_seconds_of_the_recording_and_never_goes_back() -> None:
    messages = run(pcm((1, 60)))
    told = [message for message in messages if isinstance(message, Progress)]
    assert {step.total for step in told} == {6}
    places = [step.done for step in told]
    assert places == sorted(places)
    assert places[0] < 1
    assert places[-1] == 6
    assert len(set(places)) > 4


# ---- windows -----------------------------------------------------------------------------


@cases(60, deep=2000)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 25)), min_size=1, max_size=14))
def test_through_windows_it_is_the_same_diarization(said: list[tuple[int, int]]) -> None:
    fake = Fake()
    messages = run(pcm(*said), fake=fake)
    wanted = list(truth(said))
    found = turns(messages)
    assert [turn[:2] for turn in found] == [turn[:2] for turn in wanted]
    # one label for each speaker, and one speaker for each label
    pairs = {(label, who) for (*_, label), (*_, who) in zip(found, wanted, strict=True)}
    assert len(pairs) == len({who for _, who in pairs}) == len({label for label, _ in pairs})
    assert all(length <= SMALL.longest for length, _ in fake.calls)


def test_speakers_of_a_long_recording_are_numbered_as_they_appear() -> None:
    found = turns(run(pcm((3, 15), (1, 15), (2, 15), (3, 15))))
    assert [label for *_, label in found] == [f"SPEAKER_0{i}" for i in (0, 1, 2, 0)]


def test_a_number_is_demanded_of_all_windows_together() -> None:
    fake = Fake()
    params = DiarizeParams(num_speakers=2)
    run(pcm((1, 30), (2, 30)), params, fake)
    assert {counts for _, counts in fake.calls} == {Counts(most=2)}
    found = turns(run(pcm((1, 30), (2, 30), (3, 30)), params))
    assert len({label for *_, label in found}) == 2


def test_many_long_recordings_take_turns() -> None:
    fake = Fake()

    async def main() -> None:
        tools = Tools(fake, ModelThread(), SMALL)
        long, short = pcm((1, 100)), pcm((2, 5))

        async def one(body: bytes) -> int:
            messages = [m async for m in diarize(DiarizeParams(), tools, pieces(body))]
            assert isinstance(messages[-1], Done)
            return len(fake.calls)

        ended = await asyncio.gather(one(long), one(short))
        assert ended[1] < ended[0]

    asyncio.run(main())


# ---- known voices ------------------------------------------------------------------------


def known(*people: tuple[str, int]) -> tuple[tuple[Reference, ...], bytes]:
    references = tuple(Reference(name=name, samples=4 * UNIT) for name, _ in people)
    return references, b"".join(pcm((who, 4)) for _, who in people)


@pytest.mark.parametrize("syllables", [5, 40])
def test_known_voices_have_their_names_and_others_do_not(syllables: int) -> None:
    references, head = known(("Ben", 2), ("Anna", 1), ("Dora", 7))
    said = [(1, syllables), (2, syllables), (3, syllables)]
    fake = Fake()
    messages = run(head + pcm(*said), DiarizeParams(references=references), fake)
    assert [label for *_, label in turns(messages)][:2] == ["Anna", "Ben"]
    assert [turn[:2] for turn in turns(messages)] == [turn[:2] for turn in truth(said)]
    (stranger,) = {label for *_, label in turns(messages)} - {"Anna", "Ben"}
    assert stranger.startswith("SPEAKER_")
    assert set(done(messages).embeddings) == {"Anna", "Ben", stranger}
    assert done(messages).duration == pytest.approx(3 * syllables / 10)
    assert fake.calls[:3] == [(4 * UNIT, EXACTLY_ONE)] * 3


def test_a_name_that_looks_like_a_label_is_still_somebodys_own() -> None:
    references, head = known(("SPEAKER_00", 1))
    found = turns(run(head + pcm((1, 5), (2, 5)), DiarizeParams(references=references)))
    assert found[0][2] == "SPEAKER_00"
    assert found[1][2] != "SPEAKER_00"
    found = turns(run(head + pcm((2, 5), (3, 5)), DiarizeParams(references=references)))
    assert "SPEAKER_00" not in {label for *_, label in found}
    assert len({label for *_, label in found}) == 2


def test_a_silent_sample_is_refused_by_name() -> None:
    references, head = known(("Ben", 0))
    with pytest.raises(Refused, match="Ben") as refused:
        run(head + pcm((1, 5)), DiarizeParams(references=references))
    assert refused.value.failed.code == "bad_audio"


# ---- refusals and ends -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "field"),
    [
        (DiarizeParams(num_speakers=0), "num_speakers"),
        (DiarizeParams(num_speakers=-1), "num_speakers"),
        (DiarizeParams(min_speakers=0), "min_speakers"),
        (DiarizeParams(max_speakers=101), "max_speakers"),
        (DiarizeParams(min_speakers=3, max_speakers=2), "min_speakers"),
        (DiarizeParams(num_speakers=3, max_speakers=2), "num_speakers"),
        (DiarizeParams(num_speakers=1, min_speakers=2), "num_speakers"),
        (DiarizeParams(references=(Reference(name="x", samples=1),) * 2), "references"),
        (DiarizeParams(references=(Reference(name="x", samples=0),)), "The sample of 'x'"),
        (DiarizeParams(references=(Reference(name="x", samples=10**9),)), "The sample of 'x'"),
    ],
)
def test_what_makes_no_sense_never_reaches_the_pipeline(params: DiarizeParams, field: str) -> None:
    fake = Fake()
    with pytest.raises(Refused, match=f"^{field}") as refused:
        run(pcm((1, 5)), params, fake)
    assert refused.value.failed.code.startswith("bad_")
    assert fake.calls == []


@pytest.mark.parametrize(
    ("params", "wanted"),
    [
        (DiarizeParams(), Counts()),
        (DiarizeParams(num_speakers=3, min_speakers=2, max_speakers=4), Counts(3, 3)),
        (DiarizeParams(min_speakers=2), Counts(2, None)),
        (DiarizeParams(min_speakers=2, max_speakers=4), Counts(2, 4)),
    ],
)
def test_counts(params: DiarizeParams, wanted: Counts) -> None:
    assert check(params, 1) == wanted


@pytest.mark.parametrize("announced", [0, 5 * UNIT - 1, 5 * UNIT + 1, 10**9])
def test_another_length_than_announced_is_an_error(announced: int) -> None:
    references, head = known(("Ben", 1))
    params = DiarizeParams(samples=announced, references=references)
    with pytest.raises(Refused, match="announced") as refused:
        run(head + pcm((1, 5)), params)
    assert refused.value.failed.code == "bad_audio"


def test_the_announced_length_is_right() -> None:
    references, head = known(("Ben", 1))
    params = DiarizeParams(samples=5 * UNIT, references=references)
    assert done(run(head + pcm((1, 5)), params)).duration == 0.5


def test_a_probe_needs_no_speech() -> None:
    async def main() -> list[Message]:
        tools = Tools(Fake(), ModelThread(), SMALL)
        return [message async for message in probe(tools, pieces(bytes(2 * SAMPLE_RATE + 1)))]

    assert asyncio.run(main()) == [Done(duration=1)]


class Stubborn(Fake):
    """Waits for `go` between its reports."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()

    def __call__(self, pcm: bytes, counts: Counts, hook: Hook) -> Found:
        hook("segmentation", 0.0)
        assert self.go.wait(DEADLINE_S)
        return super().__call__(pcm, counts, hook)


def test_who_leaves_ends_the_work_and_the_next_is_served() -> None:
    fake = Stubborn()

    async def main() -> None:
        tools = Tools(fake, ModelThread(), SMALL)
        leaving: Any = diarize(DiarizeParams(), tools, pieces(pcm((1, 100))))
        assert isinstance(await asyncio.wait_for(leaving.__anext__(), DEADLINE_S), Progress)
        await asyncio.wait_for(leaving.aclose(), DEADLINE_S)
        fake.go.set()
        messages = [m async for m in diarize(DiarizeParams(), tools, pieces(pcm((1, 5))))]
        assert isinstance(messages[-1], Done)

    asyncio.run(main())
    assert [length for length, _ in fake.calls if length == 5 * UNIT] == [5 * UNIT]
    assert len(fake.calls) == 2  # the abandoned one ended at its first report after `go`
