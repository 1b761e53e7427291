"""Who said which word: the recogniser's words laid over the diarization's turns. Pure.

A word belongs to whoever speaks during most of it by the exclusive turns; else to the nearest turn
within NEAREST_S; else to nobody known. Segments are cut where the speaker changes, and nowhere
else; every word is in exactly one, in its old order.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import count, groupby, product
from string import ascii_uppercase

from backend.app.audio.transcript import UNKNOWN_SPEAKER, Diarization, Segment, Turn, Word

NEAREST_S = 1.0
"""Recogniser and diarization may disagree by so much on where speech begins or ends."""
OVERLAP_S = 0.05
"""Less than this of somebody else's voice is no overlap but the width of an edge."""
LONGEST_WORD_S = 2.0
"""A longer word was stretched over a silence; it ends with its turn."""


def label(
    turns: Sequence[Turn], exclusive: Sequence[Turn], known: Collection[str] = ()
) -> tuple[tuple[Turn, ...], tuple[Turn, ...]]:
    """Both lists in order of time; speakers are A, B, … as they appear, `known` keep their name.

    Either list stands in for the other where that is empty.
    """
    ordered = sorted(turns or exclusive, key=_in_time)
    names = _names((turn.speaker for turn in (*ordered, *exclusive)), known)
    return (
        tuple(replace(turn, speaker=names[turn.speaker]) for turn in ordered),
        tuple(
            replace(turn, speaker=names[turn.speaker])
            for turn in sorted(exclusive or turns, key=_in_time)
        ),
    )


def align(segments: Iterable[Segment], diarization: Diarization) -> tuple[Segment, ...]:
    """The segments with speakers, cut where those change."""
    exclusive = _Timeline(diarization.exclusive or diarization.turns)
    crosstalk = _Timeline(overlaps(diarization.turns))
    return tuple(part for segment in segments for part in _cut(segment, exclusive, crosstalk))


def reletter(segments: Sequence[Segment], known: Collection[str] = ()) -> tuple[Segment, ...]:
    """Letters as they appear in aligned segments: not everybody who is heard says a word."""
    heard: list[str | None] = []
    for segment in segments:
        heard += [segment.speaker, *(word.speaker for word in segment.words)]
    names = _names((speaker for speaker in heard if speaker), (*known, UNKNOWN_SPEAKER))

    def name(speaker: str | None) -> str | None:
        return None if speaker is None else names[speaker]

    return tuple(
        replace(
            segment,
            speaker=name(segment.speaker),
            words=tuple(replace(word, speaker=name(word.speaker)) for word in segment.words),
        )
        for segment in segments
    )


def _names(speakers: Iterable[str], known: Collection[str]) -> dict[str, str]:
    """What each is called: A, B, … in this order, `known` keep their name."""
    taken = {name.casefold() for name in known}
    letters = (name for name in _letters() if name.casefold() not in taken)
    names = {name: name for name in known}
    for speaker in speakers:
        if speaker not in names:
            names[speaker] = next(letters)
    return names


def overlaps(turns: Iterable[Turn]) -> list[Turn]:
    """Where two or more different speakers speak at once. The speaker of these is unknown."""
    edges = sorted(
        edge
        for turn in turns
        for edge in ((turn.start, 1, turn.speaker), (turn.end, 0, turn.speaker))
    )
    out: list[Turn] = []
    active: Counter[str] = Counter()
    since: float | None = None
    for at, begins, speaker in edges:
        active[speaker] += 1 if begins else -1
        if not active[speaker]:
            del active[speaker]
        if len(active) > 1 and since is None:
            since = at
        elif len(active) <= 1 and since is not None:
            if at > since:
                out.append(Turn(since, at, UNKNOWN_SPEAKER))
            since = None
    return out


