"""Where a recording is cut into chunks that the model can take. Pure; all numbers are samples.

Canary silently omits words when it is fed more than about 40 s, so nothing longer ever reaches it.
Chunks tile the recording without gap or overlap, so their offsets are exact whatever the length.
A chunk without speech is never decoded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from .protocol import SAMPLE_RATE

FRAME = 512
"""Samples per loudness value, and per decision of the speech detector."""

Interval = tuple[int, int]


@dataclass(frozen=True)
class Policy:
    """How to cut. A cut lies in the middle of a silence, or `margin` away from speech where the
    silence is so long that the rest of it is left out."""

    longest: int = 40 * SAMPLE_RATE
    """No chunk exceeds it."""
    pause: int = 4 * SAMPLE_RATE
    """Silence so long between speech and speech ends a chunk."""
    skip: int = 4 * SAMPLE_RATE
    """Silence so long is left out, but for its margins."""
    margin: int = SAMPLE_RATE // 2
    whole: bool = True
    """A recording that fits goes in uncut, whatever its pauses."""

    def __post_init__(self) -> None:
        if not (0 < 2 * self.margin <= self.pause <= self.skip and 2 * self.margin < self.skip):
            raise ValueError("a pause holds two margins, and is no longer than what is skipped")
        if self.longest < 4 * self.margin:
            raise ValueError("the longest chunk holds four margins")


@dataclass(frozen=True)
class Chunk:
    start: int
    end: int
    speech: tuple[Interval, ...] = ()
    """The parts of it in which someone speaks."""

    @property
    def length(self) -> int:
        return self.end - self.start

    @property
    def speech_length(self) -> int:
        return total(self.speech)


def total(intervals: Iterable[Interval]) -> int:
    return sum(end - start for start, end in intervals)


def clip(intervals: Iterable[Interval], start: int, end: int) -> tuple[Interval, ...]:
    """The parts that lie within start..end."""
    cut = ((max(a, start), min(b, end)) for a, b in intervals)
    return tuple((a, b) for a, b in cut if a < b)


def chunk_of(start: int, end: int, speech: Iterable[Interval]) -> Chunk:
    return Chunk(start, end, clip(speech, start, end))


class Cutter:
    """Cuts while the recording arrives. What comes out does not depend on the size of the pieces
    in which speech is reported. Remembers nothing older than the chunk at work."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._at = 0
        self._speech: list[Interval] = []
        self._loudness: list[float] = []
        self._first_frame = 0

    @property
    def at(self) -> int:
        """All before it has been cut off; audio from here on is still wanted."""
        return self._at

    def push(
        self,
        speech: Sequence[Interval],
        known: int,
        open_start: int | None = None,
        loudness: Sequence[float] = (),
    ) -> list[Chunk]:
        """More is known: `speech` that has ended, speech since `open_start` that has not, all of it
        up to `known`; one `loudness` per frame, for cuts through speech that never pauses."""
        self._speech.extend(speech)
        self._loudness.extend(loudness)
        heard = self._speech if open_start is None else [*self._speech, (open_start, known)]
        chunks = []
        while known - self._at > self._policy.longest:
            chunks.append(self._next(heard, self._at + self._policy.longest, fits=False))
        return chunks

    def finish(self, speech: Sequence[Interval], length: int) -> list[Chunk]:
        """The recording has ended after `length`."""
        self._speech.extend(speech)
        chunks = []
        while self._at < length:
            limit = self._at + self._policy.longest
            chunks.append(self._next(self._speech, min(limit, length), fits=length <= limit))
        return chunks

    def _next(self, speech: Sequence[Interval], limit: int, *, fits: bool) -> Chunk:
        inside = clip(speech, self._at, limit)
        chunk = chunk_of(self._at, self._end(inside, limit, fits), inside)
        self._at = chunk.end
        self._speech = [span for span in self._speech if span[1] > self._at]
        stale = self._at // FRAME - self._first_frame
        del self._loudness[:stale]
        self._first_frame += stale
        return chunk

    def _end(self, speech: Sequence[Interval], limit: int, fits: bool) -> int:
        policy, start = self._policy, self._at
        if fits and start == 0 and policy.whole and speech:
            return limit
        if not speech:
            return limit if fits else limit - policy.margin
        if speech[0][0] - start >= policy.skip - policy.margin:
            return speech[0][0] - policy.margin
        gaps = list(_gaps(speech, limit))
        for gap in gaps:
            last = fits and gap[1] == limit
            if gap[1] - gap[0] >= (policy.skip if last else policy.pause):
                return self._within(gap)
        if fits:
            return limit
        half = start + policy.longest // 2
        best = _widest(gap for gap in gaps if gap[0] >= half) or _widest(gaps)
        if best is not None and best[0] > start:
            return self._within(best)
        return quietest(self._loudness, start + policy.longest * 3 // 4, limit, self._first_frame)

    def _within(self, gap: Interval) -> int:
        width = gap[1] - gap[0]
        return gap[0] + (width // 2 if width < self._policy.skip else self._policy.margin)


def _gaps(speech: Sequence[Interval], limit: int) -> Iterator[Interval]:
    """Silence after speech, up to `limit`."""
    starts = [start for start, _ in speech[1:]] + [limit]
    for (_, end), start in zip(speech, starts, strict=True):
        if start > end:
            yield end, start


def _widest(gaps: Iterable[Interval]) -> Interval | None:
    return max(gaps, key=lambda gap: (gap[1] - gap[0], gap[0]), default=None)


def quietest(loudness: Sequence[float], start: int, end: int, first_frame: int = 0) -> int:
    """Middle of the quietest stretch of five frames (160 ms) within start..end; `end` if unknown.

    `loudness[0]` belongs to frame `first_frame`.
    """
    low = max(-(-start // FRAME) - first_frame, 2)
    high = min(end // FRAME - first_frame, len(loudness) - 2)
    if low >= high:
        return end
    best = min(range(low, high), key=lambda i: (sum(loudness[i - 2 : i + 3]), -i))
    return (best + first_frame) * FRAME + FRAME // 2


def recut(chunk: Chunk, loudness: Sequence[float]) -> list[Chunk]:
    """Another way to cut a chunk whose result is not believed; [] when there is none.

    Long speech is divided in the widest pause near its middle, else where it is quietest; short
    speech is freed from the silence around it. `loudness[0]` belongs to the chunk's first frame.
    """
    if not chunk.speech:
        return []
    first, last = chunk.speech[0][0], chunk.speech[-1][1]
    if last - first < 3 * SAMPLE_RATE:
        edge = SAMPLE_RATE // 5
        start, end = max(chunk.start, first - edge), min(chunk.end, last + edge)
        changed = chunk.length - (end - start) >= SAMPLE_RATE // 10
        return [chunk_of(start, end, chunk.speech)] if changed else []
    quarter = (last - first) // 4
    middle = (first + quarter, last - quarter)
    pauses = clip(_gaps(chunk.speech, last), *middle)
    if pauses:
        pause = max(pauses, key=lambda gap: (gap[1] - gap[0], -abs(first + last - sum(gap))))
        cut = sum(pause) // 2
    else:
        cut = chunk.start + quietest(loudness, middle[0] - chunk.start, middle[1] - chunk.start)
    return [chunk_of(chunk.start, cut, chunk.speech), chunk_of(cut, chunk.end, chunk.speech)]


def subtract(intervals: Iterable[Interval], holes: Iterable[Interval]) -> tuple[Interval, ...]:
    """What is left of `intervals` outside `holes`."""
    left = list(intervals)
    for low, high in holes:
        left = [
            part
            for start, end in left
            for part in ((start, min(end, low)), (max(start, high), end))
            if part[0] < part[1]
        ]
    return tuple(left)
