"""Coverage: an omission, a loop or an invention is noticed; ordinary speech is left in peace."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.app.workers.coverage import Account, loops, missing
from backend.app.workers.cutting import Interval, total
from backend.app.workers.protocol import SAMPLE_RATE, Span

PANGRAM = "The quick brown fox jumps over the lazy dog while the sun goes slowly down."


def at(*pairs: tuple[float, float]) -> list[Interval]:
    return [(round(a * SAMPLE_RATE), round(b * SAMPLE_RATE)) for a, b in pairs]


@pytest.mark.parametrize(
    "text",
    [
        "thank you " * 8,
        "no " * 14,
        "And then he said so. " * 4,
        "It began well enough but " + "I am going to the to the " * 6,
        "Well. " + "one two three four five six seven eight nine ten " * 4,
    ],
)
def test_a_stuck_model_is_noticed(text: str) -> None:
    assert loops(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        PANGRAM,
        "No, no, no, no!",
        "Ha ha ha ha ha ha, very funny indeed.",
        "Row, row, row your boat, gently down the stream. Merrily merrily merrily merrily.",
        "It was the best of times, it was the worst of times, it was the age of wisdom.",
        "Ja, ja, ja, das ist gut, ja, das ist sehr gut, ja.",
    ],
)
def test_what_people_repeat_is_no_loop(text: str) -> None:
    assert not loops(text)


def test_nothing_said_needs_no_text() -> None:
    assert missing([], "") == ()
    assert missing([], "an invention") == ()


@pytest.mark.parametrize("text", ["", "  ", "?", "... – !"])
def test_speech_without_a_word_is_missing(text: str) -> None:
    speech = at((1, 3), (4, 5))
    assert missing(speech, text) == tuple(speech)


@pytest.mark.parametrize("text", ["Ą?", "7", "Щ."])
def test_a_word_has_a_letter_or_a_digit(text: str) -> None:
    assert missing(at((1, 3)), text) == ()


def test_ordinary_speech_is_believed() -> None:
    assert missing(at((0, 5)), PANGRAM) == ()
    assert missing(at((0, 0.3)), "Yes of course.") == ()
    assert missing(at((0, 4)), "Mhm.") == ()


def test_too_many_words_are_an_invention() -> None:
    assert total(missing(at((0, 1)), PANGRAM)) == SAMPLE_RATE


def test_too_few_words_are_an_omission() -> None:
    assert missing(at((0, 30)), PANGRAM) == ()
    assert missing(at((0, 30)), "The quick brown fox") == tuple(at((0, 30)))


def test_an_omission_in_the_middle_is_found_by_where_words_lie() -> None:
    speech = at((0, 12), (13, 30))
    words = at(*((t, t + 0.4) for t in (0.1, 1.0, 2.0, 3.0, 4.0, 24.0, 25.5, 27.0, 28.5, 29.5)))
    # half a second beyond a word is still its own
    assert missing(speech, PANGRAM, words) == tuple(at((4.9, 12), (13, 23.5)))
    assert missing(speech, PANGRAM) == ()


def test_a_word_stretched_over_speech_hides_no_omission() -> None:
    words = at((0, 0.5), (0.6, 1.0), (1.2, 9.8), (9.9, 10.4), (10.5, 11))
    assert missing(at((0, 11)), "One two three four five", words) == tuple(at((2.2, 8.8)))
    slow = at((0, 0.5), (0.6, 1.0), (1.2, 6.0), (6.1, 6.5), (6.6, 7))
    assert missing(at((0, 7)), "One two three four five", slow) == ()


def test_a_pause_between_words_is_no_omission() -> None:
    words = at((0, 1), (5, 6))
    assert missing(at((0, 6)), "Well then", words) == ()


@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 10**6)), max_size=20),
    st.text(" ab", max_size=100),
    st.lists(st.integers(0, 10**6), max_size=20),
)
def test_what_is_missing_was_heard(
    pairs: list[tuple[int, int]], text: str, words: list[int]
) -> None:
    speech, end = [], 0
    for gap, length in pairs:
        speech.append((end + gap, end + gap + length))
        end = speech[-1][1]
    gaps = missing(speech, text, [(word, word + 4000) for word in words])
    assert total(gaps) <= total(speech)
    assert all(any(a <= start and end <= b for a, b in speech) for start, end in gaps)


def test_the_account_adds_up_and_joins_neighbours() -> None:
    account = Account()
    account.add(at((1, 4)), [])
    account.add(at((5, 40)), at((30, 40)))
    account.add(at((40, 42), (50, 51)), at((40, 42)))
    found = account.coverage()
    assert found.speech_seconds == 41
    assert found.decoded_seconds == 29
    assert found.gaps == (Span(start=30, end=42),)
