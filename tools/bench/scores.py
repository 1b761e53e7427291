"""Who spoke when and who said what, as one number each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from kaldialign import edit_distance  # type: ignore[import-untyped]
from scipy.optimize import linear_sum_assignment  # type: ignore[import-untyped]

Row = tuple[float, float, str]
"""Start and end in seconds, and a speaker."""
Said = Mapping[str, str]
"""Speaker to all that they say, in order."""


def error_rate(truth: Sequence[Row], found: Sequence[Row]) -> float:
    """Diarization error rate by pyannote.metrics, without a collar, overlaps counted."""
    from pyannote.core import Segment, Timeline
    from pyannote.metrics.diarization import DiarizationErrorRate

    last = max(end for _, end, _ in [*truth, *found])
    all_of_it = Timeline([Segment(0, last)])
    return float(DiarizationErrorRate()(_annotation(truth), _annotation(found), uem=all_of_it))


def _annotation(rows: Sequence[Row]) -> Any:
    from pyannote.core import Annotation, Segment

    made = Annotation()
    for number, (start, end, who) in enumerate(rows):
        made[Segment(start, end), number] = who
    return made


def by_speaker(turns: Iterable[tuple[str, str]]) -> dict[str, str]:
    """From (speaker, text), in order."""
    said: dict[str, str] = {}
    for speaker, text in turns:
        said[speaker] = f"{said.get(speaker, '')} {text}".strip()
    return said


def cpwer(truth: Said, found: Said) -> float:
    """Concatenated minimum-permutation word error rate: edits ÷ words of the truth.

    All words of a speaker are put together; speakers of both sides are paired so that the edits
    between them are fewest; who has no partner is nothing but edits. Words are what white space
    parts, as they are written. The same number as meeteval's, which comes as source only and wants
    a C++ compiler; this takes what NeMo and SciPy bring along.
    """
    sides = [[words.split() for words in side.values()] for side in (truth, found)]
    size = max(map(len, sides))
    wanted, heard = (side + [[]] * (size - len(side)) for side in sides)
    edits = np.array([[edit_distance(a, b)["total"] for b in heard] for a in wanted])
    rows, columns = linear_sum_assignment(edits.reshape(size, size))
    return float(edits[rows, columns].sum()) / sum(map(len, wanted))
