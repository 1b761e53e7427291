"""Windows cover a recording once, and what they found becomes one diarization again."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.app.workers.protocol import SAMPLE_RATE
from backend.app.workers.pyannote_types import Counts, Found, Spoken, Vector
from backend.app.workers.pyannote_windows import Window, plan, stitch, whole

S = SAMPLE_RATE
TWO = [Window(0, 12 * S, 0, 10 * S), Window(8 * S, 20 * S, 10 * S, 20 * S)]
ANNA, BEN, CARL = np.eye(3)


@given(st.integers(0, 10**9), st.integers(1, 10**7), st.floats(0, 0.9))
def test_windows_share_what_they_should_and_answer_for_all_of_it(
    samples: int, longest: int, share: float
) -> None:
    longest = max(longest, samples // 1000 + 2)
    overlap = int(longest * share)
    windows = plan(samples, longest, overlap)
    assert (windows[0].start, windows[-1].end) == (0, samples)
    assert (windows[0].own_start, windows[-1].own_end) == (0, samples)
    for window in windows:
        assert window.start <= window.own_start <= window.own_end <= window.end
        assert window.end - window.start <= longest
    for a, b in pairwise(windows):
        assert a.own_end == b.own_start
        assert a.end - b.start == overlap
    sizes = {window.end - window.start for window in windows}
    assert max(sizes) - min(sizes) <= 1


def test_what_fits_is_one_window() -> None:
    assert plan(900, 900, 60) == [Window(0, 900, 0, 900)]
    assert len(plan(901, 900, 60)) == 2
    assert plan(5, 900, 60) == [Window(0, 5, 0, 5)]


def test_turns_count_in_their_own_part_and_are_joined_at_the_seam() -> None:
    first = [Spoken(1, 3, "a"), Spoken(9, 11.5, "a"), Spoken(10.5, 12, "b")]
    second = [Spoken(8.1, 11.4, "a"), Spoken(9.8, 12, "b"), Spoken(15, 16, "a")]
    assert stitch(TWO, [first, second]) == [
        Spoken(1, 3, "a"),
        Spoken(9, 11.4, "a"),
        Spoken(10, 12, "b"),
        Spoken(15, 16, "a"),
    ]


def test_a_turn_may_last_through_many_windows() -> None:
    windows = plan(100 * S, 12 * S, 4 * S)
    assert len(windows) > 5
    parts = [[Spoken(max(1, w.start / S), min(99, w.end / S), "a")] for w in windows]
    assert stitch(windows, parts) == [Spoken(1, 99, "a")]


def test_what_ends_at_the_seam_has_an_end() -> None:
    assert stitch(TWO, [[Spoken(9, 11, "a")], []]) == [Spoken(9, 10, "a")]
    assert stitch(TWO, [[], [Spoken(9, 11, "a")]]) == [Spoken(10, 11, "a")]


@given(
    st.lists(
        st.tuples(st.integers(0, 400), st.integers(1, 60), st.sampled_from("abc")), max_size=20
    ),
    st.integers(8, 80),
)
def test_what_all_windows_agree_on_is_what_comes(
    drawn: list[tuple[int, int, str]], longest: int
) -> None:
    """Any timeline, seen through windows, is the same timeline."""
    last = dict.fromkeys("abc", -1)
    truth = []
    for start, length, who in sorted(drawn):
        if start > last[who]:
            last[who] = start + length
            truth.append(Spoken(start / 4, (start + length) / 4, who))
    windows = plan(120 * S, longest * S, longest * S // 4)
    parts = []
    for window in windows:
        a, b = window.start / S, window.end / S
        seen = [Spoken(max(a, t.start), min(b, t.end), t.speaker) for t in truth]
        parts.append([turn for turn in seen if turn.end > turn.start])
    found = stitch(windows, parts)
    assert [t.speaker for t in found] == [t.speaker for t in truth]
    times, wanted = ([edge for t in turns for edge in t[:2]] for turns in (found, truth))
    assert times == pytest.approx(wanted, abs=1e-4)


def found(*turns: Spoken, **vectors: Vector) -> Found:
    return Found(turns, turns, vectors)


def test_speakers_keep_their_name_from_window_to_window() -> None:
    first = found(Spoken(1, 4, "x"), Spoken(5, 7, "y"), x=ANNA * 3, y=BEN)
    second = found(
        Spoken(11, 12, "y"), Spoken(13, 14, "x"), Spoken(15, 16, "z"), y=ANNA, x=CARL, z=BEN
    )
    answer = whole(TWO, [first, second], Counts(), 0.5)
    assert [turn.speaker[-1] for turn in answer.turns] == ["0", "1", "0", "2", "1"]
    assert answer.exclusive == answer.turns
    assert list(answer.vectors) == ["SPEAKER_00", "SPEAKER_01", "SPEAKER_02"]
    np.testing.assert_allclose(answer.vectors["SPEAKER_00"], ANNA * 2.5)


def test_who_is_heard_in_the_overlap_only_by_one_window_is_nobody() -> None:
    first = found(Spoken(1, 4, "x"), Spoken(11, 12, "y"), x=ANNA, y=BEN)
    answer = whole(TWO, [first, found(Spoken(13, 14, "x"), x=ANNA)], Counts(), 0.5)
    assert {turn.speaker for turn in answer.turns} == set(answer.vectors) == {"SPEAKER_00"}


def test_the_number_of_speakers_holds_for_all_windows_together() -> None:
    first = found(Spoken(1, 4, "x"), Spoken(5, 7, "y"), x=ANNA, y=BEN)
    second = found(Spoken(11, 14, "x"), Spoken(15, 17, "y"), x=BEN, y=ANNA + CARL * 2)
    assert len(whole(TWO, [first, second], Counts(), 0.5).seconds()) == 3
    answer = whole(TWO, [first, second], Counts(2, 2), 0.5)
    assert [turn.speaker[-1] for turn in answer.turns] == ["0", "1", "1", "0"]


def test_nobody_speaks() -> None:
    assert whole(TWO, [found(), found()], Counts(2, 2), 0.5) == Found([], [], {})
    assert whole([], [], Counts(), 0.5) == Found([], [], {})
