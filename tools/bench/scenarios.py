"""What is measured: each scenario starts what it needs and yields its comparisons."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from tests.support.engine import fake_engine, stats
from tools.bench.compare import Comparison, Meter, Plan, compare
from tools.bench.gateway import fake_settings, gateway
from tools.bench.load import Target, chats

TOKENS = 64
CONCURRENCY = (1, 8, 32)
IMAGE_BYTES = 10_000_000
PACED = ("--fake-tps", "100")
PACED_S = TOKENS / 100
"""How long a paced engine takes for an answer."""
STARTS = 5


@dataclass(frozen=True)
class Start:
    """Medians over starts: seconds to /healthz, and resident bytes then."""

    seconds: float
    rss: float


def _through_gateway(
    scenario: str,
    plan: Plan,
    settings: dict[str, str],
    *,
    concurrency: Sequence[int] = CONCURRENCY,
    image_bytes: int = 0,
    replicas: int = 1,
    spread_s: float = 0,
) -> Iterator[Comparison]:
    load = chats(TOKENS, image_bytes=image_bytes, spread_s=spread_s)
    with gateway(settings) as running:
        running.load()
        sockets = running.sockets(replicas)
        ends = Target(port=running.port), Target(sockets=sockets)
        fake = "QWEN_PYTHON" in settings

        def read() -> Meter:
            received = tuple(stats(sock)["requests"] for sock in sockets) if fake else ()
            return Meter(running.cpu_s(), received)

        for level in concurrency:
            yield compare(scenario, *ends, load, level, plan, read)


def demo(plan: Plan) -> Iterator[Comparison]:
    """The real vLLM with the demo model."""
    yield from _through_gateway("demo", plan, {})


def paced(plan: Plan) -> Iterator[Comparison]:
    """A fake engine at a fixed token rate: latency without the engine's own noise."""
    yield from _through_gateway("paced", plan, fake_settings(*PACED))


def spread(plan: Plan) -> Iterator[Comparison]:
    """The paced engine with arrivals spread evenly, as users come, instead of all at once."""
    settings = fake_settings(*PACED)
    yield from _through_gateway("spread", plan, settings, concurrency=(8, 32), spread_s=PACED_S)


def unlimited(plan: Plan) -> Iterator[Comparison]:
    """A fake engine without a limit: the gateway's ceiling."""
    yield from _through_gateway("unlimited", plan, fake_settings())


def images(plan: Plan) -> Iterator[Comparison]:
    """10 MB images in the request."""
    settings = fake_settings(*PACED)
    levels = (1, 4)
    yield from _through_gateway(
        "images", plan, settings, concurrency=levels, image_bytes=IMAGE_BYTES
    )


def replicas(plan: Plan) -> Iterator[Comparison]:
    """Two paced engines behind one gateway."""
    settings = fake_settings(*PACED, replicas=2)
    yield from _through_gateway("replicas", plan, settings, concurrency=(8, 32), replicas=2)


def control(plan: Plan) -> Iterator[Comparison]:
    """Both sides straight to one fake engine: the noise of the method."""
    for name, flags in (("control paced", PACED), ("control unlimited", ())):
        with fake_engine(*flags) as engine:
            ends = Target(sockets=(engine.sock,)), Target(sockets=(engine.sock,))
            for level in CONCURRENCY:
                yield compare(name, *ends, chats(TOKENS), level, plan, Meter)


SCENARIOS: dict[str, Callable[[Plan], Iterator[Comparison]]] = {
    "demo": demo,
    "paced": paced,
    "spread": spread,
    "unlimited": unlimited,
    "images": images,
    "replicas": replicas,
}


def starts(count: int = STARTS) -> Start:
    """Start and stop an empty gateway; the first start, which caches bytecode, is not counted."""
    seconds, rss = [], []
    for number in range(count + 1):
        with gateway({}) as running:
            if number:
                seconds.append(running.start_s)
                rss.append(running.rss)
    return Start(median(seconds), median(rss))
