"""What is observed of an answer that passes through unparsed: its end, and its usage."""

from __future__ import annotations

import re
from dataclasses import dataclass

KEEP = 4096
"""Bytes of the end that are looked at; the usage object stands there."""
HEAD = 64
"""Bytes of a frame's beginning; enough for its event name."""

_PROMPT = re.compile(rb'"(?:prompt_tokens|input_tokens)"\s*:\s*(\d+)')
_COMPLETION = re.compile(rb'"(?:completion_tokens|output_tokens)"\s*:\s*(\d+)')


@dataclass(frozen=True)
class Usage:
    """Token counts; `approximate` when counted by us from the frames seen."""

    prompt: int | None
    completion: int | None
    approximate: bool


class StreamTail:
    """Fed with every chunk that was sent; costs a slice and a count each."""

    def __init__(self) -> None:
        self.last = b""
        self.frames = 0
        self._head = b""

    def see(self, chunk: bytes) -> None:
        self.frames += chunk.count(b"\n\n")
        cut = chunk.rfind(b"\n\n", 0, -2)
        if cut >= 0:
            self._head = chunk[cut + 2 : cut + 2 + HEAD]
        elif self.at_boundary:
            self._head = chunk[:HEAD]
        elif len(self._head) < HEAD:
            self._head += chunk[: HEAD - len(self._head)]
        self.last = chunk[-KEEP:] if len(chunk) >= KEEP else (self.last + chunk)[-KEEP:]

    @property
    def at_boundary(self) -> bool:
        """True when the next byte would begin a new SSE frame."""
        return not self.last or self.last.endswith((b"\n\n", b"\r\n\r\n"))

    def ended_with(self, marks: tuple[bytes, ...]) -> bool:
        """True when the last frame is one that ends a stream, be it with an error."""
        if not self.at_boundary:
            return False
        if self._head.startswith((b"event: error", b'data: {"error"')):
            return True
        ends = self.last[-HEAD:]
        return any(mark in self._head or mark in ends for mark in marks)

    def usage(self) -> Usage:
        """From the engine's own usage object if the end holds one, else from the frames."""
        completion = _last(_COMPLETION, self.last)
        if completion is None:
            return Usage(None, self.frames or None, approximate=self.frames > 0)
        return Usage(_last(_PROMPT, self.last), completion, approximate=False)


def _last(pattern: re.Pattern[bytes], text: bytes) -> int | None:
    found = pattern.findall(text)
    return int(found[-1]) if found else None
