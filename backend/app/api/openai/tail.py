"""What is done with an answer that passes through unparsed: it is cut at the ends of its frames,
and its end and its usage are observed."""

from __future__ import annotations

import re
from dataclasses import dataclass

from backend.app.errors import EngineError

KEEP = 4096
"""Bytes of the end that are looked at; the usage object stands there."""
FRAME_LIMIT = 64 << 20
"""Bytes of one frame; the last event of a response holds all of it."""
HEAD = 64
"""Bytes of a frame's beginning and end; enough for its event name, and for a `[DONE]`."""

_ENDS = (b"\n\n", b"\r\n\r\n")
_BROKE = re.compile(rb'event: error\r?\n|data: \{"error"')
"""How an event begins that tells an error; in what a model says, quotes and ends of lines are
escaped."""
_PROMPT = re.compile(rb'"(?:prompt_tokens|input_tokens)"\s*:\s*(\d+)')
_COMPLETION = re.compile(rb'"(?:completion_tokens|output_tokens)"\s*:\s*(\d+)')


@dataclass(frozen=True)
class Usage:
    """Token counts; `approximate` when counted by us from the frames seen."""

    prompt: int | None
    completion: int | None
    approximate: bool


class Frames:
    """Keeps back the beginning of a frame until its end is there.

    So a client never holds half a frame, and whatever is said to it next, be it an error, is one
    of its own. Engines write frame by frame: nearly always nothing is kept.
    """

    def __init__(self) -> None:
        self._kept = bytearray()

    def whole(self, chunk: bytes) -> bytes:
        """All frames that `chunk` completes; empty when there is none. Raises EngineError."""
        if not self._kept and chunk.endswith(_ENDS):
            return chunk
        kept = self._kept
        seen = max(0, len(kept) - 3)  # an end may lie across two chunks
        kept += chunk
        cut = max(at + len(end) if (at := kept.rfind(end, seen)) >= 0 else 0 for end in _ENDS)
        if len(kept) - cut > FRAME_LIMIT:
            raise EngineError("The engine sent an event that is too large.")
        whole = bytes(kept[:cut])
        del kept[:cut]
        return whole


class StreamTail:
    """Fed with everything that was sent, a stream in whole frames; costs a slice and a count."""

    def __init__(self) -> None:
        self.frames = 0
        self._chunk = self._last = b""

    def see(self, chunk: bytes) -> None:
        self.frames += chunk.count(b"\n\n")
        self._chunk = chunk
        self._last = chunk[-KEEP:] if len(chunk) >= KEEP else (self._last + chunk)[-KEEP:]

    def ended_with(self, marks: tuple[bytes, ...]) -> bool:
        """True when the last frame is one that ends a stream, be it with an error."""
        frame = self._chunk.rstrip(b"\r\n").rpartition(b"\n\n")[2]
        head, end = frame[:HEAD], frame[-HEAD:]
        if _BROKE.match(head):
            return True
        return any(mark in head or mark in end for mark in marks)

    @property
    def broke(self) -> bool:
        """One of the last events told an error. vLLM sends `[DONE]` after it all the same."""
        return _BROKE.search(self._last) is not None

    def usage(self) -> Usage:
        """From the engine's own usage object if the end holds one, else from the frames."""
        completion = _last(_COMPLETION, self._last)
        if completion is None:
            return Usage(None, self.frames or None, approximate=self.frames > 0)
        return Usage(_last(_PROMPT, self._last), completion, approximate=False)


def _last(pattern: re.Pattern[bytes], text: bytes) -> int | None:
    found = pattern.findall(text)
    return int(found[-1]) if found else None
