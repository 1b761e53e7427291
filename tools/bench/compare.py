"""Interleaved rounds on two targets, and what they come to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from tools.bench.load import Load, Sample, Target, measure


@dataclass(frozen=True)
class Plan:
    """How long to measure: `rounds` on each side of about `round_s` seconds each."""

    rounds: int
    round_s: float


@dataclass(frozen=True)
class Meter:
    """What is read before and after each round: the gateway's CPU seconds so far, and how many
    requests each engine has received (empty where engines do not tell)."""

    cpu_s: float = 0
    received: tuple[int, ...] = ()


@dataclass(frozen=True)
class Side:
    """One side's figures over all rounds; `ttft` in milliseconds."""

    tokens_per_s: float
    requests_per_s: float
    ttft_p50: float
    ttft_p99: float


@dataclass(frozen=True)
class Comparison:
    """The gateway against the engine itself, at one concurrency. Times in milliseconds."""

    scenario: str
    concurrency: int
    requests_per_round: int
    rounds: int
    gateway: Side
    direct: Side
    ratio: float
    ratio_low: float
    ratio_high: float
    added_ttft_p50: float
    added_ttft_p99: float
    cpu_ms_per_request: float
    requests_per_cpu_s: float
    events_per_cpu_s: float
    received: tuple[int, ...]
    """Requests that the gateway gave to each engine."""


def percentile(values: Iterable[float], share: float) -> float:
    """The value below which `share` (0 to 1) of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def _side(samples: Sequence[Sample]) -> Side:
    ttft = [value * 1000 for sample in samples for value in sample.ttft]
    return Side(
        tokens_per_s=median(sample.tokens / sample.seconds for sample in samples),
        requests_per_s=median(sample.requests / sample.seconds for sample in samples),
        ttft_p50=percentile(ttft, 0.5),
        ttft_p99=percentile(ttft, 0.99),
    )


def _per_round(concurrency: int, round_s: float, warm: Sample) -> int:
    """How many requests fill `round_s`, a multiple of the concurrency and at least two each."""
    waves = round_s * warm.requests / warm.seconds / concurrency
    return concurrency * max(2, round(waves))


def compare(
    scenario: str,
    through: Target,
    direct: Target,
    load: Load,
    concurrency: int,
    plan: Plan,
    read: Callable[[], Meter],
) -> Comparison:
    """Rounds A B, B A, …; `read` is called before and after each of the gateway's."""
    count = 2 * concurrency
    measure(through, load, concurrency, count)
    count = _per_round(concurrency, plan.round_s, measure(direct, load, concurrency, count))
    with_it: list[Sample] = []
    without: list[Sample] = []
    meters: list[tuple[Meter, Meter]] = []
    for number in range(plan.rounds):
        for target in (through, direct) if number % 2 == 0 else (direct, through):
            if target is direct:
                without.append(measure(direct, load, concurrency, count))
                continue
            before = read()
            with_it.append(measure(through, load, concurrency, count))
            meters.append((before, read()))
    cpu = sum(after.cpu_s - before.cpu_s for before, after in meters)
    grown = [zip(before.received, after.received, strict=True) for before, after in meters]
    received = [[after - before for before, after in each] for each in grown]
    pairs = list(zip(with_it, without, strict=True))
    ratios = [b.seconds / a.seconds for a, b in pairs]
    added = [percentile(a.ttft, 0.5) - percentile(b.ttft, 0.5) for a, b in pairs]
    gateway, alone = _side(with_it), _side(without)
    served = sum(sample.requests for sample in with_it)
    return Comparison(
        scenario=scenario,
        concurrency=concurrency,
        requests_per_round=count,
        rounds=plan.rounds,
        gateway=gateway,
        direct=alone,
        ratio=median(ratios),
        ratio_low=min(ratios),
        ratio_high=max(ratios),
        added_ttft_p50=median(added) * 1000,
        added_ttft_p99=gateway.ttft_p99 - alone.ttft_p99,
        cpu_ms_per_request=cpu / served * 1000,
        requests_per_cpu_s=served / cpu if cpu else 0,
        events_per_cpu_s=sum(sample.events for sample in with_it) / cpu if cpu else 0,
        received=tuple(sum(column) for column in zip(*received, strict=True)),
    )
