"""What the parts of the Pyannote worker hand to each other. Times are in seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]
"""What a voice sounds like: near vectors, one voice."""

Hook = Callable[[str, float], None]
"""Told now and then what the model is at and how far it has come (0 to 1). Raises when nobody
waits for the result any more."""


class Spoken(NamedTuple):
    """Someone speaks."""

    start: float
    end: float
    speaker: str


@dataclass(frozen=True)
class Counts:
    """How many speakers there are: at least and at most; equal numbers mean exactly so many."""

    least: int | None = None
    most: int | None = None

    def arguments(self) -> dict[str, int]:
        """As pyannote takes them."""
        if self.least is not None and self.least == self.most:
            return {"num_speakers": self.least}
        bounds = {"min_speakers": self.least, "max_speakers": self.most}
        return {name: value for name, value in bounds.items() if value is not None}


@dataclass(frozen=True)
class Found:
    """A diarization. A speaker who was heard only briefly may have no vector."""

    turns: Sequence[Spoken]
    exclusive: Sequence[Spoken]
    """Turns that never overlap."""
    vectors: Mapping[str, Vector]

    def shifted(self, by: float) -> Found:
        def later(turns: Iterable[Spoken]) -> list[Spoken]:
            return [Spoken(turn.start + by, turn.end + by, turn.speaker) for turn in turns]

        return Found(later(self.turns), later(self.exclusive), self.vectors)

    def renamed(self, names: Mapping[str, str]) -> Found:
        """`names` has each speaker's. Of two who come to one name, the vector is the later's."""

        def called(turns: Iterable[Spoken]) -> list[Spoken]:
            return [Spoken(turn.start, turn.end, names[turn.speaker]) for turn in turns]

        vectors = {names[speaker]: vector for speaker, vector in self.vectors.items()}
        return Found(called(self.turns), called(self.exclusive), vectors)

    def seconds(self) -> dict[str, float]:
        """How long each speaks, in order of first appearance."""
        total: dict[str, float] = {}
        for turn in sorted(self.turns):
            total[turn.speaker] = total.get(turn.speaker, 0.0) + turn.end - turn.start
        for turn in self.exclusive:
            total.setdefault(turn.speaker, 0.0)
        return total


def usable(vector: npt.NDArray[Any] | None) -> Vector | None:
    """The vector, unless it has no direction."""
    if vector is None or not np.isfinite(vector).all() or not np.any(vector):
        return None
    return np.asarray(vector, np.float64)


def labels(taken: Iterable[str] = ()) -> Iterator[str]:
    """SPEAKER_00, SPEAKER_01, … as pyannote has them, without those `taken`."""
    forbidden = set(taken)
    return (name for i in count() if (name := f"SPEAKER_{i:02d}") not in forbidden)
