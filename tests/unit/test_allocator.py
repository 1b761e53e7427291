"""Memory that is free between blocks that stay is given back, but not at every chance."""

from __future__ import annotations

import psutil
import pytest

from backend.app.workers.allocator import EVERY_S, Trimmer, malloc_trim

BLOCK = 100_000
"""Too small for the C library to map each by itself."""
BLOCKS = 1_000


def test_holes_between_blocks_are_given_back() -> None:
    process = psutil.Process()
    blocks = [bytes(BLOCK) for _ in range(BLOCKS)]
    full = process.memory_info().rss
    del blocks[:-1]  # the last one keeps the heap from shrinking by itself
    malloc_trim()
    assert full - process.memory_info().rss > BLOCK * BLOCKS / 2
    assert len(blocks) == 1


@pytest.mark.parametrize("work_s", [0.1, 1.0, EVERY_S, 3 * EVERY_S])
def test_it_trims_now_and_then(work_s: float) -> None:
    now = 0.0
    trims: list[float] = []
    done = Trimmer(lambda: trims.append(now), lambda: now)
    while now < 20 * EVERY_S:
        now += work_s
        done()
    gaps = [b - a for a, b in zip([0.0, *trims], trims, strict=False)]
    assert len(trims) >= 6
    assert all(EVERY_S <= gap < EVERY_S + work_s + 1e-6 for gap in gaps)
