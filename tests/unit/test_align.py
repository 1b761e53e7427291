"""Words and speaker turns, laid over each other."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from backend.app.audio.align import LONGEST_WORD_S, NEAREST_S, align, label, overlaps, reletter
from backend.app.audio.transcript import UNKNOWN_SPEAKER, Diarization, Segment, Turn, Word


def segment(*words: Word, text: str | None = None) -> Segment:
    said = text if text is not None else " ".join(word.text for word in words)
    return Segment(words[0].start, words[-1].end, said, "en", words)


def diarization(*turns: Turn, exclusive: tuple[Turn, ...] | None = None) -> Diarization:
    return Diarization(100.0, turns, turns if exclusive is None else exclusive)


DIALOGUE = segment(
    Word(0.0, 0.4, "Are"),
    Word(0.4, 0.8, "you"),
    Word(0.8, 1.2, "there?"),
    Word(1.5, 1.9, "Yes,"),
    Word(1.9, 2.3, "I"),
    Word(2.3, 2.7, "am."),
)


def test_segments_are_cut_where_the_speaker_changes() -> None:
    found = align([DIALOGUE], diarization(Turn(0, 1.3, "A"), Turn(1.4, 3, "B")))
    assert [(s.speaker, s.text, s.start, s.end) for s in found] == [
        ("A", "Are you there?", 0.0, 1.2),
        ("B", "Yes, I am.", 1.5, 2.7),
    ]
    assert [word.speaker for part in found for word in part.words] == ["A"] * 3 + ["B"] * 3
    assert all(word.speaker_confidence == 1.0 for part in found for word in part.words)


def test_one_speaker_leaves_a_segment_as_it_was() -> None:
    (found,) = align([DIALOGUE], diarization(Turn(0, 3, "A")))
    assert (found.text, found.start, found.end) == (DIALOGUE.text, DIALOGUE.start, DIALOGUE.end)


def test_most_of_the_word_decides() -> None:
    word = Word(1.0, 2.0, "well")
    (found,) = align([segment(word)], diarization(Turn(0, 1.4, "A"), Turn(1.4, 3, "B")))
    assert found.speaker == "B"
    assert found.words[0].speaker_confidence == 0.6


def test_shares_of_one_speaker_add_up() -> None:
    turns = (Turn(0, 0.4, "A"), Turn(0.4, 0.9, "B"), Turn(0.9, 1.2, "A"))
    (found,) = align([segment(Word(0.1, 1.2, "well"))], diarization(*turns))
    assert found.speaker == "A"


def test_a_word_beside_a_turn_belongs_to_it_within_a_bound() -> None:
    turn = diarization(Turn(0, 1.0, "A"))
    (near,) = align([segment(Word(1.5, 1.8, "so"))], turn)
    assert (near.speaker, near.words[0].speaker_confidence) == ("A", 0.0)
    (far,) = align([segment(Word(1.1 + NEAREST_S, 2.5, "so"))], turn)
    assert far.speaker == UNKNOWN_SPEAKER
    (nobody,) = align([segment(Word(0, 1, "so"))], diarization())
    assert nobody.speaker == UNKNOWN_SPEAKER


def test_the_nearer_neighbour_wins() -> None:
    turns = diarization(Turn(0, 1.0, "A"), Turn(2.0, 3.0, "B"))
    (found,) = align([segment(Word(1.6, 1.8, "so"))], turns)
    assert found.speaker == "B"


def test_crosstalk_is_flagged() -> None:
    found = align(
        [DIALOGUE],
        diarization(
            Turn(0, 1.3, "A"),
            Turn(0.9, 3, "B"),
            exclusive=(Turn(0, 1.3, "A"), Turn(1.3, 3, "B")),
        ),
    )
    assert [s.overlap for s in found] == [True, False]
    assert [word.overlap for word in found[0].words] == [False, False, True]


def test_the_same_voice_twice_is_no_crosstalk() -> None:
    assert overlaps([Turn(0, 2, "A"), Turn(1, 3, "A")]) == []
    assert overlaps([Turn(0, 2, "A"), Turn(1, 3, "B"), Turn(1.5, 4, "A")]) == [
        Turn(1, 3, UNKNOWN_SPEAKER)
    ]


def test_a_word_stretched_over_a_silence_ends_with_its_turn() -> None:
    stretched = Word(0.0, 0.5 + 2 * LONGEST_WORD_S, "well")
    (found,) = align([segment(stretched)], diarization(Turn(0, 0.5, "A"), Turn(9, 10, "A")))
    assert found.words[0].end == 0.5
    short = Word(0.0, 0.9, "well")
    (kept,) = align([segment(short)], diarization(Turn(0, 0.5, "A")))
    assert kept.words[0].end == 0.9


def test_text_keeps_what_words_do_not_say() -> None:
    words = (Word(0, 1, "yes"), Word(2, 3, "no"))
    found = align(
        [segment(*words, text="«yes» – no!")], diarization(Turn(0, 1, "A"), Turn(2, 3, "B"))
    )
    assert [part.text for part in found] == ["«yes» –", "no!"]


def test_text_that_does_not_match_its_words_stays_whole() -> None:
    words = (Word(0, 1, "ten"), Word(1, 1.5, "euros"), Word(2, 2.2, "no"))
    (found,) = align(
        [segment(*words, text="10 € no")], diarization(Turn(0, 1.6, "A"), Turn(2, 3, "B"))
    )
    assert (found.text, found.speaker) == ("10 € no", "A")
    assert len(found.words) == 3


def test_a_segment_without_words_has_one_speaker() -> None:
    plain = Segment(0.0, 4.0, "Bonjour.", "fr")
    (found,) = align([plain], diarization(Turn(0, 1, "A"), Turn(1, 4, "B")))
    assert (found.speaker, found.text, found.end) == ("B", "Bonjour.", 4.0)


def test_labels_follow_first_appearance() -> None:
    turns = [Turn(3, 4, "s1"), Turn(0, 1, "s7"), Turn(1, 3, "s1")]
    regular, exclusive = label(turns, turns[:2])
    assert [turn.speaker for turn in regular] == ["A", "B", "B"]
    assert [(turn.start, turn.speaker) for turn in exclusive] == [(0, "A"), (3, "B")]


def test_letters_follow_the_words_and_not_the_turns() -> None:
    """Whoever coughs first takes no letter from those who speak."""
    turns, _ = label(
        [Turn(0, 1, "cough"), Turn(2, 3, "x"), Turn(4, 5, "Zoe"), Turn(6, 7, "y")], [], ["Zoe"]
    )
    words = [Word(at, at + 1, "well") for at in (2.0, 4.0, 6.0, 9.0)]
    found = reletter(align([segment(*words)], diarization(*turns)), ["Zoe"])
    assert [part.speaker for part in found] == ["A", "Zoe", "B", UNKNOWN_SPEAKER]
    assert [part.words[0].speaker for part in found] == ["A", "Zoe", "B", UNKNOWN_SPEAKER]


def test_known_names_stay_and_letters_avoid_them() -> None:
    turns = [Turn(0, 1, "s1"), Turn(1, 2, "a"), Turn(2, 3, "s2")]
    regular, _ = label(turns, [], known=["a", "Zoe"])
    assert [turn.speaker for turn in regular] == ["B", "a", "C"]


def test_letters_go_on_after_z() -> None:
    turns = [Turn(n, n + 1, f"s{n}") for n in range(30)]
    regular, exclusive = label([], turns)
    assert [turn.speaker for turn in regular[24:29]] == ["Y", "Z", "AA", "AB", "AC"]
    assert regular == exclusive


TIME = st.integers(0, 2000).map(lambda value: value / 100)


@st.composite
def timelines(draw: st.DrawFn) -> tuple[list[Segment], Diarization]:
    """Words in order of their starts, turns anywhere."""
    starts = sorted(draw(st.lists(TIME, min_size=1, max_size=20)))
    words = [
        Word(start, start + draw(st.integers(0, 500)) / 100, f"w{number}")
        for number, start in enumerate(starts)
    ]
    cut = draw(st.integers(1, len(words)))
    segments = [segment(*part) for part in (words[:cut], words[cut:]) if part]
    turn = st.builds(
        lambda start, length, speaker: Turn(start, start + length / 100, speaker),
        TIME,
        st.integers(1, 600),
        st.sampled_from("ABC"),
    )
    turns = tuple(sorted(draw(st.lists(turn, max_size=12)), key=lambda t: t.start))
    exclusive = tuple(sorted(draw(st.lists(turn, max_size=12)), key=lambda t: t.start))
    return segments, Diarization(30.0, turns, exclusive)


@given(timelines())
def test_every_word_once_in_order_cut_only_at_changes(
    case: tuple[list[Segment], Diarization],
) -> None:
    segments, found = case
    parts = align(segments, found)
    before = [word.text for segment in segments for word in segment.words]
    assert [word.text for part in parts for word in part.words] == before
    assert " ".join(part.text for part in parts) == " ".join(s.text for s in segments)
    for part in parts:
        assert {word.speaker for word in part.words} == {part.speaker}
        assert part.overlap == any(word.overlap for word in part.words)
    firsts = {segment.words[0].text for segment in segments}
    for left, right in pairwise(parts):
        assert left.speaker != right.speaker or right.words[0].text in firsts
    originals = [word for segment in segments for word in segment.words]
    for old, new in zip(originals, (w for part in parts for w in part.words), strict=True):
        assert new.start == old.start
        assert old.start <= new.end <= old.end
        assert new.speaker_confidence is not None
        assert 0 <= new.speaker_confidence <= 1


@given(timelines())
def test_speakers_are_those_of_a_slower_search(
    case: tuple[list[Segment], Diarization],
) -> None:
    segments, found = case
    turns = found.exclusive or found.turns
    for part in align(segments, found):
        for word in part.words:
            original = next(w for segment in segments for w in segment.words if w.text == word.text)
            end = max(original.end, original.start + 0.001)
            heard: dict[str, float] = {}
            for turn in turns:
                shared = min(end, turn.end) - max(original.start, turn.start)
                if shared > 0:
                    heard[turn.speaker] = heard.get(turn.speaker, 0) + shared
            if heard:
                assert word.speaker is not None
                assert heard[word.speaker] >= max(heard.values()) - 1e-9
            else:
                gaps = [max(turn.start - end, original.start - turn.end) for turn in turns]
                near = bool(gaps) and min(gaps) <= NEAREST_S
                assert (word.speaker != UNKNOWN_SPEAKER) == near
