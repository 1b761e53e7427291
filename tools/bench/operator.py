"""What operating costs: status under load, events to many readers, loads and unloads without end.

Method. Status: `GET /api/admin/status` asked 200 times in a row, on a gateway at rest and while 32
streams run through a paced fake engine (100 tokens a second each); with `--engine demo` while all
three real engines are loaded and the chat model answers 32 streams. Events: 100 readers of
`/api/admin/events` while a model is loaded and unloaded 20 times; the gateway's CPU is its own
process's, less that of as many loads with no reader. Cycles: a model is loaded and unloaded, with
`wait=true`; resident memory, file descriptors, threads and children of the gateway are counted
after the first cycle (what is made once is made then) and after the last. `--engine demo` does five
cycles with each of the three real engines, else it is a hundred with a fake one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from threading import Thread
from typing import Any

import httpx
import psutil

from tools.bench.gateway import Gateway, fake_settings, gateway
from tools.bench.load import Target, chats, measure

ASKED, STREAMS, READERS, EVENT_CYCLES = 200, 32, 100, 20
FAKE_CYCLES, DEMO_CYCLES = 100, 5
PACED = ("--fake-tps", "100")


@dataclass(frozen=True)
class Status:
    """Milliseconds for one status, and its size in bytes."""

    p50_ms: float
    p99_ms: float
    bytes: int


@dataclass(frozen=True)
class FanOut:
    """Of all readers together, over all loads and unloads."""

    events_per_reader: int
    bytes_per_reader: int
    cpu_s: float
    cpu_s_without: float


@dataclass(frozen=True)
class Held:
    """What a gateway holds; `rss` in bytes."""

    rss: int
    fds: int
    threads: int
    children: int


def client(running: Gateway) -> httpx.Client:
    return httpx.Client(base_url=f"http://127.0.0.1:{running.port}", timeout=300, trust_env=False)


def act(http: httpx.Client, key: str, *actions: str) -> None:
    for action in actions:
        http.post(f"/api/admin/models/{key}/{action}?wait=true").raise_for_status()


def status(http: httpx.Client) -> Status:
    times, size = [], 0
    for _ in range(ASKED):
        began = time.perf_counter()
        size = len(http.get("/api/admin/status").raise_for_status().content)
        times.append((time.perf_counter() - began) * 1000)
    times.sort()
    return Status(statistics.median(times), times[int(0.99 * len(times))], size)


@contextmanager
def streams(running: Gateway) -> Iterator[None]:
    """32 streams at a time, until the end of the block."""
    over = False

    def run() -> None:
        while not over:
            measure(Target(port=running.port), chats(64), STREAMS, STREAMS)

    thread = Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over = True
        thread.join()


async def _read(url: str, until: asyncio.Event, found: list[tuple[int, int]]) -> None:
    events = size = 0
    async with (
        httpx.AsyncClient(timeout=None, trust_env=False) as http,
        http.stream("GET", url) as answer,
    ):
        over = asyncio.ensure_future(until.wait())
        chunks = answer.aiter_bytes()
        while True:
            piece = asyncio.ensure_future(anext(chunks))
            await asyncio.wait({piece, over}, return_when=asyncio.FIRST_COMPLETED)
            if not piece.done():
                piece.cancel()
                break
            events += piece.result().count(b"\n\n")
            size += len(piece.result())
    found.append((events, size))


def fan_out(running: Gateway, http: httpx.Client) -> FanOut:
    cycle = ("load", "unload") * EVENT_CYCLES

    async def with_readers() -> list[tuple[int, int]]:
        until, found = asyncio.Event(), list[tuple[int, int]]()
        url = f"http://127.0.0.1:{running.port}/api/admin/events"
        readers = [asyncio.ensure_future(_read(url, until, found)) for _ in range(READERS)]
        await asyncio.to_thread(act, http, "qwen", *cycle)
        until.set()
        await asyncio.wait(readers, timeout=60)
        return found

    before = running.cpu_s()
    act(http, "qwen", *cycle)
    without = running.cpu_s() - before
    before = running.cpu_s()
    found = asyncio.run(with_readers())
    cpu = running.cpu_s() - before
    events, sizes = zip(*found, strict=True)
    return FanOut(int(statistics.median(events)), int(statistics.median(sizes)), cpu, without)


def held(process: psutil.Process) -> Held:
    children = len(process.children(recursive=True))
    return Held(process.memory_info().rss, process.num_fds(), process.num_threads(), children)


def cycles(running: Gateway, http: httpx.Client, keys: list[str], count: int) -> dict[str, Held]:
    for key in keys:
        act(http, key, "load", "unload")
    first = held(running.process)
    for _ in range(count - 1):
        for key in keys:
            act(http, key, "load", "unload")
    return {"after the first": first, "after the last": held(running.process)}


def main() -> None:
    cli = argparse.ArgumentParser(
        prog="python -m tools.bench.operator",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    cli.add_argument("--engine", choices=("fake", "demo"), default="fake")
    found: dict[str, Any] = {}
    if cli.parse_args().engine == "demo":
        with gateway({}) as running, client(running) as http:
            keys = ["qwen", "canary", "pyannote"]
            for key in keys:
                act(http, key, "load")
            with streams(running):
                found["status, three models loaded"] = status(http)
            for key in keys:
                act(http, key, "unload")
            found["cycles"] = cycles(running, http, keys, DEMO_CYCLES)
    else:
        with gateway(fake_settings(*PACED)) as running, client(running) as http:
            found["status at rest"] = status(http)
            act(http, "qwen", "load")
            with streams(running):
                found["status under load"] = status(http)
            act(http, "qwen", "unload")
            found["events"] = fan_out(running, http)
        with gateway(fake_settings()) as running, client(running) as http:
            found["cycles"] = cycles(running, http, ["qwen"], FAKE_CYCLES)
    print(json.dumps(found, indent=1, default=asdict))


if __name__ == "__main__":
    main()
