"""What the speakers' bench reports is what it measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tools.bench.speakers import Result, markdown
from tools.bench.speakers_figures import Curve, Memory, Quality, Threshold, together


class Clock:
    """Each request takes its own seconds on the wall, and twice as many of CPU."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, both: list[float]) -> None:
        self.now = self.cpu = 0.0
        self._both = iter(both)
        self.asked: list[str] = []
        monkeypatch.setattr("tools.bench.speakers_figures.time.perf_counter", lambda: self.now)

    def _spend(self, what: str, seconds: float) -> dict[str, Any]:
        self.asked.append(what)
        self.now += seconds
        self.cpu += 2 * seconds
        return {}

    def both(self, file: Path, language: str) -> dict[str, Any]:
        return self._spend("both", next(self._both))

    def text(self, file: Path, language: str) -> dict[str, Any]:
        return self._spend("text", 1.0)

    def turns(self, file: Path) -> dict[str, Any]:
        return self._spend("turns", 3.0)


def test_rounds_alternate_and_the_first_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, [99.0, 3.0, 2.0, 4.0])
    client: Any = clock
    found = together(client, Path("x.wav"), 60.0, 3, lambda: clock.cpu)
    two = ["text", "turns"]
    assert clock.asked == ["both", *two, "both", *two, *two, "both", "both", *two]
    assert (found.both_s, found.text_s, found.turns_s) == (3.0, 1.0, 3.0)
    assert (found.wall, found.slower, found.cpu) == (0.75, 1.0, 0.75)
    assert found.per_hour_s == 180.0


def test_every_figure_is_in_the_tables() -> None:
    result = Result(
        quality=[Quality("talk", 3, 2, der=0.123, cpwer=0.045)],
        memory=[Memory(600, 20.0, 3, int(101e6), int(202e6), int(303e6))],
        curve={"demo": Curve(10, 20, 0.09, 0.42, (Threshold(0.25, 0.0, 0.015),))},
    )
    told = markdown(result)
    for figure in ("2 of 3", "12.30%", "4.50%", "10 min", "101", "202", "303", "0.25", "1.5%"):
        assert figure in told
    assert markdown(Result()) == ""
