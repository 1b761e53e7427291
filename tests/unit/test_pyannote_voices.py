"""Who is the same: one to one, open, and as many as were asked for."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.app.workers.pyannote_types import Vector
from backend.app.workers.pyannote_voices import Voice, distances, recognise, unite

SAME = 0.5


def vector(*values: float) -> Vector:
    return np.array(values, np.float64)


def at(degrees: float) -> Vector:
    angle = np.deg2rad(degrees)
    return vector(np.cos(angle), np.sin(angle))


def voice(window: int, degrees: float, seconds: float = 10) -> Voice:
    return Voice(window, at(degrees), seconds)


def groups(numbers: list[int]) -> set[frozenset[int]]:
    found: dict[int, set[int]] = {}
    for i, number in enumerate(numbers):
        found.setdefault(number, set()).add(i)
    return {frozenset(group) for group in found.values()}


def united(*voices: Voice, least: int = 1, most: int | None = None) -> set[frozenset[int]]:
    return groups(unite(voices, SAME, least, most))


def test_the_length_of_a_vector_tells_nothing() -> None:
    far = distances([vector(1, 0), vector(0, 5)], [vector(3, 0), vector(-1, 0)])
    np.testing.assert_allclose(far, [[0, 2], [1, 1]])


# ---- across windows ------------------------------------------------------------------------


def test_a_voice_goes_on_in_the_next_window() -> None:
    voices = [voice(0, 0), voice(0, 120), voice(1, 125), voice(1, 10), voice(2, 5)]
    assert united(*voices) == {frozenset({0, 3, 4}), frozenset({1, 2})}


def test_a_new_voice_is_a_new_speaker() -> None:
    assert united(voice(0, 0), voice(1, 90), voice(2, 1)) == {frozenset({0, 2}), frozenset({1})}


def test_two_of_one_window_are_two_however_near() -> None:
    assert united(voice(0, 0), voice(0, 1)) == {frozenset({0}), frozenset({1})}
    assert united(voice(0, 0), voice(0, 1), voice(1, 0)) == {frozenset({0, 2}), frozenset({1})}


def test_nobody_is_nobody() -> None:
    assert unite([], SAME, 2, 3) == []


def test_a_given_number_unites_what_is_far_apart() -> None:
    voices = [voice(0, 0), voice(0, 90), voice(1, 150), voice(1, 20)]
    assert len(united(*voices)) == 3
    assert united(*voices, least=2, most=2) == {frozenset({0, 3}), frozenset({1, 2})}


def test_a_given_number_keeps_near_voices_apart() -> None:
    voices = [voice(0, 0), voice(1, 10), voice(2, 40)]
    assert united(*voices) == {frozenset({0, 1, 2})}
    assert united(*voices, least=2) == {frozenset({0, 1}), frozenset({2})}
    assert len(united(*voices, least=9)) == 3


def test_a_deadlock_of_windows_is_dealt_out() -> None:
    """Three pairs that share windows crosswise: no two of them may be united."""
    a, b, c = (vector(*row) for row in np.eye(3))
    voices = [Voice(w, v, s) for w, v, s in [(0, a, 9), (1, a, 9), (0, b, 5), (2, b, 5)]]
    voices += [Voice(1, c, 1), Voice(2, c, 1)]
    assert len(united(*voices)) == 3
    found = unite(voices, SAME, 2, 2)
    assert len(set(found)) == 2
    assert found[0] == found[1] == found[5]
    assert found[2] == found[3] == found[4]


def test_who_has_no_vector_gets_a_place_of_its_own() -> None:
    nobody = Voice(1, None, 0.2)
    assert united(voice(0, 0), nobody, voice(1, 3)) == {frozenset({0, 2}), frozenset({1})}
    assert united(voice(0, 0), voice(0, 90), nobody, voice(1, 3), most=2) == {
        frozenset({0, 3}),
        frozenset({1, 2}),
    }


VOICES = st.lists(
    st.builds(
        Voice,
        st.integers(0, 4),
        st.one_of(st.none(), st.integers(0, 359).map(at)),
        st.floats(0, 100),
    ),
    max_size=12,
)


@given(VOICES, st.integers(1, 6), st.one_of(st.none(), st.integers(0, 5)))
def test_whatever_comes_windows_keep_their_speakers_apart(
    voices: list[Voice], least: int, more: int | None
) -> None:
    most = None if more is None else least + more
    found = unite(voices, SAME, least, most)
    assert len(found) == len(voices)
    assert set(found) == set(range(len(set(found))))
    crowd = Counter(v.window for v in voices)
    if most is not None:
        assert len(set(found)) <= most
    if most is None or all(size <= most for size in crowd.values()):
        pairs = Counter((v.window, who) for v, who in zip(voices, found, strict=True))
        assert all(number == 1 for number in pairs.values())
        heard = sum(v.vector is not None for v in voices)
        if most is None:
            assert len(set(found)) >= min(least, heard)


@given(st.permutations([voice(w, d + w) for w in range(3) for d in (0, 70, 180)]))
def test_the_order_of_voices_does_not_matter(voices: list[Voice]) -> None:
    found = unite(voices, SAME, 1, None)
    truth = [round(float(np.angle(complex(*v.vector)) % 6.28) / 1.2) for v in voices]  # type: ignore[misc]
    assert groups(found) == groups(truth)


# ---- known by name -----------------------------------------------------------------------------

KNOWN = {"Anna": at(0), "Ben": at(90)}


def test_known_voices_are_recognised_whatever_their_order() -> None:
    found = recognise({"x": at(95), "y": at(5)}, KNOWN, SAME)
    assert found == {"x": "Ben", "y": "Anna"}
    assert recognise({"y": at(5), "x": at(95)}, dict(reversed(KNOWN.items())), SAME) == found


def test_who_is_absent_is_given_to_nobody() -> None:
    assert recognise({"x": at(5)}, KNOWN, SAME) == {"x": "Anna"}


def test_an_impostor_stays_unknown() -> None:
    assert recognise({"x": at(200), "y": at(85)}, KNOWN, SAME) == {"y": "Ben"}
    assert recognise({"x": at(270)}, KNOWN, SAME) == {}


def test_a_name_is_given_once_and_to_the_nearer() -> None:
    assert recognise({"x": at(20), "y": at(1)}, {"Anna": at(0)}, SAME) == {"y": "Anna"}


def test_a_hopeless_pair_costs_no_good_one() -> None:
    """Taken together, x with Ben and y with Anna were cheapest; but x is Anna, y nobody."""
    voices = {"x": at(40), "y": at(-61)}
    known = {"Anna": at(0), "Ben": at(45 + 56)}
    assert recognise(voices, known, SAME) == {"x": "Anna"}


@pytest.mark.parametrize(("voices", "known"), [({}, KNOWN), ({"x": at(0)}, {})])
def test_nobody_to_compare(voices: dict[str, Vector], known: dict[str, Vector]) -> None:
    assert recognise(voices, known, SAME) == {}


@given(
    st.dictionaries(st.text(max_size=2), st.integers(0, 359).map(at), max_size=5),
    st.dictionaries(st.text(max_size=2), st.integers(0, 359).map(at), max_size=5),
    st.floats(0, 2),
)
def test_assignments_are_one_to_one_and_within_the_threshold(
    voices: dict[str, Vector], known: dict[str, Vector], same: float
) -> None:
    found = recognise(voices, known, same)
    assert len(set(found.values())) == len(found)
    for speaker, name in found.items():
        assert distances([voices[speaker]], [known[name]])[0, 0] <= same
