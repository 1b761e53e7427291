"""Compare `EngineClient` with aiohttp: 64 SSE events of about 200 bytes over a Unix socket.

The server is a bare asyncio protocol in a process of its own; both clients run in this one, in
alternating rounds. Ratios are taken per round, their median is reported. First the server writes
as fast as it can, so that several events are read at once; then it pauses between two, as an
engine does, and each event is read by itself.

    python -m tools.bench.client_compare [--rounds 9] [--requests 400] [--loop uvloop]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import aiohttp
import uvloop

from backend.app.engines.client import EngineClient
from backend.app.engines.launcher import Address

EVENTS = 64
EVENT = b"data: " + b"x" * 192 + b"\n\n"
FRAME = b"%x\r\n%b\r\n" % (len(EVENT), EVENT)
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
BODY = b'{"model":"qwen","stream":true,"messages":[]}'
HEADERS = ((b"content-type", b"application/json"), (b"accept", b"text/event-stream"))


class Engine(asyncio.Protocol):
    """Answers each request with EVENTS frames, each a write of its own."""

    pause = 0.0
    """Seconds between two events; 0: as fast as they can be written."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.seen = b""

    def data_received(self, data: bytes) -> None:
        self.seen += data
        if self.seen.endswith(BODY):
            self.seen = b""
            self.transport.write(HEAD)
            self.event(EVENTS)

    def event(self, left: int) -> None:
        self.transport.write(FRAME if left else b"0\r\n\r\n")
        loop = asyncio.get_running_loop()
        if left and self.pause:
            loop.call_later(self.pause, self.event, left - 1)
        elif left:
            loop.call_soon(self.event, left - 1)


async def serve(path: str, pause: float) -> None:
    Engine.pause = pause
    server = await asyncio.get_running_loop().create_unix_server(Engine, path, backlog=256)
    print("listening", flush=True)
    await server.serve_forever()


async def measure(one: Callable[[], Awaitable[int]], requests: int, workers: int) -> Sample:
    async def worker() -> None:
        for _ in range(requests // workers):
            if await one() != EVENTS * len(EVENT):
                raise RuntimeError("the answer is not complete")

    wall, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(worker() for _ in range(workers)))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    done = requests // workers * workers
    return done / wall, cpu / done * 1e6


Sample = tuple[float, float]
"""Requests per second, and CPU microseconds of this process per request."""


async def compare(path: str, rounds: int, requests: int) -> None:
    """Print one table. `requests`: how many each client makes in a round; 0: eight per worker."""
    ours = EngineClient(Address(socket=path))
    theirs = aiohttp.ClientSession(
        connector=aiohttp.UnixConnector(path=path, limit=0), auto_decompress=False
    )
    names = {name.decode(): value.decode() for name, value in HEADERS}

    async def with_ours() -> int:
        response = await ours.request(
            "POST", "/v1/chat/completions", headers=HEADERS, body=BODY, head_timeout=60
        )
        size = 0
        while (data := await response.chunk(60)) is not None:
            size += len(data)
        response.close()
        return size

    async def with_aiohttp() -> int:
        size = 0
        timeout = aiohttp.ClientTimeout(total=None, sock_read=60)
        url = "http://engine/v1/chat/completions"
        async with theirs.post(url, data=BODY, headers=names, timeout=timeout) as response:
            async for data in response.content.iter_any():
                size += len(data)
        return size

    print("| concurrency | requests/s: ours | aiohttp | ratio | CPU µs: ours | aiohttp | ratio |")
    print("|---|---|---|---|---|---|---|")
    for workers in (1, 8, 32):
        pairs: list[tuple[Sample, Sample]] = []
        for turn in range(rounds + 1):
            order = (with_ours, with_aiohttp) if turn % 2 else (with_aiohttp, with_ours)
            got = {one: await measure(one, requests or 8 * workers, workers) for one in order}
            if turn:  # the first is a warm-up
                pairs.append((got[with_ours], got[with_aiohttp]))
        cells = []
        for index in (0, 1):
            a = statistics.median(pair[0][index] for pair in pairs)
            b = statistics.median(pair[1][index] for pair in pairs)
            ratio = statistics.median(pair[0][index] / pair[1][index] for pair in pairs)
            cells += [f"{a:.0f}", f"{b:.0f}", f"{ratio:.2f}"]
        print(f"| {workers} | " + " | ".join(cells) + " |", flush=True)
    await theirs.close()
    await ours.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--requests", type=int, default=400)
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="uvloop")
    parser.add_argument("--pause", type=float, default=0.002, help="seconds between two events")
    parser.add_argument("--serve", metavar="SOCKET", help=argparse.SUPPRESS)
    args = parser.parse_args()
    run = uvloop.run if args.loop == "uvloop" else asyncio.run
    if args.serve:
        run(serve(args.serve, args.pause))
        return
    for pause in (0.0, args.pause):
        how = f"one event each {pause * 1e3:g} ms" if pause else "events as fast as they come"
        print(f"\n{args.loop}, {how}\n")
        with server("--loop", args.loop, "--pause", str(pause)) as path:
            run(compare(path, args.rounds, 0 if pause else args.requests))


@contextmanager
def server(*options: str) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "s")
        command = [sys.executable, "-m", __spec__.name, "--serve", path, *options]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            try:
                yield path
            finally:
                process.kill()


if __name__ == "__main__":
    main()
