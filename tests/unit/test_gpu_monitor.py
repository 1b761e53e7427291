"""GPUMonitor over an injected probe: what it keeps and says, and a driver that hangs."""

from __future__ import annotations

import asyncio
import logging
import threading
from pathlib import Path

import pytest

from backend.app.gpu import monitor as module
from backend.app.gpu.monitor import SILENT, GPUMonitor
from backend.app.gpu.probe import Gpu, Reading
from backend.app.waiting import Bounded, within

H200 = 143_771 << 20


def dgx(count: int = 8) -> tuple[Gpu, ...]:
    return tuple(
        Gpu(i, f"GPU-{i:08d}", "NVIDIA H200", H200, 1 << 30, load=1.0, temperature=30.0)
        for i in range(count)
    )


def test_samples_are_kept_and_problems_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    readings = [Reading("nvml", dgx()), Reading("nvml", dgx(7), ("NVML: GPU 7: GPU is lost",))]
    readings += [Reading("none", (), ("NVML: driver gone",))] * 3
    readings += [Reading("nvml", dgx())]
    left = iter(readings)

    async def body() -> None:
        monitor = GPUMonitor(lambda: next(left), tmp_path)
        for _ in readings:
            await monitor.sample()
        assert [len(s.reading.gpus) for s in monitor.history] == [8, 7, 0, 0, 0, 8]
        assert monitor.latest is not None
        assert monitor.latest.system.memory_total > 0
        assert monitor.latest.system.disk_free
        assert not monitor.stale

    with caplog.at_level(logging.INFO):
        asyncio.run(body())
    assert [r.message for r in caplog.records if r.name == module.__name__] == [
        "GPUs are read by nvml: 8 visible",
        "GPU probe: NVML: GPU 7: GPU is lost",
        "GPUs are read by nvml: 7 visible",
        "GPU probe: NVML: driver gone",
        "GPU probe: no longer: NVML: GPU 7: GPU is lost",
        "GPUs are read by none: 0 visible",
        "GPU probe: no longer: NVML: driver gone",
        "GPUs are read by nvml: 8 visible",
    ]


def test_the_history_holds_five_minutes(tmp_path: Path) -> None:
    monitor = GPUMonitor(lambda: Reading("none", ()), tmp_path)
    assert monitor.history.maxlen == 150


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


def test_a_driver_that_hangs_leaves_the_gpus_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop turns, the machine is sampled on, and the status says that the GPUs are old."""
    hang, calls = threading.Event(), list[int]()

    def read() -> Reading:
        calls.append(1)
        if len(calls) == 2:
            hang.wait(60)
        return Reading("nvml", dgx())

    async def body() -> None:
        monkeypatch.setattr(module, "STALE_S", 0.0)
        monitor = GPUMonitor(Bounded(read, 0.05), tmp_path)
        first = await monitor.sample()
        for _ in range(3):
            stuck = await monitor.sample()
        assert stuck.reading.gpus == first.reading.gpus
        assert stuck.reading.problems == (SILENT,)
        assert stuck.read_at == first.read_at < first.at < stuck.at
        assert monitor.stale
        assert len(calls) == 2, "no second thread joins the one that hangs"
        hang.set()
        monkeypatch.setattr(module, "STALE_S", 60.0)
        again = await monitor.sample()
        assert (again.reading.problems, monitor.stale) == ((), False)

    asyncio.run(body())


def test_a_driver_that_hangs_from_the_start(tmp_path: Path) -> None:
    async def body() -> None:
        hang = threading.Event()
        monitor = GPUMonitor(Bounded(lambda: hang.wait(60) and Reading("", ()), 0.05), tmp_path)  # type: ignore[arg-type]
        sample = await monitor.sample()
        assert (sample.reading, monitor.stale) == (Reading("none", (), (SILENT,)), True)
        hang.set()

    asyncio.run(body())


def test_a_slow_driver_does_not_stop_the_loop(tmp_path: Path) -> None:
    async def body() -> None:
        turned = threading.Event()

        def slow() -> Reading:
            assert turned.wait(20), "the loop did not turn"
            return Reading("none", ())

        sampling = asyncio.ensure_future(GPUMonitor(slow, tmp_path).sample())
        for _ in range(100):
            await asyncio.sleep(0)
        turned.set()
        await within(20, sampling)

    asyncio.run(body())


def test_it_runs_by_itself_and_survives_a_broken_probe(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "INTERVAL_S", 0.001)
    calls = []

    def read() -> Reading:
        calls.append(1)
        if len(calls) < 4:
            raise RuntimeError("driver")
        return Reading("none", ())

    async def body() -> None:
        seen = asyncio.Event()
        monitor = GPUMonitor(read, tmp_path, lambda sample: seen.set())
        monitor.begin()
        await within(20, seen.wait())
        await monitor.close()

    asyncio.run(body())
    assert sum("could not be sampled" in record.message for record in caplog.records) == 1


def test_a_bounded_call_gives_its_result_and_its_errors() -> None:
    assert Bounded(lambda: 7, 20)() == 7
    with pytest.raises(ZeroDivisionError):
        Bounded(lambda: 1 // 0, 20)()
