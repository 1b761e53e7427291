"""Which voices are the same: across the windows of a recording, and as people known by name. Pure.

Voices are compared by the cosine distance of their vectors, from 0 (the same) to 2. Assignments are
one to one, since a diarization has told its speakers apart already, and open: a voice that is far
from all others stays by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment  # type: ignore[import-untyped]

from .pyannote_types import Vector

SAME_VOICE = 0.5
"""Distance up to which two vectors are taken for one voice, for a model of real voices."""


@dataclass(frozen=True)
class Voice:
    """A speaker of one window."""

    window: int
    vector: Vector | None
    """None: spoke too little for one."""
    seconds: float


def distances(left: Sequence[Vector], right: Sequence[Vector]) -> npt.NDArray[np.float64]:
    """Each with each."""
    a, b = (np.stack(side) / _lengths(side)[:, None] for side in (left, right))
    return np.asarray(1 - a @ b.T)


def _lengths(vectors: Sequence[Vector]) -> Vector:
    lengths = np.linalg.norm(np.stack(vectors), axis=1)
    return np.asarray(np.maximum(lengths, np.finfo(np.float64).tiny))


def recognise(
    voices: Mapping[str, Vector], known: Mapping[str, Vector], same: float
) -> dict[str, str]:
    """Speaker → name of a known voice, for those within `same` of one."""
    if not voices or not known:
        return {}
    far = distances(list(voices.values()), list(known.values()))
    # beyond `same` all are equally far: no pair is given up for the sake of one that is none
    rows, columns = linear_sum_assignment(np.minimum(far, same))
    speakers, names = list(voices), list(known)
    return {
        speakers[row]: names[column]
        for row, column in zip(rows, columns, strict=True)
        if far[row, column] <= same
    }


def unite(voices: Sequence[Voice], same: float, least: int, most: int | None) -> list[int]:
    """For each voice the number of its speaker, counted from 0; two of one window never share one.

    Nearest voices are united first, while they are within `same` of each other. The count of
    speakers goes before: there are at least `least` (where there are so many voices) and at most
    `most`. Only where a window has more than `most` voices, two of them come to one speaker.
    """
    vectors = [i for i, voice in enumerate(voices) if voice.vector is not None]
    groups = [[vectors[j] for j in group] for group in _merge(voices, vectors, same, least, most)]
    if most is not None and len(groups) > most:
        groups = _deal(voices, groups, most)
    speaker = {member: number for number, group in enumerate(groups) for member in group}
    for i, voice in enumerate(voices):
        if i not in speaker:
            speaker[i] = _place(voice, voices, speaker, most)
    return [speaker[i] for i in range(len(voices))]


def _merge(
    voices: Sequence[Voice], members: Sequence[int], same: float, least: int, most: int | None
) -> list[list[int]]:
    """Groups of positions in `members`, none of which holds two voices of one window."""
    groups = {j: [j] for j in range(len(members))}
    if len(groups) < 2:
        return list(groups.values())
    sums = np.stack([_weighted(voices[i]) for i in members])
    window = np.array([voices[i].window for i in members])
    clash = window[:, None] == window[None, :]
    far = np.where(clash, np.inf, distances(list(sums), list(sums)))
    while len(groups) > least:
        i, j = (int(k) for k in np.unravel_index(np.argmin(far), far.shape))
        if not np.isfinite(far[i, j]) or (
            far[i, j] > same and (most is None or len(groups) <= most)
        ):
            break
        groups[i] += groups.pop(j)
        sums[i] += sums[j]
        clash[i] |= clash[j]
        clash[:, i] = clash[i]
        far[i] = np.where(clash[i], np.inf, distances([sums[i]], list(sums))[0])
        far[:, i] = far[i]
        far[j] = far[:, j] = np.inf
        clash[j] = clash[:, j] = True
    return list(groups.values())


def _deal(voices: Sequence[Voice], groups: list[list[int]], most: int) -> list[list[int]]:
    """Keep the `most` groups that speak longest; deal the voices of each window out to them."""

    def spoken(group: list[int]) -> float:
        return sum(voices[i].seconds for i in group)

    kept = sorted(groups, key=spoken, reverse=True)[:most]
    centres: list[Vector] = [
        np.sum([_weighted(voices[i]) for i in group], axis=0) for group in kept
    ]
    dealt: list[list[int]] = [[] for _ in kept]
    windows: dict[int, list[int]] = {}
    for i in sorted(i for group in groups for i in group):
        windows.setdefault(voices[i].window, []).append(i)
    for members in windows.values():
        far = distances([_weighted(voices[i]) for i in members], centres)
        chosen = far.argmin(axis=1)
        rows, columns = linear_sum_assignment(far)
        chosen[rows] = columns
        for i, number in zip(members, chosen, strict=True):
            dealt[number].append(i)
    return [group for group in dealt if group]


def _place(
    voice: Voice, voices: Sequence[Voice], speaker: Mapping[int, int], most: int | None
) -> int:
    """Where a voice without vector goes: a speaker of its own, or one silent in its window."""
    number = 1 + max(speaker.values(), default=-1)
    if most is None or number < most:
        return number
    here = {speaker[i] for i in speaker if voices[i].window == voice.window}
    return next((k for k in range(number) if k not in here), 0)


def _weighted(voice: Voice) -> Vector:
    assert voice.vector is not None
    weighted: Vector = voice.vector / np.linalg.norm(voice.vector) * max(voice.seconds, 1e-3)
    return weighted
