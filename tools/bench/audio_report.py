"""The result as JSON and as tables in Markdown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from tools.bench.audio_figures import Length, Life, ModelStage, Versus, Waits
from tools.bench.compare import percentile
from tools.bench.report import Goal

STAGES = ("decode", "vad", "queue", "model")


@dataclass
class Result:
    """What was measured; what was not is empty."""

    versus: list[Versus] = field(default_factory=list)
    model: ModelStage | None = None
    waits: Waits | None = None
    clip_alone_s: float | None = None
    lengths: list[Length] = field(default_factory=list)
    life: Life | None = None

    @property
    def gain_in_service(self) -> float | None:
        """Model seconds per request with one client ÷ with the most."""
        clips = [one for one in self.versus if one.scenario == "clips"]
        if not clips:
            return None
        return clips[0].stages["model"] / clips[-1].stages["model"]


def goals(result: Result) -> list[Goal]:
    """The figures that have a goal, of what was measured."""
    found = [
        Goal(f"{one.scenario}, c={one.clients}: gateway ÷ alone", one.ratio, 0.95, least=True)
        for one in result.versus
        if one.clients > 1
    ]
    if result.model:
        name = f"model, {result.model.clips} in a batch ÷ one by one"
        found.append(Goal(name, result.model.gain, 4, least=True))
    if result.gain_in_service:
        name = "model in service, c=32 ÷ c=1"
        found.append(Goal(name, result.gain_in_service, 4, least=True))
    if result.waits:
        found.append(Goal("batches waited for, at most", max(result.waits.batches), 1))
    if len(result.lengths) > 1:
        first, last = result.lengths[0], result.lengths[-1]
        for name, low, high in (
            ("gateway", first.gateway, last.gateway),
            ("worker", first.worker, last.worker),
        ):
            times = f"{last.audio_s / 60:.0f} ÷ {first.audio_s / 60:.0f} min"
            found.append(Goal(f"peak RSS of the {name}, {times}", high / low, 1.2))
    if result.life:
        found.append(Goal("processes left after unload", result.life.processes_left, 0))
        change = (result.life.rss_after - result.life.rss_before) / 1e6
        found.append(Goal("memory after unload − before load, MB", change, 10))
    return found


def markdown(result: Result) -> str:
    """Tables of all that was measured, and of the goals."""
    tables = []
    if result.versus:
        tables.append(_versus(result.versus))
    if result.lengths:
        tables.append(_lengths(result))
    single = [row for row in (_model(result), _waits(result), *_life(result)) if row]
    if single:
        tables.append(table(["figure", "measured"], single))
    rows = [
        (
            goal.name,
            f"{goal.value:.3g}",
            f"{'≥' if goal.least else '≤'} {goal.bound:g}",
            "yes" if goal.met else "**no**",
        )
        for goal in goals(result)
    ]
    if rows:
        tables.append(table(["figure", "measured", "goal", "met"], rows))
    return "\n\n".join(tables)


def _versus(found: Sequence[Versus]) -> str:
    head = ["files", "clients", "audio s per s", "ratio (low-high)", "latency p50 / p99 ms"]
    head += ["decode ms", "speech ms", "queue ms", "model ms", "gateway CPU ms"]
    rows = [
        [
            one.scenario,
            str(one.clients),
            f"{one.speed:.0f}",
            f"{one.ratio:.3f} ({one.ratio_low:.2f}-{one.ratio_high:.2f})",
            f"{one.latency_p50 * 1000:.0f} / {one.latency_p99 * 1000:.0f}",
            *(f"{one.stages[name] * 1000:.1f}" for name in STAGES),
            f"{one.cpu_ms_per_request:.1f}",
        ]
        for one in found
    ]
    return table(head, rows)


def _lengths(result: Result) -> str:
    head = ["recording", "takes s", "peak RSS gateway MB", "worker MB"]
    head += ["5 s clip beside it: p50 / p99 ms", "its queue p50 ms", "alone ms"]
    rows = [
        [
            f"{one.audio_s / 60:.0f} min",
            f"{one.seconds:.1f}",
            f"{one.gateway / 1e6:.0f}",
            f"{one.worker / 1e6:.0f}",
            f"{median(one.beside) * 1000:.0f} / {percentile(one.beside, 0.99) * 1000:.0f}"
            if one.beside
            else "-",
            f"{median(one.beside_queue) * 1000:.0f}" if one.beside else "-",
            f"{(result.clip_alone_s or 0) * 1000:.0f}",
        ]
        for one in result.lengths
    ]
    return table(head, rows)


def _model(result: Result) -> tuple[str, str] | None:
    stage = result.model
    if stage is None:
        return None
    each = 1000 / stage.clips
    return (
        f"model alone, {stage.clips} clips",
        f"{stage.one_by_one * each:.1f} ms each one by one, {stage.batch * each:.1f} in a batch,"
        f" {stage.nemo * each:.1f} in NeMo's own: {stage.gain:.1f} × and"
        f" {stage.against_nemo:.2f} × NeMo",
    )


def _waits(result: Result) -> tuple[str, str] | None:
    if result.waits is None:
        return None
    found = result.waits.batches
    counts = ", ".join(f"{found.count(n)} clips: {n}" for n in sorted(set(found)))
    return ("batches waited for beside a file without end", counts)


def _life(result: Result) -> list[tuple[str, str]]:
    found = result.life
    if found is None:
        return []
    memory = (found.rss_before, found.rss_loaded, found.rss_after)
    return [
        ("load to ready", f"{found.load_s:.1f} s"),
        ("unload", f"{found.unload_s:.2f} s, {found.processes_left} processes left"),
        (
            "memory of all processes before, loaded, after",
            " / ".join(f"{each / 1e6:.0f} MB" for each in memory),
        ),
    ]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    marks = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, marks, *rows))


def write(
    path: Path, result: Result, *, method: str, options: dict[str, str], ran_on: dict[str, Any]
) -> None:
    """Everything as JSON, with the method and the machine."""
    content = {
        "method": method,
        "options": options,
        "machine": {**ran_on, "nemo": version("nemo_toolkit")},
        **asdict(result),
        "goals": [{**asdict(goal), "met": goal.met} for goal in goals(result)],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
