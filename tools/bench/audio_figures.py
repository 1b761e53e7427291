"""What is measured of speech to text, one function a figure."""

from __future__ import annotations

import asyncio
import contextlib
import random
import wave
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Protocol

import numpy as np
import psutil

from tools.bench.audio_sides import Admin, Alone, Clients, Clip, Round
from tools.bench.compare import Plan, percentile
from tools.bench.gateway import BenchError, Gateway
from tools.demo_models.speech import RATE, decode

MODEL_CLIPS = 32
CLIP_S = 5.0
STARTS = 3
LEAST_EACH = 4
"""Files for each client in a round: the first ones all arrive at once, as they never do later."""


class Side(Protocol):
    """Takes all files, so many at a time."""

    def run(self, clips: Sequence[Clip], clients: int) -> Round: ...


@dataclass(frozen=True)
class Versus:
    """The gateway against the pipeline with so many clients. Times in seconds; `stages` are the
    medians for one request, of which `model` is its share of its batch."""

    scenario: str
    clients: int
    rounds: int
    files: int
    audio_s: float
    gateway_s: float
    alone_s: float
    ratio: float
    ratio_low: float
    ratio_high: float
    latency_p50: float
    latency_p99: float
    stages: dict[str, float]
    alone_stages: dict[str, float]
    """All files of a round together."""
    cpu_ms_per_request: float
    """Of the gateway's process."""

    @property
    def speed(self) -> float:
        """Seconds of audio in a second, through the gateway."""
        return self.audio_s / self.gateway_s


@dataclass(frozen=True)
class ModelStage:
    """Seconds for a batch of so many equal clips in one process, medians; ratios of throughputs."""

    clips: int
    one_by_one: float
    batch: float
    nemo: float

    @property
    def gain(self) -> float:
        return self.one_by_one / self.batch

    @property
    def against_nemo(self) -> float:
        return self.nemo / self.batch


@dataclass(frozen=True)
class Waits:
    """Clips beside an endless recording, in the worker's code: batches waited for by each."""

    batches: tuple[int, ...]
    items: float
    """In a batch, median."""


@dataclass(frozen=True)
class Length:
    """One recording of so many seconds. Bytes are the highest resident memory meanwhile."""

    audio_s: float
    seconds: float
    gateway: int
    worker: int
    beside: tuple[float, ...]
    """Latencies, in seconds, of clips of CLIP_S that were sent in the meantime."""
    beside_queue: tuple[float, ...]


@dataclass(frozen=True)
class Life:
    """Loading and unloading, medians; bytes are of the gateway with all its children."""

    load_s: float
    unload_s: float
    rss_before: float
    rss_loaded: float
    rss_after: float
    processes_left: int


def versus(
    scenario: str,
    through: Side,
    alone: Side,
    clips: Sequence[Clip],
    clients: int,
    plan: Plan,
    cpu_s: Callable[[], float],
) -> Versus:
    """Rounds A B, B A, … over the same files. Raises BenchError when the texts differ.

    A round of short clips is several files for each client, of a long one it is that one.
    `cpu_s`: the gateway's CPU seconds so far.
    """
    first = _cycle(clips, max(clients, len(clips)))
    through.run(first, clients)
    warm = alone.run(first, clients)
    each = round(plan.round_s / warm.seconds * len(first) / clients)
    files = first if len(clips) == 1 else _cycle(clips, max(LEAST_EACH, each) * clients)
    with_it: list[Round] = []
    without: list[Round] = []
    cpu = 0.0
    for number in range(plan.rounds):
        for side in (through, alone) if number % 2 == 0 else (alone, through):
            if side is alone:
                without.append(alone.run(files, clients))
                continue
            before = cpu_s()
            with_it.append(through.run(files, clients))
            cpu += cpu_s() - before
        if with_it[-1].texts != without[-1].texts:
            raise BenchError(f"not the same texts: {with_it[-1].texts} {without[-1].texts}")
    ratios = [b.seconds / a.seconds for a, b in zip(with_it, without, strict=True)]
    latencies = [value for one in with_it for value in one.latencies]
    return Versus(
        scenario=scenario,
        clients=clients,
        rounds=plan.rounds,
        files=len(files),
        audio_s=sum(clip.seconds for clip in files),
        gateway_s=median(one.seconds for one in with_it),
        alone_s=median(one.seconds for one in without),
        ratio=median(ratios),
        ratio_low=min(ratios),
        ratio_high=max(ratios),
        latency_p50=median(latencies),
        latency_p99=percentile(latencies, 0.99),
        stages=_stages(with_it),
        alone_stages=_stages(without),
        cpu_ms_per_request=cpu * 1000 / len(files) / plan.rounds,
    )


