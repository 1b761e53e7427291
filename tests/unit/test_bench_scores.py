"""The score of who said what: names do not matter, words and their owners do."""

from __future__ import annotations

import pytest

from tools.bench.scores import by_speaker, cpwer

TRUTH = {"anna": "we met on monday", "ben": "no it was tuesday morning"}


@pytest.mark.parametrize(
    ("found", "edits"),
    [
        ({"B": TRUTH["anna"], "A": TRUTH["ben"]}, 0),
        ({"A": "we met on sunday", "B": TRUTH["ben"]}, 1),
        ({"A": "we met monday", "B": TRUTH["ben"]}, 1),
        ({"A": f"{TRUTH['anna']} {TRUTH['ben']}"}, 8),
        ({"A": TRUTH["anna"], "B": TRUTH["ben"], "C": "oh yes"}, 2),
        ({"A": "we met on monday no", "B": "it was tuesday morning"}, 2),
        ({}, 9),
    ],
)
def test_edits_of_the_best_pairing(found: dict[str, str], edits: int) -> None:
    assert cpwer(TRUTH, found) == pytest.approx(edits / 9)


def test_turns_are_put_together() -> None:
    turns = [("A", "we met"), ("B", "no"), ("A", "on monday")]
    assert by_speaker(turns) == {"A": "we met on monday", "B": "no"}
