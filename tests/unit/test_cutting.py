"""Cutting: chunks tile any recording, none is too long, speech is cut only where it must be."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.app.workers.cutting import (
    FRAME,
    Chunk,
    Cutter,
    Interval,
    Policy,
    clip,
    quietest,
    recut,
    subtract,
    total,
)
from backend.app.workers.protocol import SAMPLE_RATE

SECOND = SAMPLE_RATE
WINDOW = 40 * SECOND
PACKED = Policy()
AT_PAUSES = Policy(pause=SECOND * 4 // 10, skip=SECOND, margin=SECOND // 5, whole=False)
POLICIES = st.sampled_from([PACKED, AT_PAUSES, Policy(longest=5 * SECOND)])


@st.composite
def recordings(
    draw: st.DrawFn, longest_speech_s: float = 120.0
) -> tuple[list[Interval], list[float], int]:
    """Speech, loudness of each frame, and length."""
    silence = st.integers(1, 3 * SECOND) | st.integers(1, 100 * SECOND)
    speech = st.integers(1, int(longest_speech_s * SECOND))
    at, spans = draw(st.integers(0, 60 * SECOND)), []
    for length, pause in draw(st.lists(st.tuples(speech, silence), max_size=12)):
        spans.append((at, at + length))
        at += length + pause
    end = spans[-1][1] if spans else 0
    length = draw(st.integers(end, end + 90 * SECOND))
    frames = length // FRAME + 1
    seed = draw(st.integers(0, 2**32 - 1))
    loudness = [((i + seed) * 2654435761 % 2**32) / 2**32 for i in range(frames)]
    return spans, loudness, length


def cut(spans: list[Interval], loudness: list[float], length: int, policy: Policy) -> list[Chunk]:
    cutter = Cutter(policy)
    cutter.push([], 0, loudness=loudness)
    return cutter.finish(spans, length)


@given(recordings(), POLICIES)
def test_chunks_tile_the_recording(
    recording: tuple[list[Interval], list[float], int], policy: Policy
) -> None:
    spans, loudness, length = recording
    chunks = cut(spans, loudness, length, policy)
    edges = [0, *(chunk.end for chunk in chunks)]
    assert [chunk.start for chunk in chunks] == edges[:-1]
    assert edges[-1] == length
    assert all(0 < chunk.length <= policy.longest for chunk in chunks)
    assert sum(chunk.speech_length for chunk in chunks) == total(spans)
    for chunk in chunks:
        assert chunk.speech == clip(spans, chunk.start, chunk.end)


@given(recordings(longest_speech_s=19.0), st.sampled_from([PACKED, AT_PAUSES]))
def test_speech_with_pauses_is_never_cut_in_two(
    recording: tuple[list[Interval], list[float], int], policy: Policy
) -> None:
    spans, loudness, length = recording
    for before, after in pairwise(cut(spans, loudness, length, policy)):
        assert before.end == after.start
        assert not any(start < after.start < end for start, end in spans)


@given(recordings(), POLICIES, st.data())
def test_the_size_of_the_pieces_does_not_matter(
    recording: tuple[list[Interval], list[float], int], policy: Policy, data: st.DataObject
) -> None:
    spans, loudness, length = recording
    cutter = Cutter(policy)
    chunks, known, frames = [], 0, 0
    waiting = list(spans)
    while known < length and data.draw(st.booleans()):
        known = data.draw(st.integers(known, length))
        ended = [span for span in waiting if span[1] <= known]
        waiting = waiting[len(ended) :]
        begun = waiting[0][0] if waiting and waiting[0][0] < known else None
        # loudness is there for all that is known, and often for more
        more = data.draw(st.integers(known // FRAME + 1, max(known // FRAME + 1, len(loudness))))
        chunks += cutter.push(ended, known, begun, loudness[frames:more])
        frames = max(frames, more)
    cutter.push([], known, loudness=loudness[frames:])
    chunks += cutter.finish(waiting, length)
    assert chunks == cut(spans, loudness, length, policy)


@given(recordings(longest_speech_s=9.0))
def test_a_recording_that_fits_is_one_chunk(
    recording: tuple[list[Interval], list[float], int],
) -> None:
    spans, loudness, _ = recording
    length = WINDOW
    chunks = cut(list(clip(spans, 0, length)), loudness, length, PACKED)
    if clip(spans, 0, length):
        assert [(chunk.start, chunk.end) for chunk in chunks] == [(0, length)]
    else:
        assert all(not chunk.speech for chunk in chunks)


@given(recordings())
def test_long_silence_reaches_no_model(
    recording: tuple[list[Interval], list[float], int],
) -> None:
    spans, loudness, length = recording
    for chunk in cut(spans, loudness, length, AT_PAUSES):
        if chunk.speech:
            edges = [chunk.start, *(edge for span in chunk.speech for edge in span), chunk.end]
            silences = [b - a for a, b in zip(edges[::2], edges[1::2], strict=True)]
            assert max(silences[1:-1], default=0) < AT_PAUSES.pause
            assert silences[0] < AT_PAUSES.skip - AT_PAUSES.margin
            assert silences[-1] < AT_PAUSES.skip


def test_a_little_silence_at_the_ends_is_no_reason_to_cut() -> None:
    end = 6 * SECOND // 10
    spans = [(end, 3 * SECOND)]
    (chunk,) = cut(spans, [], 3 * SECOND + end, AT_PAUSES)
    assert (chunk.start, chunk.end) == (0, 3 * SECOND + end)


def test_a_recording_of_exactly_one_window_waits_for_its_end() -> None:
    cutter = Cutter(PACKED)
    assert cutter.push([(0, SECOND)], WINDOW) == []
    assert [chunk.end for chunk in cutter.finish([], WINDOW)] == [WINDOW]


@pytest.mark.parametrize("start", [WINDOW, WINDOW + 1, 3 * WINDOW, 3 * WINDOW + SECOND])
def test_speech_after_long_silence_keeps_a_lead_in(start: int) -> None:
    chunks = cut([(start, start + SECOND)], [], 9 * WINDOW, PACKED)
    (spoken,) = (chunk for chunk in chunks if chunk.speech)
    assert spoken.start <= start - PACKED.margin


def test_no_speech_at_all_is_no_chunk_with_speech() -> None:
    chunks = cut([], [], 3 * 3600 * SECOND, PACKED)
    assert chunks[-1].end == 3 * 3600 * SECOND
    assert not any(chunk.speech for chunk in chunks)


def test_an_empty_recording_has_no_chunks() -> None:
    assert cut([], [], 0, PACKED) == []


def test_the_widest_late_pause_is_chosen() -> None:
    pauses = [(10, 13), (25, 27), (36, 36.5)]
    spans, at = [], 0.0
    for start, end in pauses:
        spans.append((int(at * SECOND), int(start * SECOND)))
        at = end
    spans.append((int(at * SECOND), 60 * SECOND))
    first = cut(spans, [], 60 * SECOND, PACKED)[0]
    assert first.end == 26 * SECOND


def test_unbroken_speech_is_cut_where_it_is_quietest() -> None:
    loudness = [1.0] * (100 * SECOND // FRAME)
    for quiet in (1102, 2202):
        loudness[quiet - 2 : quiet + 3] = [0.1] * 5
    chunks = cut([(0, 100 * SECOND)], loudness, 100 * SECOND, PACKED)
    assert [chunk.end for chunk in chunks[:2]] == [q * FRAME + FRAME // 2 for q in (1102, 2202)]


@given(
    st.lists(st.floats(0, 1), max_size=200), st.integers(0, 10**5), st.integers(1, 10**5),
    st.integers(0, 50),
)  # fmt: skip
def test_the_quietest_place_lies_inside(
    loudness: list[float], start: int, width: int, first_frame: int
) -> None:
    assert start <= quietest(loudness, start, start + width, first_frame) <= start + width


@given(recordings(), POLICIES)
def test_another_cut_keeps_the_speech(
    recording: tuple[list[Interval], list[float], int], policy: Policy
) -> None:
    spans, loudness, length = recording
    for chunk in cut(spans, loudness, length, policy):
        parts = recut(chunk, loudness)
        for part in parts:
            assert chunk.start <= part.start < part.end <= chunk.end
            assert part.length < chunk.length
        if parts:
            assert sum(part.speech_length for part in parts) == chunk.speech_length
        for before, after in pairwise(parts):
            assert before.end == after.start


def test_short_speech_is_freed_from_silence_and_then_let_be() -> None:
    chunk = Chunk(0, 20 * SECOND, ((8 * SECOND, 9 * SECOND),))
    (part,) = recut(chunk, [])
    assert (part.start, part.end) == (8 * SECOND - SECOND // 5, 9 * SECOND + SECOND // 5)
    assert recut(part, []) == []
    assert recut(Chunk(0, SECOND), []) == []


def test_long_speech_is_divided_in_its_pause() -> None:
    chunk = Chunk(0, 30 * SECOND, ((0, 12 * SECOND), (14 * SECOND, 30 * SECOND)))
    first, second = recut(chunk, [])
    assert first.end == second.start == 13 * SECOND


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)).map(lambda p: (p[0], p[0] + p[1]))),
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)).map(lambda p: (p[0], p[0] + p[1]))),
)
def test_subtract_is_set_difference(spans: list[Interval], holes: list[Interval]) -> None:
    left = {x for a, b in subtract(spans, holes) for x in range(a, b)}
    wanted = {x for a, b in spans for x in range(a, b)}
    assert left == wanted - {x for a, b in holes for x in range(a, b)}


def test_a_policy_that_cannot_work_is_refused() -> None:
    with pytest.raises(ValueError, match="pause"):
        Policy(pause=SECOND, margin=SECOND)
    with pytest.raises(ValueError, match="skipped"):
        Policy(pause=2 * SECOND, skip=2 * SECOND, margin=SECOND)
    with pytest.raises(ValueError, match="longest"):
        Policy(longest=SECOND)
