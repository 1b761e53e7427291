"""Keeps secrets out of text that is logged or shown."""

from __future__ import annotations

import re
from collections.abc import Iterable

_TOKEN_SHAPES = re.compile(
    r"hf_[A-Za-z0-9]{4,}|\bsk-[A-Za-z0-9_-]{16,}"
    r"|(?P<scheme>\b(?i:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{8,}"
    r"|(?P<header>\b(?i:x-api-key)[\"']?\s*[:=]\s*[\"']?)[^\s\"',]+"
    r"|(?P<fragment>#key=)[^\s\"']+"
    r"|(?P<userinfo>://[^\s/:@]*:)[^\s/@]+(?=@)"
)
_MIN_SECRET = 4
"""A shorter secret would blank out half of every line."""


class Redactor:
    """Replaces secrets by `***`: what looks like one, and each that was made known to it."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: set[str] = set()
        self._known: re.Pattern[str] | None = None
        for secret in secrets:
            self.add(secret)

    def add(self, secret: str) -> None:
        """From now on `secret` is never logged (unless it is shorter than four characters)."""
        if len(secret) >= _MIN_SECRET:
            self._secrets.add(secret)
            longest_first = sorted(self._secrets, key=len, reverse=True)
            self._known = re.compile("|".join(map(re.escape, longest_first)))

    def __call__(self, text: str) -> str:
        if self._known is not None:
            text = self._known.sub("***", text)
        return _TOKEN_SHAPES.sub(lambda m: f"{m[m.lastgroup] if m.lastgroup else ''}***", text)
