"""Who said what through the gateway: how right, how fast, and what it costs.

    python -m tools.bench.speakers [--quick] [--only FIGURE …]

quality: every dialogue of the demo recordings, without a hint: diarization error rate (no collar,
overlaps counted), cpWER (words as written), speakers found.

together: one request for text and speakers (`diarized_json`) against two, one after the other, on
one recording of minutes: seconds on the wall, and CPU seconds of gateway and engines together.
Rounds alternate A B, B A; a ratio is the median of the rounds' ratios. On one core the two engines
can only take turns; the goal for `÷ the slower one` is for machines where each has its own.

memory: 10 min, 1 h, 3 h of dialogue in this order on one gateway, text and speakers in one
request; the kernel's mark of the highest resident memory is cleared before each.

curve: samples of 2 to 4 s of every demo voice, each compared with each other one by the worker's
own model: at which distance two are taken for one voice (false accepts) or a voice is not known
again (false rejects).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tools.bench.audio_figures import repeated
from tools.bench.audio_report import table
from tools.bench.audio_sides import Admin
from tools.bench.gateway import BenchError, Gateway, gateway
from tools.bench.report import machine
from tools.bench.speakers_figures import (
    Client,
    Curve,
    Memory,
    Quality,
    Together,
    curve,
    memory,
    quality,
    together,
)
from tools.demo_models.manifest import Recording, load
from tools.demo_models.speech import RATE

FIGURES = ("quality", "together", "memory", "curve")
TOGETHER_S, ROUNDS = 180, 5
LENGTHS_S = (600, 3600, 3 * 3600)
PIPELINES = ("pyannote-3.1", "pyannote-community-1")
ENGINES = ("canary", "pyannote")


@dataclass
class Result:
    """What was measured; what was not is empty."""

    quality: list[Quality] = field(default_factory=list)
    together: Together | None = None
    memory: list[Memory] = field(default_factory=list)
    curve: dict[str, Curve] = field(default_factory=dict)
    load_average: list[float] = field(default_factory=list)
    """Over one minute, when each figure began."""


class Bench:
    def __init__(self, running: Gateway, directory: Path) -> None:
        self._client = Client(running.port)
        self._gateway = running.process
        self._engines = [Admin(running, key) for key in ENGINES]
        self._directory = directory
        for engine in self._engines:
            engine.load()

    def quality(self) -> list[Quality]:
        return [quality(self._client, recording) for recording in _dialogues()]

    def together(self, audio_s: float, rounds: int) -> Together:
        with self._long(audio_s) as (file, seconds):
            return together(self._client, file, seconds, rounds, self._cpu_s)

    def memory(self, audio_s: float) -> Memory:
        with self._long(audio_s) as (file, seconds):
            return memory(self._client, file, seconds, self._watched())

    def _watched(self) -> list[psutil.Process]:
        return [self._gateway, *(engine.worker() for engine in self._engines)]

    def _cpu_s(self) -> float:
        return sum(sum(process.cpu_times()[:2]) for process in self._watched())

    @contextmanager
    def _long(self, seconds: float) -> Iterator[tuple[Path, float]]:
        path = self._directory / "long.wav"
        repeated([recording.where for recording in _dialogues()], path, seconds)
        try:
            yield path, path.stat().st_size / 2 / RATE
        finally:
            path.unlink()


def _dialogues() -> list[Recording]:
    return [r for r in load().speech.recordings if len(r.speakers) > 1]


def measure(options: argparse.Namespace) -> Result:
    wanted = options.only or FIGURES
    result = Result()

    def begin(name: str) -> None:
        result.load_average.append(os.getloadavg()[0])
        print(f"{name}, load average {result.load_average[-1]:.1f}", file=sys.stderr, flush=True)

    if "curve" in wanted:
        begin("curve")
        manifest = load()
        for name in PIPELINES:
            result.curve[name] = curve(manifest.models[name].where, manifest.speech)
    if not {"quality", "together", "memory"} & set(wanted):
        return result
    with (
        tempfile.TemporaryDirectory(prefix="bench-speakers-") as directory,
        gateway({}) as running,
    ):
        bench = Bench(running, Path(directory))
        if "quality" in wanted:
            begin("quality")
            result.quality = bench.quality()
        if "together" in wanted:
            begin("together")
            rounds = 1 if options.quick else ROUNDS
            result.together = bench.together(60 if options.quick else TOGETHER_S, rounds)
        if "memory" in wanted:
            for seconds in LENGTHS_S[:1] if options.quick else LENGTHS_S:
                begin(f"memory, {seconds} s")
                result.memory.append(bench.memory(seconds))
    return result


def markdown(result: Result) -> str:
    tables = []
    if result.quality:
        rows = [
            [q.name, f"{q.found} of {q.speakers}", f"{q.der:.2%}", f"{q.cpwer:.2%}"]
            for q in result.quality
        ]
        tables.append(table(["dialogue", "speakers", "DER", "cpWER"], rows))
    if one := result.together:
        head = ["audio s", "one request s", "text alone s", "speakers alone s"]
        head += ["one ÷ two", "÷ the slower", "CPU, one ÷ two", "s per hour of audio"]
        row = [f"{one.audio_s:.0f}", f"{one.both_s:.1f}", f"{one.text_s:.1f}"]
        row += [f"{one.turns_s:.1f}", f"{one.wall:.2f}", f"{one.slower:.2f}"]
        tables.append(table(head, [[*row, f"{one.cpu:.2f}", f"{one.per_hour_s:.0f}"]]))
    if result.memory:
        head = ["recording", "takes s", "speakers", "gateway MB", "canary MB", "pyannote MB"]
        rows = [
            [
                f"{m.audio_s / 60:.0f} min",
                f"{m.seconds:.0f}",
                str(m.speakers),
                *(f"{size / 1e6:.0f}" for size in (m.gateway, m.canary, m.pyannote)),
            ]
            for m in result.memory
        ]
        tables.append(table(head, rows))
    for name, found in result.curve.items():
        head = ["distance", *(f"{t.at:g}" for t in found.thresholds)]
        rows = [
            ["false accepts", *(f"{t.false_accepts:.1%}" for t in found.thresholds)],
            ["false rejects", *(f"{t.false_rejects:.1%}" for t in found.thresholds)],
        ]
        told = f"{name}: {found.same} pairs of one voice (at most {found.farthest_same:.2f} apart),"
        told += f" {found.others} of two (at least {found.nearest_other:.2f})"
        tables.append(f"{told}\n\n{table(head, rows)}")
    return "\n\n".join(tables)


def main() -> int:
    """0: measured; 1: it could not be measured."""
    cli = argparse.ArgumentParser(
        prog="python -m tools.bench.speakers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    cli.add_argument("--quick", action="store_true", help="one round, 10 minutes only")
    cli.add_argument("--only", nargs="+", choices=FIGURES, metavar="FIGURE")
    cli.add_argument("--out", type=Path, default=Path("build/bench-speakers.json"))
    options = cli.parse_args()
    ran_on = machine()
    try:
        result = measure(options)
    except (BenchError, OSError) as problem:
        print(f"bench: {problem}", file=sys.stderr)
        return 1
    content: dict[str, Any] = {"method": __doc__, "machine": ran_on, **asdict(result)}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    print(markdown(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