def _cycle(clips: Sequence[Clip], count: int) -> list[Clip]:
    return [clips[number % len(clips)] for number in range(count)]


def _stages(rounds: Sequence[Round]) -> dict[str, float]:
    return {
        name: median(value for one in rounds for value in one.stages[name])
        for name in rounds[0].stages
    }


def model_stage(alone: Alone, clip: Clip, rounds: int) -> ModelStage:
    """The model without anything around it; a first round is not counted."""
    found = [
        alone.ask("model", path=str(clip.path), language=clip.language, count=MODEL_CLIPS)
        for _ in range(rounds + 1)
    ][1:]
    one_by_one, batch, nemo = (
        median(one[name] for one in found) for name in ("one_by_one", "batch", "nemo")
    )
    return ModelStage(MODEL_CLIPS, one_by_one, batch, nemo)


def waits(alone: Alone, long: Clip, clip: Clip, count: int) -> Waits:
    found = alone.ask("waits", long=str(long.path), clip=str(clip.path), count=count)
    return Waits(tuple(found["batches"]), median(found["items"]))


def length(through: Clients, admin: Admin, gateway: Gateway, long: Clip, clip: Clip) -> Length:
    """A long recording, and short ones now and then while it is being transcribed."""
    watched = [gateway.process, admin.worker()]
    for process in watched:
        forget_peak(process)
    seconds, heard = asyncio.run(_beside(through, long, clip))
    gateway_peak, worker_peak = map(peak, watched)
    return Length(
        audio_s=long.seconds,
        seconds=seconds,
        gateway=gateway_peak,
        worker=worker_peak,
        beside=tuple(latency for latency, _ in heard),
        beside_queue=tuple(queue for _, queue in heard),
    )


async def _beside(
    through: Clients, long: Clip, clip: Clip
) -> tuple[float, list[tuple[float, float]]]:
    heard: list[tuple[float, float]] = []
    dice = random.Random(1)

    async with through.session(2) as session:

        async def now_and_then() -> None:
            while True:
                await asyncio.sleep(1 + dice.random())
                _, latency, stages = await through.ask(session, clip)
                heard.append((latency, stages["queue"]))

        others = asyncio.create_task(now_and_then())
        _, seconds, _ = await through.ask(session, long)
        others.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await others
    return seconds, heard


def life(admin: Admin, rounds: int = STARTS) -> Life:
    """Of a model that is idle, and is idle again afterwards. A first load is not counted."""
    admin.load()
    admin.unload()
    before, loads, loaded, unloads, after, left = [], [], [], [], [], 0
    for _ in range(rounds):
        before.append(admin.family_rss())
        loads.append(admin.load())
        loaded.append(admin.family_rss())
        gone = admin.unload()
        unloads.append(gone.seconds)
        left = max(left, gone.processes)
        after.append(admin.family_rss())
    return Life(
        load_s=median(loads),
        unload_s=median(unloads),
        rss_before=median(before),
        rss_loaded=median(loaded),
        rss_after=median(after),
        processes_left=left,
    )


def forget_peak(process: psutil.Process) -> None:
    Path(f"/proc/{process.pid}/clear_refs").write_text("5")


def peak(process: psutil.Process) -> int:
    """Highest resident memory since `forget_peak`, in bytes."""
    status = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


# ---- material ---------------------------------------------------------------------------------


def padded(source: Path, target: Path, seconds: float) -> None:
    """A recording with silence behind it, so long in all."""
    samples = _pcm(source)
    _write(target, iter([samples, bytes(max(0, round(seconds * RATE) * 2 - len(samples)))]))


def repeated(sources: Sequence[Path], target: Path, seconds: float, pause_s: float = 1.5) -> None:
    """Recordings with pauses, again and again, for at least so long."""
    lap = b"".join(
        part for one in sources for part in (_pcm(one), bytes(round(pause_s * RATE) * 2))
    )
    laps = -(-round(seconds * RATE) * 2 // len(lap))
    _write(target, (lap for _ in range(laps)))


def _pcm(path: Path) -> bytes:
    return np.rint(decode(path) * 32767).astype("<i2").tobytes()


def _write(target: Path, parts: Iterator[bytes]) -> None:
    with wave.open(str(target), "wb") as writer:
        writer.setparams((1, 2, RATE, 0, "NONE", ""))
        for part in parts:
            writer.writeframes(part)
