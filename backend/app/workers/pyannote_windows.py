"""A long recording in windows, and one diarization from those of the windows. Pure.

    |-------- window 0 --------|
                     |-------- window 1 --------|
    |-------- own 0 ------|------- own 1 -------|

Windows overlap so that each begins with voices at work; turns count only within the window's own
part. Lengths and places are in samples, the times of turns in seconds of the recording.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from .protocol import seconds
from .pyannote_types import Counts, Found, Spoken, Vector, labels
from .pyannote_voices import Voice, unite


@dataclass(frozen=True)
class Window:
    """A stretch of a recording, and the part of it that no other window answers for."""

    start: int
    end: int
    own_start: int
    own_end: int


def plan(samples: int, longest: int, overlap: int) -> list[Window]:
    """Windows of equal length, no longer than `longest`, that share `overlap` with their neighbour.

    A recording that fits is one window. `overlap` must be less than `longest`.
    """
    number = 1 if samples <= longest else math.ceil((samples - overlap) / (longest - overlap))
    step = samples - overlap
    edges = [(i * step // number, (i + 1) * step // number + overlap) for i in range(number)]
    cuts = [(end + start) // 2 for (_, end), (start, _) in pairwise(edges)]
    owned = pairwise([0, *cuts, samples])
    return [Window(*edge, *own) for edge, own in zip(edges, owned, strict=True)]


def whole(windows: Sequence[Window], found: Sequence[Found], counts: Counts, same: float) -> Found:
    """One diarization of all: who is the same in several windows is one speaker.

    `found` has the times of the recording. See `unite` for `counts` and `same`.
    """
    voices, places = list[Voice](), list[tuple[int, str]]()
    for number, part in enumerate(found):
        for speaker, spoken in part.seconds().items():
            voices.append(Voice(number, part.vectors.get(speaker), spoken))
            places.append((number, speaker))
    united = unite(voices, same, counts.least or 1, counts.most)
    names: list[dict[str, str]] = [{} for _ in found]
    for (number, speaker), who in zip(places, united, strict=True):
        names[number][speaker] = str(who)
    renamed = [part.renamed(called) for part, called in zip(found, names, strict=True)]
    stitched = Found(
        stitch(windows, [part.turns for part in renamed]),
        stitch(windows, [part.exclusive for part in renamed]),
        _means(voices, united),
    )
    final = dict(zip(stitched.seconds(), labels(), strict=False))
    vectors = {who: vector for who, vector in stitched.vectors.items() if who in final}
    return Found(stitched.turns, stitched.exclusive, vectors).renamed(final)


def stitch(windows: Sequence[Window], parts: Iterable[Sequence[Spoken]]) -> list[Spoken]:
    """The turns of all windows in order of time.

    Each is cut to its window's own part; what was cut apart there is joined again.
    """
    turns: list[Spoken] = []
    interrupted: dict[str, Spoken] = {}
    for window, found in zip(windows, parts, strict=True):
        begins, ends = seconds(window.own_start), seconds(window.own_end)
        unfinished: dict[str, Spoken] = {}
        for turn in sorted(found):
            start, end = max(turn.start, begins), min(turn.end, ends)
            if end <= start:
                continue
            if start == begins and turn.speaker in interrupted:
                start = interrupted.pop(turn.speaker).start
            own = Spoken(start, end, turn.speaker)
            if end == ends and own.speaker not in unfinished:
                unfinished[own.speaker] = own
            else:
                turns.append(own)
        turns += interrupted.values()
        interrupted = unfinished
    return sorted([*turns, *interrupted.values()])


def _means(voices: Sequence[Voice], united: Sequence[int]) -> dict[str, Vector]:
    """One vector for each speaker, by how long each voice spoke."""
    sums: dict[int, Vector] = {}
    weights: dict[int, float] = {}
    for voice, who in zip(voices, united, strict=True):
        if voice.vector is not None:
            sums[who] = sums.get(who, 0) + voice.vector * voice.seconds
            weights[who] = weights.get(who, 0.0) + voice.seconds
    return {str(who): total / weights[who] for who, total in sums.items() if weights[who]}
