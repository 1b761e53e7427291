"""`python -m tests.fakes.hub.measure`: our download against huggingface_hub's own, in turns.

Prints the median of (bytes a second through us ÷ through `snapshot_download`), whole processes
from start to exit; CPU seconds of both; and how far shown progress was from the bytes on disk.
"""

from __future__ import annotations

import asyncio
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from backend.app.hub.cache import HFCacheManager
from backend.app.hub.token_store import TokenStore
from backend.app.workers.hub_layout import Want
from backend.app.workers.hub_protocol import Transfer
from tests.fakes.hub.process import FakeHub, fake_hub

MIB = 1 << 20
ROUNDS = 5
THEIRS = """
import sys
from huggingface_hub import snapshot_download
snapshot_download(sys.argv[1], cache_dir=sys.argv[2], token=False)
"""


def bytes_under(directory: Path) -> int:
    """Of files, finished or not; links and our own notes left out."""
    total = 0
    for name in ("blobs", "partials"):
        for path in directory.glob(f"models--*/{name}/*"):
            try:
                total += path.stat().st_size
            except OSError:
                continue
    return total


def ours(hub: FakeHub, repo: str, cache: Path, errors: list[float]) -> None:
    env = {**os.environ, "HF_ENDPOINT": hub.url}

    def check(transfer: Transfer) -> None:
        if transfer.action == "downloading":
            errors.append(abs(bytes_under(cache) - transfer.done) / transfer.total)

    async def main() -> None:
        manager = HFCacheManager(cache, TokenStore(cache, None), env)
        await manager.artifacts(Want(repo)).fetch(check)

    asyncio.run(main())


def theirs(hub: FakeHub, repo: str, cache: Path) -> None:
    env = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1"}
    command = [sys.executable, "-c", THEIRS, repo, str(cache)]
    subprocess.run(command, env=env, check=True, stderr=subprocess.DEVNULL)


def timed(work: Callable[[Path], None]) -> tuple[float, float]:
    """(seconds, CPU seconds of children)"""
    with tempfile.TemporaryDirectory() as name:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.monotonic()
        work(Path(name))
        seconds = time.monotonic() - began
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, cpu


def main() -> None:
    shapes = {"8 files of 128 MiB": [128 * MIB] * 8, "one file of 1 GiB": [1024 * MIB]}
    with tempfile.TemporaryDirectory() as name, fake_hub(Path(name)) as hub:
        for label, sizes in shapes.items():
            repo = f"bench/n{len(sizes)}"
            hub.add(repo, {f"model-{n}.safetensors": size for n, size in enumerate(sizes)})
            hub.add(repo, {"config.json": "{}"})
            errors: list[float] = []
            ratios, mine, other = [], [], []
            for _ in range(ROUNDS):
                mine.append(timed(lambda cache: ours(hub, repo, cache, errors)))  # noqa: B023
                other.append(timed(lambda cache: theirs(hub, repo, cache)))  # noqa: B023
                ratios.append(other[-1][0] / mine[-1][0])
            rate = sum(sizes) / MIB / statistics.median(seconds for seconds, _ in mine)
            print(
                f"{label}: {rate:.0f} MiB/s; ours / theirs {statistics.median(ratios):.2f}"
                f" ({min(ratios):.2f} to {max(ratios):.2f});"
                f" CPU {statistics.median(c for _, c in mine):.1f} s against"
                f" {statistics.median(c for _, c in other):.1f} s;"
                f" progress off by {100 * max(errors):.2f} % at most"
            )


if __name__ == "__main__":
    main()
