"""What was asked and what was answered, as text for the request history: only with KEEP_CONTENT."""

from __future__ import annotations

import re
from typing import Any

import msgspec

MOST_BYTES = 1 << 20
"""Of a request and of an answer; what is beyond is not looked at."""

_BASE64 = re.compile(rb"(;base64,)[A-Za-z0-9+/=_-]{16,}")
_DATA = re.compile(rb"^data: ?(\{.*\})\r?$", re.MULTILINE)


def prompt_of(body: bytes) -> str:
    """The body as it came, without inline pictures and recordings."""
    return _BASE64.sub(rb"\1...", body[:MOST_BYTES]).decode(errors="replace")


class KeptAnswer:
    """Fed with the chunks of an answer, when it is to be kept at all."""

    def __init__(self, *, wanted: bool) -> None:
        self._room = MOST_BYTES if wanted else 0
        self._parts: list[bytes] = []

    def see(self, chunk: bytes) -> None:
        if self._room > 0:
            self._parts.append(chunk[: self._room])
            self._room -= len(chunk)

    def text(self, *, stream: bool) -> str | None:
        """Of a stream what its events said, one after the other; else the body."""
        if not self._parts:
            return None
        seen = b"".join(self._parts)
        return said_in(seen) if stream else seen.decode(errors="replace")


def said_in(stream: bytes) -> str:
    """The text in the events of a stream, in any of the dialects."""
    return "".join(_delta(found[1]) for found in _DATA.finditer(stream))


def _delta(data: bytes) -> str:
    try:
        event = msgspec.json.decode(data)
    except msgspec.DecodeError:
        return ""
    if isinstance(event, dict) and isinstance(event.get("choices"), list):
        return "".join(_choice(choice) for choice in event["choices"] if isinstance(choice, dict))
    delta = event.get("delta")
    if isinstance(delta, dict):  # Anthropic's content_block_delta
        delta = delta.get("text") or delta.get("partial_json")
    return delta if isinstance(delta, str) else ""


def _choice(choice: dict[str, Any]) -> str:
    delta = choice.get("delta")
    if not isinstance(delta, dict):
        return str(choice.get("text") or "")
    said = [delta.get("reasoning"), delta.get("content")]
    for call in delta.get("tool_calls") or ():
        function = call.get("function") or {}
        said += [function.get("name"), function.get("arguments")]
    return "".join(part for part in said if isinstance(part, str))
