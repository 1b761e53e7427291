"""A bench that counted broken answers would flatter: its generator must notice them."""

from __future__ import annotations

import pytest

from tests.support.engine import fake_engine, stats
from tools.bench.compare import Meter, Plan, compare
from tools.bench.load import LoadError, Target, chats, measure

LOAD = chats(4)


def test_counts_requests_tokens_and_events() -> None:
    with fake_engine() as one, fake_engine() as two:
        target = Target(sockets=(one.sock, two.sock))
        sample = measure(target, LOAD, concurrency=2, count=10)
        received = [stats(engine.sock)["completed"] for engine in (one, two)]
    assert sum(received) == sample.requests == 10
    assert min(received) > 0
    assert sample.tokens == 40
    assert sample.events == 10 * 7  # role, four tokens, usage, [DONE]
    assert all(0 < first <= total for first, total in zip(sample.ttft, sample.total, strict=True))


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (("--fake-unclosed-stream",), "incomplete"),
        (("--fake-500-on", "story"), "500"),
        (("--fake-crash-after-requests", "1"), "connection lost"),
    ],
)
def test_broken_answers_are_errors(flags: tuple[str, ...], problem: str) -> None:
    with fake_engine(*flags) as engine, pytest.raises(LoadError, match=problem):
        measure(Target(sockets=(engine.sock,)), LOAD, concurrency=1, count=3)


def test_images_are_sent_whole() -> None:
    load = chats(2, image_bytes=100_000)
    with fake_engine() as engine:
        measure(Target(sockets=(engine.sock,)), load, concurrency=1, count=1)
        assert stats(engine.sock)["bodies_bytes"] == len(load.bodies[0]) > 130_000


def test_cpu_and_shares_belong_to_the_gateways_rounds() -> None:
    clock = iter(range(1000))
    with fake_engine() as engine:
        target, direct = Target(sockets=(engine.sock,)), Target(sockets=(engine.sock, engine.sock))

        def read() -> Meter:
            return Meter(next(clock), (stats(engine.sock)["requests"],))

        plan = Plan(rounds=3, round_s=0.001)
        found = compare("x", target, direct, LOAD, 2, plan, read)
    served = found.requests_per_round * 3
    assert found.received == (served,)
    assert found.cpu_ms_per_request == pytest.approx(3 / served * 1000)
    assert found.ratio_low <= found.ratio <= found.ratio_high
