"""GPUMonitor with an injected probe: eight H200, none, one lost mid-way, a driver that hangs."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path

import pytest

from backend.app.gpu import monitor as module
from backend.app.gpu.monitor import GPUMonitor
from backend.app.gpu.probe import Gpu, Reading, read_gpus, visible

H200 = 143_771 << 20


def dgx(count: int = 8) -> list[Gpu]:
    return [
        Gpu(i, f"GPU-{i:08d}", "NVIDIA H200", H200, 1 << 30, load=1.0, temperature=30.0)
        for i in range(count)
    ]


@pytest.mark.parametrize(
    ("mask", "seen"),
    [
        (None, [0, 1, 2, 3, 4, 5, 6, 7]),
        ("", []),
        ("2,3", [2, 3]),
        ("3, 2", [3, 2]),
        ("GPU-00000005", [5]),
        ("1,9,2", [1]),
        ("1,1", [1]),
        ("-1", []),
    ],
)
def test_the_mask_is_read_as_cuda_reads_it(mask: str | None, seen: list[int]) -> None:
    assert [gpu.index for gpu in visible(dgx(), mask)] == seen


def test_samples_are_kept_and_problems_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    readings = [Reading("nvml", tuple(dgx())), Reading("nvml", tuple(dgx(7)))]
    readings += [Reading("none", (), ("nvml: driver gone",))] * 3
    left = iter(readings)

    async def body() -> None:
        monitor = GPUMonitor(lambda: next(left), tmp_path)
        for _ in readings:
            await monitor.sample()
        assert [len(s.reading.gpus) for s in monitor.history] == [8, 7, 0, 0, 0]
        assert monitor.latest is not None
        assert monitor.latest.system.memory_total > 0
        assert monitor.latest.system.disk_free
        assert not monitor.stale

    with caplog.at_level(logging.INFO):
        asyncio.run(body())
    assert sum("driver gone" in r.message for r in caplog.records) == 1


def test_an_old_sample_is_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> None:
        monitor = GPUMonitor(lambda: Reading("none", ()), tmp_path)
        seen = [monitor.stale]
        await monitor.sample()
        seen.append(monitor.stale)
        monkeypatch.setattr(module, "STALE_S", -1.0)
        seen.append(monitor.stale)
        assert seen == [True, False, True]

    asyncio.run(body())


def test_a_slow_driver_does_not_stop_the_loop(tmp_path: Path) -> None:
    def slow() -> Reading:
        time.sleep(0.3)
        return Reading("none", ())

    async def body() -> None:
        monitor = GPUMonitor(slow, tmp_path)
        sampling = asyncio.ensure_future(monitor.sample())
        turns = 0
        while not sampling.done():
            await asyncio.sleep(0)
            turns += 1
        assert turns > 100

    asyncio.run(body())


def test_it_runs_by_itself_and_survives_a_broken_probe(tmp_path: Path) -> None:
    calls = []

    def read() -> Reading:
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("driver")
        return Reading("none", ())

    async def body() -> None:
        seen = asyncio.Event()
        monitor = GPUMonitor(read, tmp_path, lambda sample: seen.set())
        monitor.begin()
        await asyncio.wait_for(seen.wait(), 20)
        await monitor.close()

    asyncio.run(body())


def test_gputil_reads_a_fake_nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without NVML the answer of `nvidia-smi` is used, as GPUtil reads it."""
    smi = tmp_path / "nvidia-smi"
    row = "0, GPU-1234, 17, 143771, 1024, 142747, 550.1, NVIDIA H200, 1, Disabled, Disabled, 31"
    smi.write_text(f"#!/bin/sh\necho '{row}'\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    reading = read_gpus(None)
    assert reading.probe == "gputil"
    assert reading.gpus[0].memory_total == 143771 << 20
    assert reading.gpus[0].load == 17.0
    assert any(problem.startswith("nvml") for problem in reading.problems)
