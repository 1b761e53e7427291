"""Speech to text through the gateway, against the same work without it.

Method. One gateway runs as a user would start it, on loopback, with the real NeMo worker. Beside it
runs one process that does the same work with the same parts (decoder, speech detection, cutting,
Canary in batches) and nothing in between: no HTTP, no spool, no queue. The same files go through
both in the same run, in short rounds A B, B A, A B … so that drift of the machine meets both sides
alike; texts must be equal. With c clients the gateway serves c closed-loop clients; the other side
takes the files c at a time, decodes them in threads and gives all their chunks to the model in one
batch. Each round gives one ratio of throughputs (gateway ÷ alone); reported is the median of the
ratios, with the lowest and highest. A first round on each side is not counted. Whoever measures
shares the cores: the clients cost little, but on few cores they cost the gateway's side alone.

Stages are what the gateway tells in `server-timing`, medians for one request: decoding, speech
detection, waiting for the model, and the request's share of its batch in the model. A request's
latency holds the whole batch, not its share.

Model stage: 32 equal clips one by one, as one batch by the worker's own class, and as one batch by
NeMo's `transcribe` on a model restored by NeMo alone. In service: the model seconds per request
with one client ÷ with 32.

Long recordings: 10 min, 1 h, 3 h as one wav each, in this order on one gateway; the kernel's mark
of the highest resident memory is cleared before each. Meanwhile, every one to two seconds, a clip
of 5 s is sent; `alone` is what it takes without company. The wait in batches is counted where it
can be counted exactly: in the worker's own batcher, run in the pipeline's process beside an endless
recording; a batch that runs on arrival counts as one.

Life: from `load?wait=true` to ready, which is proven by a transcription; median of three, files in
the page cache. Memory before, loaded and after is that of the gateway and all its children.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

from tools.bench.audio_figures import (
    CLIP_S,
    Length,
    ModelStage,
    Versus,
    Waits,
    length,
    life,
    model_stage,
    padded,
    repeated,
    versus,
    waits,
)
from tools.bench.audio_report import Result, markdown, write
from tools.bench.audio_sides import Admin, Alone, Clients, Clip, alone, clip_of
from tools.bench.compare import Plan
from tools.bench.gateway import BenchError, Gateway, gateway
from tools.bench.report import machine
from tools.demo_models.manifest import Recording, load

FULL, QUICK = Plan(rounds=9, round_s=6), Plan(rounds=3, round_s=2)
CLIENTS = (1, 8, 32)
LENGTHS_S = (600, 3600, 3 * 3600)
QUICK_LENGTHS_S = (60, 600)
LONG_S = 600
WAITS = 50
FIGURES = ("clips", "long", "model", "waits", "lengths", "life")
T = TypeVar("T")


class Bench:
    """One gateway, one pipeline, and the files for both."""

    def __init__(self, running: Gateway, side: Alone, directory: Path, plan: Plan) -> None:
        self._gateway = running
        self._alone = side
        self._directory = directory
        self._plan = plan
        self._recordings = load().speech.recordings

    def clips(self, *, times: bool) -> Iterator[Versus]:
        """Every sample recording of one sentence, in its own format and language."""
        files = [clip_of(r.where, r.language) for r in self._recordings if len(r.turns) == 1]
        through, cpu_s = Clients(self._gateway.port, times=times), self._gateway.cpu_s
        for clients in CLIENTS:
            yield versus("clips", through, self._alone, files, clients, self._plan, cpu_s)

    def long(self, *, times: bool) -> Versus:
        through, cpu_s = Clients(self._gateway.port, times=times), self._gateway.cpu_s
        files = [self._long(LONG_S)]
        return versus("long", through, self._alone, files, 1, self._plan, cpu_s)

    def model(self) -> ModelStage:
        return model_stage(self._alone, self._clip(), self._plan.rounds)

    def waits(self) -> Waits:
        return waits(self._alone, self._long(LONG_S), self._clip(), WAITS)

    def lengths(self, seconds: tuple[int, ...]) -> Iterator[Length]:
        through, admin = Clients(self._gateway.port, times=True), Admin(self._gateway)
        clip = self._clip()
        through.run([clip], 1)
        for audio_s in seconds:
            long = self._long(audio_s)
            yield length(through, admin, self._gateway, long, clip)
            long.path.unlink()

    def clip_alone(self) -> float:
        """Latency of the clip when nobody else asks."""
        clip = self._clip()
        found = Clients(self._gateway.port, times=True).run([clip] * self._plan.rounds, 1)
        return sorted(found.latencies)[len(found.latencies) // 2]

    def _clip(self) -> Clip:
        path = self._directory / "clip.wav"
        padded(self._english(1)[0].where, path, CLIP_S)
        return Clip(path, "en", CLIP_S)

    def _long(self, seconds: float) -> Clip:
        path = self._directory / f"{seconds}.wav"
        repeated([r.where for r in self._english(3)], path, seconds)
        return Clip(path, "en", path.stat().st_size / 32_000)

    def _english(self, count: int) -> list[Recording]:
        found = [r for r in self._recordings if len(r.turns) == 1 and r.language == "en"]
        return found[:count]


def measure(options: argparse.Namespace) -> Result:
    plan = QUICK if options.quick else FULL
    wanted = options.only or FIGURES
    result = Result()
    model = options.model or load().models["canary"].where
    settings = {"CANARY_MODEL": str(options.model.resolve())} if options.model else {}
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-audio-")))
        running = stack.enter_context(gateway(settings))
        admin = Admin(running)
        if "life" in wanted:
            result.life = _said("life", life(admin))
        admin.load()
        log = directory / "pipeline.log"
        shared = {"demo": admin.is_demo(), "times": options.times}
        side = stack.enter_context(alone(model, log, **shared))
        bench = Bench(running, side, directory, plan)
        if "clips" in wanted:
            for one in bench.clips(times=options.times):
                result.versus.append(_said(f"clips c={one.clients}", one))
        if "long" in wanted:
            result.versus.append(_said("long", bench.long(times=options.times)))
        if "model" in wanted:
            result.model = _said("model", bench.model())
        if "waits" in wanted:
            result.waits = _said("waits", bench.waits())
        if "lengths" in wanted:
            result.clip_alone_s = bench.clip_alone()
            for each in bench.lengths(QUICK_LENGTHS_S if options.quick else LENGTHS_S):
                result.lengths.append(_said(f"{each.audio_s:.0f} s", each))
    return result


def _said(name: str, found: T) -> T:
    print(f"{name}: {found}", file=sys.stderr)
    return found


def _options() -> argparse.Namespace:
    cli = argparse.ArgumentParser(
        prog="python -m tools.bench.audio",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    cli.add_argument("--quick", action="store_true", help="fewer, shorter rounds and recordings")
    cli.add_argument("--only", nargs="+", choices=FIGURES, metavar="FIGURE")
    cli.add_argument("--times", action="store_true", help="with the times of words")
    cli.add_argument("--model", type=Path, help="another .nemo than the demo's")
    cli.add_argument("--out", type=Path, default=Path("build/bench-audio.json"))
    return cli.parse_args()


def main() -> int:
    """0: measured, whether or not goals were met; 1: it could not be measured."""
    options = _options()
    ran_on = machine()
    try:
        result = measure(options)
    except (BenchError, OSError) as problem:
        print(f"bench: {problem}", file=sys.stderr)
        return 1
    given = {name: str(value) for name, value in vars(options).items()}
    write(options.out, result, method=__doc__ or "", options=given, ran_on=ran_on)
    print(markdown(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
