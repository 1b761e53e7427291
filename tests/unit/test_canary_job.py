"""A recording's way through the worker, with a recogniser that reads words off the samples.

A word is half a second of one loudness, which is its number: so what must come out, and where, is
known for any recording.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby, pairwise
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.app.workers import canary_job
from backend.app.workers.batching import Batcher, Limits
from backend.app.workers.canary_job import Tools, check
from backend.app.workers.canary_model import Reading, Sentence, Utterance
from backend.app.workers.cutting import FRAME, Policy
from backend.app.workers.protocol import (
    SAMPLE_RATE,
    Done,
    Message,
    Progress,
    Segment,
    Span,
    Token,
    TranscribeParams,
    Word,
)
from backend.app.workers.shell import Refused
from backend.app.workers.vad import Silero
from tests.support.properties import cases

WORD = SAMPLE_RATE // 2 // FRAME * FRAME
ENGLISH = TranscribeParams(source="en")
PACKED = Policy()
SMALL = Policy(longest=5 * SAMPLE_RATE, pause=2 * SAMPLE_RATE, skip=3 * SAMPLE_RATE)


class Loud:
    """Takes whatever is not silent for speech."""

    def __call__(self, pcm: bytes, state: Any) -> tuple[list[float], list[float], Any]:
        samples = np.frombuffer(pcm, "<i2").astype(np.float32)
        frames = np.pad(samples, (0, -len(samples) % FRAME)).reshape(-1, FRAME)
        loudness = np.square(frames).mean(axis=1)
        return [float(x > 0) for x in loudness], loudness.tolist(), None


def read(timestamps: Hashable, utterance: Utterance) -> Reading:
    """One sentence for each run of words without silence between them."""
    samples = np.frombuffer(utterance.pcm, "<i2")
    words, at = [], 0
    for level, run in groupby(samples.tolist()):
        length = sum(1 for _ in run)
        if level:
            start, end = at / SAMPLE_RATE, (at + length) / SAMPLE_RATE
            words.append(Word(start=start, end=end, word=f"w{level}"))
        at += length
    tokens = tuple(Token(token=f" {word.word}", logprob=-0.25) for word in words)
    sentences = tuple(
        Sentence(word.word, word.start, word.end, (word,)) for word in words if timestamps
    )
    return Reading(" ".join(word.word for word in words), tokens, sentences)


Recogniser = Callable[[Hashable, Utterance], Reading]


def transcribe(
    pcm: bytes,
    params: TranscribeParams = ENGLISH,
    policy: Policy = PACKED,
    recogniser: Recogniser = read,
    piece: int = 65_536,
) -> list[Message]:
    async def body() -> AsyncIterator[bytes]:
        for at in range(0, len(pcm), piece):
            yield pcm[at : at + piece]

    def decode(key: Hashable, items: Sequence[Utterance]) -> list[Reading]:
        return [recogniser(key, item) for item in items]

    async def main() -> list[Message]:
        async with Batcher[Utterance, Reading](decode, Limits(4, 1e9, 0)) as batcher:
            tools = Tools(batcher, cast(Silero, Loud()), threads, policy, ("en", "fr", "de"))
            begin = canary_job.probe if params.probe else canary_job.transcribe
            messages = begin(params, tools, body())
            return [message async for message in messages]

    with ThreadPoolExecutor(1) as threads:
        return asyncio.run(asyncio.wait_for(main(), 60))


def recording(words: Sequence[tuple[int, int]], tail: int = 0) -> tuple[bytes, list[int]]:
    """`words` are (frames of silence before, loudness); the samples, and where each word starts."""
    parts, starts, at = [], [], 0
    for silence, level in words:
        at += silence * FRAME
        starts.append(at)
        parts += [np.zeros(silence * FRAME, "<i2"), np.full(WORD, level, "<i2")]
        at += WORD
    samples = np.concatenate([*parts, np.zeros(tail, "<i2")]) if parts else np.zeros(tail, "<i2")
    return samples.astype("<i2").tobytes(), starts


def segments(messages: Sequence[Message]) -> list[Segment]:
    return [message for message in messages if isinstance(message, Segment)]


def done(messages: Sequence[Message]) -> Done:
    last = messages[-1]
    assert isinstance(last, Done)
    return last


# pauses from one the detector just hears to one that is left out
WORDS = st.lists(
    st.tuples(st.integers(8, 30) | st.integers(8, 2000), st.integers(1, 99)), max_size=15
)


@cases(40, deep=2000)
@given(WORDS, st.integers(0, 90 * SAMPLE_RATE), st.sampled_from([PACKED, SMALL]), st.data())
def test_every_word_comes_once_in_order_at_its_exact_place(
    words: list[tuple[int, int]], tail: int, policy: Policy, data: st.DataObject
) -> None:
    pcm, starts = recording(words, tail)
    piece = data.draw(st.sampled_from([3_333, 65_536, 10**9]))
    messages = transcribe(pcm, policy=policy, piece=piece)
    found = [word for segment in segments(messages) for word in segment.words]
    assert [word.word for word in found] == [f"w{level}" for _, level in words]
    for word, start in zip(found, starts, strict=True):
        assert round(word.start * SAMPLE_RATE) == start
        assert round(word.end * SAMPLE_RATE) == start + WORD
    last = done(messages)
    assert last.duration == len(pcm) / 2 / SAMPLE_RATE
    assert last.coverage is not None
    assert last.coverage.gaps == ()
    assert last.coverage.decoded_seconds == last.coverage.speech_seconds
    assert last.coverage.speech_seconds == pytest.approx(
        sum(s.end - s.start for s in last.speech_spans)
    )
    progress = [message.done for message in messages if isinstance(message, Progress)]
    assert all(a < b for a, b in pairwise(progress))
    assert progress[-1:] in ([], [last.duration])


def test_silence_never_reaches_the_model() -> None:
    def never(key: Hashable, utterance: Utterance) -> Reading:
        raise AssertionError("decoded silence")

    for length in (0, 1, SAMPLE_RATE, 200 * SAMPLE_RATE):
        messages = transcribe(bytes(2 * length), recogniser=never)
        assert segments(messages) == []
        assert done(messages).duration == length / SAMPLE_RATE
        assert done(messages).speech_spans == ()


def test_a_probe_reaches_the_model_though_nobody_speaks() -> None:
    asked: list[tuple[Hashable, int]] = []

    def count(key: Hashable, utterance: Utterance) -> Reading:
        asked.append((key, len(utterance.pcm)))
        return Reading("an invention")

    params = TranscribeParams(source="en", probe=True)
    assert transcribe(bytes(32_001), params, recogniser=count) == [Done(duration=1.0)]
    assert asked == [(True, 32_000)]


def test_without_timestamps_a_chunk_is_one_segment_from_first_to_last_speech() -> None:
    pcm, starts = recording([(40, 5), (20, 6), (20, 7)])
    params = TranscribeParams(source="en", timestamps=False, logprobs=True)
    (segment,) = segments(transcribe(pcm, params))
    assert segment.text == "w5 w6 w7"
    assert segment.words == ()
    assert abs(segment.start * SAMPLE_RATE - starts[0]) <= 480
    assert abs(segment.end * SAMPLE_RATE - starts[2] - WORD) <= 480
    assert [token.token for token in segment.tokens] == [" w5", " w6", " w7"]
    assert segment.logprob == -0.25


def test_tokens_are_shared_out_by_sentence() -> None:
    pcm, _ = recording([(40, 5), (20, 6)])
    params = TranscribeParams(source="en", logprobs=True)
    found = segments(transcribe(pcm, params))
    assert [[token.token for token in segment.tokens] for segment in found] == [[" w5"], [" w6"]]
    assert all(segment.tokens == () for segment in segments(transcribe(pcm)))


class Forgetful:
    """Says nothing to anything longer than `longest_s`, or that holds the word `never`."""

    def __init__(self, longest_s: float, never: int = 0) -> None:
        self.longest = longest_s * SAMPLE_RATE
        self.never = never
        self.asked: list[float] = []

    def __call__(self, key: Hashable, utterance: Utterance) -> Reading:
        samples = np.frombuffer(utterance.pcm, "<i2")
        self.asked.append(len(samples) / SAMPLE_RATE)
        forgets = len(samples) > self.longest or self.never in samples[samples > 0]
        return Reading("") if forgets else read(key, utterance)


@pytest.mark.parametrize("silence", [20, 3000])
def test_what_is_not_believed_is_decoded_in_other_cuts(silence: int) -> None:
    pcm, starts = recording([(silence, 1), *((20, level) for level in range(2, 11))])
    found = segments(transcribe(pcm, recogniser=Forgetful(longest_s=6)))
    assert [segment.text for segment in found] == [f"w{level}" for level in range(1, 11)]
    assert [round(segment.start * SAMPLE_RATE) for segment in found] == starts


def test_a_gap_that_stays_is_reported_and_the_rest_is_kept() -> None:
    pcm, starts = recording([(20, level) for level in range(1, 21)])
    recogniser = Forgetful(longest_s=60, never=20)
    messages = transcribe(pcm, recogniser=recogniser)
    found = [segment.text for segment in segments(messages)]
    assert found == [f"w{level}" for level in range(1, len(found) + 1)]
    assert len(found) >= 14
    coverage = done(messages).coverage
    assert coverage is not None
    lost = coverage.speech_seconds - coverage.decoded_seconds
    assert 0 < lost == pytest.approx(sum(gap.end - gap.start for gap in coverage.gaps))
    assert coverage.gaps[-1].end * SAMPLE_RATE >= starts[-1]
    assert len(recogniser.asked) == 5  # the whole, its halves, the worse half's halves


def test_another_cut_that_is_no_better_is_not_taken() -> None:
    def only_whole(key: Hashable, utterance: Utterance) -> Reading:
        whole = len(utterance.pcm) > 12 * SAMPLE_RATE * 2
        return Reading("too little") if whole else Reading("")

    pcm, _ = recording([(20, 5)] * 20)
    messages = transcribe(pcm, recogniser=only_whole)
    assert [segment.text for segment in segments(messages)] == ["too little"]
    coverage = done(messages).coverage
    assert coverage is not None
    assert coverage.decoded_seconds == 0


def test_where_a_translations_words_lie_proves_nothing() -> None:
    asked = 0

    def bunched(key: Hashable, utterance: Utterance) -> Reading:
        nonlocal asked
        asked += 1
        words = tuple(Word(start=0, end=0.1, word=f"w{i}") for i in range(12))
        return Reading(
            text := " ".join(w.word for w in words), (), (Sentence(text, 0, 0.1, words),)
        )

    pcm, _ = recording([(0, 5)] * 20)
    transcribe(pcm, TranscribeParams(source="fr", target="en"), recogniser=bunched)
    assert asked == 1
    transcribe(pcm, ENGLISH, recogniser=bunched)
    assert asked > 2


def test_speech_that_never_pauses_is_all_decoded_in_chunks_that_fit() -> None:
    lengths: list[float] = []

    def talk(key: Hashable, utterance: Utterance) -> Reading:
        lengths.append(len(utterance.pcm) / 2 / SAMPLE_RATE)
        return Reading(" ".join(f"{i}" for i in range(round(2 * lengths[-1]))))

    pcm, _ = recording([(0, 5)] * 200)
    coverage = done(transcribe(pcm, recogniser=talk)).coverage
    assert sum(lengths) == len(pcm) / 2 / SAMPLE_RATE
    assert max(lengths) <= 40
    assert coverage is not None
    assert coverage.decoded_seconds == sum(lengths)


def test_half_a_sample_at_the_end_is_dropped() -> None:
    pcm, _ = recording([(40, 5)])
    assert segments(transcribe(pcm + b"\x07")) == segments(transcribe(pcm))


def test_a_failing_aligner_costs_the_times_not_the_text() -> None:
    def unaligned(key: Hashable, utterance: Utterance) -> Reading:
        if key:
            raise RuntimeError("text does not fit the audio")
        return read(key, utterance)

    pcm, _ = recording([(20, 1), (20, 2)])
    (segment,) = segments(transcribe(pcm, recogniser=unaligned))
    assert segment.text == "w1 w2"


def test_a_failing_model_fails_the_request() -> None:
    def broken(key: Hashable, utterance: Utterance) -> Reading:
        raise RuntimeError("broken")

    pcm, _ = recording([(20, 1)])
    with pytest.raises(RuntimeError, match="broken"):
        transcribe(pcm, recogniser=broken)


def likelier(best: str) -> Recogniser:
    def recognise(key: Hashable, utterance: Utterance) -> Reading:
        logprob = {best: -0.1, "de": -0.6}.get(utterance.source, -2.0)
        text = f"{utterance.source}>{utterance.target}"
        return Reading(text, (Token(token=text, logprob=logprob),))

    return recognise


def test_the_language_the_model_finds_likeliest_is_used_and_named() -> None:
    pcm, _ = recording([(40, 5), (2000, 6)])
    params = TranscribeParams(candidates=("en", "de", "fr"))
    messages = transcribe(pcm, params, recogniser=likelier("fr"))
    assert [(s.text, s.language) for s in segments(messages)] == [("fr>fr", "fr"), ("fr>fr", "fr")]
    assert done(messages).language == "fr"
    assert done(messages).language_margin == pytest.approx(0.5)


def test_one_candidate_costs_nothing() -> None:
    asked: list[str] = []

    def count(key: Hashable, utterance: Utterance) -> Reading:
        asked.append(utterance.source)
        return read(key, utterance)

    pcm, _ = recording([(40, 5)])
    last = done(transcribe(pcm, TranscribeParams(candidates=("fr",)), recogniser=count))
    assert asked == ["fr"]
    assert (last.language, last.language_margin) == ("fr", None)


def test_silence_has_no_language_unless_it_was_given() -> None:
    silent = bytes(2 * SAMPLE_RATE)
    assert done(transcribe(silent, TranscribeParams(candidates=("fr", "en")))).language is None
    assert done(transcribe(silent, TranscribeParams(source="fr"))).language == "fr"


def test_a_translation_asks_for_its_target() -> None:
    pcm, _ = recording([(40, 5)])
    params = TranscribeParams(candidates=("de", "fr"), target="en")
    (segment,) = segments(transcribe(pcm, params, recogniser=likelier("fr")))
    assert (segment.text, segment.language) == ("fr>en", "en")


@pytest.mark.parametrize("announced", [0, 15_999, 16_001])
def test_a_body_of_another_length_than_announced_is_refused(announced: int) -> None:
    params = TranscribeParams(source="en", samples=announced)
    with pytest.raises(Refused) as caught:
        transcribe(bytes(2 * SAMPLE_RATE), params)
    assert caught.value.failed.code == "bad_audio"


@pytest.mark.parametrize(
    ("params", "named"),
    [
        (TranscribeParams(), "candidates"),
        (TranscribeParams(source="xx"), "source"),
        (TranscribeParams(source="fr", target="de"), "English"),
        (TranscribeParams(candidates=("en", "fr"), target="de"), "English"),
        (TranscribeParams(source="it"), "only en, fr, de"),
        (TranscribeParams(source="en", target="it"), "only en, fr, de"),
    ],
)
def test_what_the_model_cannot_do_is_refused(params: TranscribeParams, named: str) -> None:
    with pytest.raises(Refused, match=named):
        check(params, ("en", "fr", "de"))


def test_reading_stops_while_the_model_is_behind() -> None:
    """However long the body, only a bounded part of it is taken in before results go out."""

    async def main() -> None:
        taken = 0
        pcm, _ = recording([(20, 5)] * 2 + [(200, 6)])

        async def endless() -> AsyncIterator[bytes]:
            nonlocal taken
            while True:
                taken += 1
                yield pcm

        def decode(key: Hashable, items: Sequence[Utterance]) -> list[Reading]:
            return [read(key, item) for item in items]

        async with Batcher[Utterance, Reading](decode, Limits(2, 1e9, 0)) as batcher:
            with ThreadPoolExecutor(1) as threads:
                tools = Tools(batcher, cast(Silero, Loud()), threads, SMALL, ("en",))
                messages = canary_job.transcribe(ENGLISH, tools, endless())
                await anext(messages)  # and then its reader stalls
                settled, rounds = -1, 0
                while rounds < 20:
                    rounds = rounds + 1 if settled == taken else 0
                    settled = taken
                    for _ in range(20):
                        await asyncio.sleep(0)
                    await asyncio.get_running_loop().run_in_executor(threads, lambda: None)
                    assert taken * len(pcm) / 2 <= 10 * SMALL.longest
                more = [await anext(messages) for _ in range(50)]
                assert len(segments(more)) > 10
                await messages.aclose()
                assert batcher.queued == 0
                assert batcher.share == 4  # its place is free again

    asyncio.run(asyncio.wait_for(main(), 60))


def test_spans_are_told_in_seconds() -> None:
    pcm, starts = recording([(40, 5)], tail=SAMPLE_RATE)
    (span,) = done(transcribe(pcm)).speech_spans
    start, end = starts[0] - 480, starts[0] + WORD + 480
    assert span == Span(start=start / SAMPLE_RATE, end=end / SAMPLE_RATE)