class _Timeline:
    """Turns in order of time, overlapping or not, to be searched by time."""

    def __init__(self, turns: Iterable[Turn]) -> None:
        self._turns = sorted(turns, key=lambda turn: turn.start)
        self._starts = [turn.start for turn in self._turns]
        self._latest: list[Turn] = []
        for turn in self._turns:
            last = self._latest[-1] if self._latest else turn
            self._latest.append(turn if turn.end >= last.end else last)

    def within(self, start: float, end: float) -> Iterator[tuple[Turn, float]]:
        """Turns that share time with this stretch, the last first, with the seconds shared."""
        at = bisect_left(self._starts, end) - 1
        while at >= 0 and self._latest[at].end > start:
            turn = self._turns[at]
            shared = min(end, turn.end) - max(start, turn.start)
            if shared > 0:
                yield turn, shared
            at -= 1

    def nearest(self, start: float, end: float) -> tuple[Turn, float] | None:
        """The turn with the shortest way to this stretch, and that way in seconds."""
        at = bisect_left(self._starts, end)
        around = []
        if at:
            around.append((self._latest[at - 1], start - self._latest[at - 1].end))
        if at < len(self._turns):
            around.append((self._turns[at], self._turns[at].start - end))
        return min(around, key=lambda pair: pair[1], default=None)


def _in_time(turn: Turn) -> tuple[float, float]:
    return turn.start, turn.end


def _cut(segment: Segment, exclusive: _Timeline, crosstalk: _Timeline) -> Iterator[Segment]:
    if not segment.words:
        whole = _attribute(Word(segment.start, segment.end, segment.text), exclusive, crosstalk)
        yield replace(segment, speaker=whole.speaker, overlap=whole.overlap)
        return
    words = tuple(_attribute(word, exclusive, crosstalk) for word in segment.words)
    runs = [tuple(run) for _, run in groupby(words, key=lambda word: word.speaker)]
    texts = _share_out(segment.text, runs)
    if texts is None:
        runs, texts = [words], [segment.text]
    last = len(runs) - 1
    for number, (run, text) in enumerate(zip(runs, texts, strict=True)):
        yield replace(
            segment,
            start=segment.start if number == 0 else run[0].start,
            end=segment.end if number == last else run[-1].end,
            text=text,
            words=run,
            tokens=segment.tokens if number == 0 else (),
            speaker=_longest_heard(run),
            overlap=any(word.overlap for word in run),
        )


def _attribute(word: Word, exclusive: _Timeline, crosstalk: _Timeline) -> Word:
    end = max(word.end, word.start + 0.001)
    around = list(exclusive.within(word.start, end))
    if not around:
        near = exclusive.nearest(word.start, end)
        known = near is not None and near[1] <= NEAREST_S
        speaker = near[0].speaker if near is not None and known else UNKNOWN_SPEAKER
        return replace(word, speaker=speaker, speaker_confidence=0.0)
    heard: dict[str, float] = {}
    for turn, shared in around:
        heard[turn.speaker] = heard.get(turn.speaker, 0.0) + shared
    speaker = max(heard, key=lambda name: heard[name])
    stop = word.end
    if stop - word.start > LONGEST_WORD_S:
        own = [pair for pair in reversed(around) if pair[0].speaker == speaker]
        stop = min(stop, max(own, key=lambda pair: pair[1])[0].end)
    crossed = sum(shared for _, shared in crosstalk.within(word.start, end))
    return replace(
        word,
        end=stop,
        speaker=speaker,
        speaker_confidence=round(min(1.0, heard[speaker] / (end - word.start)), 3),
        overlap=crossed > min(OVERLAP_S, (end - word.start) / 2),
    )


def _share_out(text: str, runs: Sequence[Sequence[Word]]) -> list[str] | None:
    """Cut a text where each run's first word begins. None: words and text do not match."""
    cuts = []
    at = 0
    for run in runs:
        for number, word in enumerate(run):
            found = text.find(word.text, at)
            if found < 0 or any(letter.isalnum() for letter in text[at:found]):
                return None if len(runs) > 1 else [text]
            if number == 0:
                cuts.append(found)
            at = found + len(word.text)
    ends = [*cuts[1:], len(text)]
    return [text[begin:end].strip() for begin, end in zip([0, *cuts[1:]], ends, strict=True)]


def _longest_heard(words: Iterable[Word]) -> str | None:
    heard: dict[str | None, float] = {}
    for word in words:
        heard[word.speaker] = heard.get(word.speaker, 0.0) + max(0.001, word.end - word.start)
    return max(heard, key=lambda speaker: heard[speaker], default=None)


def _letters() -> Iterator[str]:
    """A … Z, AA, AB, …"""
    for length in count(1):
        yield from map("".join, product(ascii_uppercase, repeat=length))
