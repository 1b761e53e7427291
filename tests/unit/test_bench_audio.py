"""A bench that compared different work, or took the wrong median, would flatter."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import pytest

from tools.bench.audio_figures import Length, Side, Versus, padded, repeated, versus
from tools.bench.audio_report import Result, goals, markdown
from tools.bench.audio_sides import Clip, Round, clip_of
from tools.bench.compare import Plan
from tools.bench.gateway import BenchError
from tools.demo_models.manifest import DEMO

CLIPS = [Clip(Path(f"{number}.wav"), "en", 2.0) for number in range(3)]
FOX = DEMO / "audio" / "fox.wav"


class FakeSide:
    """Takes the next of `seconds` for each round; says each file's name."""

    def __init__(self, *seconds: float, mishears: bool = False) -> None:
        self._seconds = itertools.cycle(seconds)
        self._mishears = mishears
        self.asked: list[int] = []

    def run(self, clips: Sequence[Clip], clients: int) -> Round:
        self.asked.append(len(clips))
        texts = tuple("?" if self._mishears else clip.path.stem for clip in clips)
        stages = {name: (0.01,) * len(clips) for name in ("decode", "vad", "queue", "model")}
        return Round(next(self._seconds), texts, stages, (0.1,) * len(clips))


def compare(through: Side, alone: Side, clips: Sequence[Clip] = CLIPS) -> Versus:
    clock = itertools.count()
    return versus("clips", through, alone, clips, 2, Plan(rounds=3, round_s=1), lambda: next(clock))


def test_the_median_of_the_rounds_ratios() -> None:
    through, alone = FakeSide(9.0, 2.0, 4.0, 1.0), FakeSide(0.5, 1.0, 1.0, 2.0)
    found = compare(through, alone)
    assert (found.ratio, found.ratio_low, found.ratio_high) == (0.5, 0.25, 2.0)
    # the same files on both sides in each round, the first not counted
    assert through.asked == alone.asked == [3, 8, 8, 8]
    assert (found.files, found.audio_s, found.rounds) == (8, 16.0, 3)
    assert found.cpu_ms_per_request == pytest.approx(1000 / 8)
    assert found.stages["model"] == 0.01


def test_a_long_one_goes_alone() -> None:
    through = FakeSide(1.0)
    compare(through, FakeSide(1.0), CLIPS[:1])
    assert through.asked == [2, 2, 2, 2]


def test_other_texts_are_no_comparison() -> None:
    with pytest.raises(BenchError, match="not the same texts"):
        compare(FakeSide(1.0), FakeSide(1.0, mishears=True))


def test_goals_are_missed_when_they_are() -> None:
    result = Result([compare(FakeSide(2.0), FakeSide(1.0))])
    result.lengths = [
        Length(600, 5.0, gateway=100, worker=1000, beside=(), beside_queue=()),
        Length(3600, 30.0, gateway=110, worker=2000, beside=(0.2,), beside_queue=(0.1,)),
    ]
    met = {goal.name: goal.met for goal in goals(result)}
    assert met == {
        "clips, c=2: gateway ÷ alone": False,
        "model in service, c=32 ÷ c=1": False,
        "peak RSS of the gateway, 60 ÷ 10 min": True,
        "peak RSS of the worker, 60 ÷ 10 min": False,
    }
    assert "**no**" in markdown(result)


def test_material_is_as_long_as_it_says(tmp_path: Path) -> None:
    padded(FOX, tmp_path / "clip.wav", 5.0)
    assert clip_of(tmp_path / "clip.wav", "en").seconds == 5.0
    repeated([FOX, FOX], tmp_path / "long.wav", 60)
    fox = clip_of(FOX, "en").seconds
    laps = clip_of(tmp_path / "long.wav", "en").seconds / (2 * fox + 3)
    assert laps == pytest.approx(round(laps))
    assert laps * (2 * fox + 3) >= 60
