"""What is longer than a model's context, told by the code on which OpenAI's clients shorten it.

How vLLM says so depends on where it is found out: by the characters, by the tokens, once images
are counted, or because no token is left for an answer.
"""

from __future__ import annotations

import re

from backend.app.api.openai.engine_words import plain
from backend.app.api.openai.mistakes import document_of
from backend.app.errors import InvalidRequest

_TOO_LONG = re.compile(
    r"This model's maximum context length is |The \w+ prompt \(length \d+\) (?:is|plus) "
    r"|The engine prompt length \d+ exceeds |Input length \(\d+\) exceeds |You passed \d+ input "
)
"""Beginnings, since vLLM quotes its callers elsewhere."""
_NOTHING_LEFT = re.compile(r"max_tokens must be at least 1, got 0\b")
_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
_INPUTS = ("messages", "input", "prompt")


def find_too_long(message: str, body: bytes) -> InvalidRequest | None:
    """The error to raise instead of the engine's `message`, when `body` is too long for it."""
    filled = _NOTHING_LEFT.match(message)
    if not (filled or _TOO_LONG.match(message)):
        return None
    document = document_of(body) or {}
    if filled and any(document.get(name) == 0 for name in _LIMITS):
        return None  # that was asked for
    text = plain(message, None).text
    if filled:
        text = "The input fills the whole context of this model: no token is left for an answer."
    field = next((name for name in _INPUTS if name in document), None)
    return InvalidRequest(text, param=field, code="context_length_exceeded")
