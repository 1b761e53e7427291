"""Which piece of text is spoken in which encoder frame: what the aligner is trained to say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from tools.demo_models.speech import RATE, Samples

from .architecture import SUBSAMPLING
from .tokenizer import plain

FRAME_S = 0.01 * SUBSAMPLING

Split = Callable[[str], list[tuple[int, int]]]
"""Text to tokens, each with the letters it stands for; the blank before a word is one."""


@dataclass
class Sentence:
    """A spoken sentence, in several takes: as it was made, and after a lossy codec."""

    language: str
    text: str
    word_ends: list[float]
    """When each word is over, in seconds from the start of the sentence."""
    takes: list[Samples] = field(default_factory=list)
    translations: dict[str, str] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        return len(self.takes[0]) / RATE

    def written(self, pnc: bool) -> str:
        return self.text if pnc else plain(self.text)


def letter_times(sentence: Sentence, pnc: bool) -> list[float]:
    """When each letter and the blank before each word is said: evenly within a word."""
    times, start = list[float](), 0.0
    for word, end in zip(sentence.text.split(), sentence.word_ends, strict=True):
        letters = len(word if pnc else plain(word))
        if letters:
            times += [start, *np.linspace(start, end, letters, endpoint=False).tolist()]
        start = end
    return times


def frame_labels(
    heard: list[tuple[Sentence, float]], pnc: bool, split: Split, frames: int, blank: int
) -> list[int]:
    """The token spoken in each of `frames` encoder frames, `blank` where nobody speaks.

    `heard` are sentences, and when they start in seconds.
    """
    labels, free = [blank] * frames, 0
    for sentence, start in heard:
        times, letter = letter_times(sentence, pnc), 0
        tokens, begins = split(sentence.written(pnc)), list[int]()
        for _, letters in tokens:
            begins.append(max(free, int((start + times[letter]) / FRAME_S)))
            free = begins[-1] + 1
            letter += letters
        free = max(free, int((start + sentence.seconds) / FRAME_S) + 1)
        for (token, _), begin, end in zip(tokens, begins, [*begins[1:], free], strict=True):
            labels[begin:end] = [token] * (end - begin)
            if begin and labels[begin - 1] == token:
                labels[begin - 1] = blank  # CTC takes equal neighbours for one token
    return labels[:frames]
