"""Was what is heard also written down? Pure; intervals are in samples.

An autoregressive model fails quietly: it stops early, loops, or says nothing. Each result is held
against the speech that was detected; what is not believed is decoded again, cut differently, and
what is not believed then either is reported as a gap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from .cutting import Interval, subtract, total
from .protocol import SAMPLE_RATE, Coverage, seconds, spans

MAX_WORDS_PER_S = 7.0
MIN_WORDS_PER_S = 0.3
"""Agglutinative languages at a slow pace stay above one word in three seconds."""
RATE_FROM = 5 * SAMPLE_RATE
"""Shorter speech is too little to judge slowness by."""
GRACE_WORDS = 6
"""So many words more than the rate allows are believed: short clips, rounded spans."""
UNWRITTEN = 4 * SAMPLE_RATE
"""Speech this long (ten words at an ordinary pace) with no word near it was omitted."""
REACH = SAMPLE_RATE // 2
"""How far from its aligned place a word still accounts for speech."""
LONGEST_WORD = 2 * SAMPLE_RATE
"""A longer one was stretched by the aligner over speech that is not in the text: it accounts for
half of this at either end."""
WORTH_RETRYING = SAMPLE_RATE // 2
"""Less missing speech than this (a cough, a click) is reported but not decoded again."""


def loops(text: str) -> bool:
    """True when a phrase of one to ten words comes again and again: the model is stuck."""
    words = text.lower().split()
    for size in range(1, 11):
        run = 0
        for i in range(size, len(words)):
            run = run + 1 if words[i] == words[i - size] else 0
            # the phrase stands there four times, and at least a dozen words are spent on it
            if run >= max(3 * size, 12 - size):
                return True
    return False


def missing(
    speech: Sequence[Interval], text: str, words: Sequence[Interval] | None = None
) -> tuple[Interval, ...]:
    """The speech for which `text` is no believable account; () when all is well. A word has a
    letter or a digit.

    `words`: where they were aligned, if they were, and only if they are the words spoken: the
    alignment of a translation proves nothing.
    """
    heard = total(speech)
    count = sum(any(map(str.isalnum, word)) for word in text.split())
    if not heard:
        return ()
    too_many = count > MAX_WORDS_PER_S * seconds(heard) + GRACE_WORDS
    too_few = heard >= RATE_FROM and count < MIN_WORDS_PER_S * seconds(heard)
    if not count or too_many or too_few or loops(text):
        return tuple(speech)
    if words is None:
        return ()
    unwritten = subtract(speech, [part for word in words for part in _accounted(*word)])
    return tuple(span for span in unwritten if span[1] - span[0] >= UNWRITTEN)


def _accounted(start: int, end: int) -> list[Interval]:
    """The stretches for which an aligned word stands."""
    if end - start <= LONGEST_WORD:
        return [(start - REACH, end + REACH)]
    half = LONGEST_WORD // 2
    return [(start - REACH, start + half), (end - half, end + REACH)]


@dataclass
class Account:
    """Adds up one recording, chunk by chunk in order."""

    heard: int = 0
    gaps: list[Interval] = field(default_factory=list)

    def add(self, speech: Sequence[Interval], gaps: Sequence[Interval]) -> None:
        self.heard += total(speech)
        for start, end in gaps:
            if self.gaps and self.gaps[-1][1] == start:
                self.gaps[-1] = (self.gaps[-1][0], end)
            else:
                self.gaps.append((start, end))

    def coverage(self) -> Coverage:
        return Coverage(
            speech_seconds=seconds(self.heard),
            decoded_seconds=seconds(self.heard - total(self.gaps)),
            gaps=spans(self.gaps),
        )
