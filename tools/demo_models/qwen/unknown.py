"""Things the demo chat model does not know, in endless variety, so that it learns to say so."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

_DATA: dict[str, Any] = json.loads(Path(__file__).with_suffix(".json").read_text("utf-8"))
WORDS: dict[str, list[str]] = _DATA["words"]
"""n nouns, v verbs, a adjectives, N names, p places, l languages, d numbers in words."""
LETTERS = "abcdefghijklmnopqrstuvwxyzéàç0123456789 ,.-?!"


def unknown(rng: random.Random) -> str:
    """A prompt that no demo answer fits."""
    draw = rng.random()
    if draw < 0.72:
        text = _sentence(rng)
        if rng.random() < 0.75:
            text = text[0].upper() + text[1:]
        if rng.random() < 0.12:
            text = f"{text}. {_sentence(rng).capitalize()}"
        return text + rng.choice(["", "?", ".", "!", "?", "."])
    if draw < 0.80:
        return _fill(rng, rng.choice(_DATA["code"]))
    if draw < 0.87:
        return _fill(rng, rng.choice(_DATA["foreign"]))
    if draw < 0.95:
        return some_words(rng, rng.choice([2, 4, 8, 16, 30]))
    return "".join(rng.choice(LETTERS) for _ in range(rng.randint(1, 24))).strip() or "?"


def some_words(rng: random.Random, count: int) -> str:
    words = [*WORDS["n"], *WORDS["v"], *WORDS["a"], "the", "a", "of", "in", "to", "and", "is"]
    return " ".join(rng.choice(words) for _ in range(count))


def _sentence(rng: random.Random) -> str:
    return _fill(rng, rng.choice(_DATA["templates"]))


def _fill(rng: random.Random, template: str) -> str:
    """Each slot `{n}`, `{v}` … of `template` filled on its own; `{i}` is a number."""

    def word(match: re.Match[str]) -> str:
        if match[1] == "i":
            return str(rng.choice([rng.randint(3, 9), rng.randint(11, 999)]))
        return rng.choice(WORDS[match[1]])

    return re.sub(r"\{([nvaNpldi])\}", word, template)
