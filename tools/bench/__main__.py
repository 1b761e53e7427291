"""`python -m tools.bench`: run the scenarios, print the tables, write them as JSON."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import tools.bench
from tools.bench.compare import Comparison, Plan
from tools.bench.gateway import BenchError
from tools.bench.load import LoadError
from tools.bench.report import machine, markdown, write
from tools.bench.scenarios import SCENARIOS, control, starts

FULL, QUICK = Plan(rounds=9, round_s=2), Plan(rounds=3, round_s=0.5)


def _options() -> argparse.Namespace:
    cli = argparse.ArgumentParser(
        prog="python -m tools.bench",
        description=tools.bench.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    cli.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    cli.add_argument(
        "--engine", choices=("demo", "fake"), default="demo", help="fake: without the real vLLM"
    )
    cli.add_argument("--only", nargs="+", choices=(*SCENARIOS, "start"), metavar="SCENARIO")
    cli.add_argument("--control", action="store_true", help="both sides direct: the noise")
    cli.add_argument("--out", type=Path, default=Path("build/bench.json"))
    return cli.parse_args()


def main() -> int:
    """0: measured, whether or not goals were met; 1: it could not be measured."""
    options = _options()
    plan = QUICK if options.quick else FULL
    every = [name for name in (*SCENARIOS, "start") if options.engine == "demo" or name != "demo"]
    names = [] if options.control else options.only or every
    runs = [control] if options.control else [SCENARIOS[name] for name in names if name != "start"]
    ran_on = machine()
    found: list[Comparison] = []
    try:
        for run in runs:
            for one in run(plan):
                found.append(one)
                print(f"{one.scenario} c={one.concurrency}: {one.ratio:.3f}", file=sys.stderr)
        start = starts() if "start" in names else None
    except (BenchError, LoadError, OSError) as problem:
        print(f"bench: {problem}", file=sys.stderr)
        return 1
    given = {name: str(value) for name, value in vars(options).items()}
    write(options.out, found, start, options=given, ran_on=ran_on)
    print(markdown(found, start))
    return 0


if __name__ == "__main__":
    sys.exit(main())
