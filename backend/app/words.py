"""A sentence in the two languages in which the command line speaks."""

from __future__ import annotations

from typing import Literal, NamedTuple

Language = Literal["en", "fr"]


class Words(NamedTuple):
    """The same, said twice. Beside each other, so that neither is forgotten."""

    en: str
    fr: str

    def said(self, language: Language) -> str:
        return self.fr if language == "fr" else self.en


def same(text: str) -> Words:
    """What needs no translation: a path, a version, another program's words."""
    return Words(text, text)
