"""What the probes make of a driver's answers: eight H200, none, one lost, `nvidia-smi` alone."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pynvml
import pytest

from backend.app.gpu.probe import Gpu, gpu_reader, read_gpus, visible
from tests.support import nvml
from tests.support.pythons import ROOT, gateway_python, pythons

ROW = "0, GPU-1234, 17, 143771, 1024, 142747, 550.90.07, NVIDIA H200, 1, Disabled, Disabled, 31"


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH on which there is nothing but what a test puts there."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def smi(directory: Path, text: str, code: int = 0) -> None:
    program = directory / "nvidia-smi"
    program.write_text(f"#!/bin/sh\necho '{text}'\nexit {code}\n")
    program.chmod(0o755)


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
    eight = [Gpu(i, f"GPU-{i:08d}", "NVIDIA H200", 1 << 37, 0) for i in range(8)]
    assert [gpu.index for gpu in visible(eight, mask)] == seen


def test_eight_h200(monkeypatch: pytest.MonkeyPatch) -> None:
    devices = nvml.dgx()
    devices[3] |= {"reasons": 0x4 | 0x20 | 0x1, "processes": {4711: 60 << 30, 4712: None}}
    nvml.install(monkeypatch, devices)
    reading = read_gpus(None)
    assert (reading.probe, reading.problems) == ("nvml", ())
    assert (reading.driver, reading.cuda) == ("550.90.07", "12.4")
    assert [gpu.index for gpu in reading.gpus] == list(range(8))
    first, busy = reading.gpus[0], reading.gpus[3]
    assert first == Gpu(
        index=0,
        uuid="GPU-00000000-0000-0000-0000-000000000000",
        name="NVIDIA H200",
        memory_total=143_771 << 20,
        memory_used=1_126 << 20,
        load=37.0,
        temperature=34.0,
        power=118.402,
        power_limit=700.0,
    )
    assert busy.throttling == ("power cap", "software thermal")
    assert busy.processes == {4711: 60 << 30, 4712: 0}


def test_a_lost_gpu_costs_no_other_and_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    devices = nvml.dgx()
    nvml.install(monkeypatch, devices)
    assert len(read_gpus(None).gpus) == 8
    devices[5]["lost"] = pynvml.NVML_ERROR_GPU_IS_LOST
    reading = read_gpus(None)
    assert [gpu.index for gpu in reading.gpus] == [0, 1, 2, 3, 4, 6, 7]
    assert reading.probe == "nvml"
    assert reading.problems == ("NVML: GPU 5: GPU is lost",)


def test_what_a_driver_does_not_know_stays_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Older drivers, and GPUs cut into MIG slices."""
    unknown = (
        "nvmlDeviceGetUtilizationRates",
        "nvmlDeviceGetPowerUsage",
        "nvmlDeviceGetEnforcedPowerLimit",
        "nvmlDeviceGetTemperature",
        "nvmlDeviceGetCurrentClocksEventReasons",
        "nvmlDeviceGetComputeRunningProcesses",
        "nvmlSystemGetCudaDriverVersion_v2",
    )
    devices = nvml.dgx(1)
    devices[0]["reasons"] = 0x8
    nvml.install(monkeypatch, devices, unknown=unknown)
    reading = read_gpus(None)
    (gpu,) = reading.gpus
    assert (gpu.load, gpu.power, gpu.power_limit, gpu.temperature) == (None,) * 4
    assert gpu.throttling == ("hardware slowdown",)  # by the name before driver 535
    assert reading.cuda is None


def test_without_a_driver_each_probe_says_why(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    nvml.install(monkeypatch, None)
    reading = read_gpus(None)
    assert (reading.probe, reading.gpus) == ("none", ())
    assert reading.problems == (
        "NVML: libnvidia-ml.so.1 not found",
        "GPUtil: nvidia-smi not found",
    )


def test_the_real_library_says_so_too(path: Path) -> None:
    """On a machine with a driver this reads its GPUs instead."""
    reading = read_gpus(None)
    assert reading.gpus or reading.problems[0] == "NVML: libnvidia-ml.so.1 not found"


def test_a_driver_without_devices(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    nvml.install(monkeypatch, [])
    smi(path, "No devices were found", 6)
    assert read_gpus(None).problems == (
        "NVML: no device",
        "GPUtil: nvidia-smi does not list GPUs; run it to see why",
    )


def test_a_mask_that_hides_everything_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml.install(monkeypatch, nvml.dgx())
    reading = read_gpus("")
    assert reading.gpus == ()
    assert reading.problems == ("CUDA_VISIBLE_DEVICES= hides all 8 GPUs that are here",)


def test_gputil_reads_nvidia_smi(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    nvml.install(monkeypatch, None)
    smi(path, ROW)
    reading = read_gpus(None)
    assert (reading.probe, reading.driver, reading.cuda) == ("gputil", "550.90.07", None)
    (gpu,) = reading.gpus
    assert gpu == Gpu(0, "GPU-1234", "NVIDIA H200", 143_771 << 20, 1_024 << 20, 17.0, 31.0)
    assert reading.problems == ("NVML: libnvidia-ml.so.1 not found",)


def test_gputil_and_figures_that_are_not_there(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    nvml.install(monkeypatch, None)
    smi(path, ROW.replace(" 17,", " [N/A],").replace(" 31", " [N/A]"))
    (gpu,) = read_gpus(None).gpus
    assert (gpu.load, gpu.temperature) == (None, None)


@pytest.mark.parametrize("text", ["NVIDIA-SMI has failed because it could not", "1, 2", ""])
def test_gputil_and_a_broken_nvidia_smi(
    monkeypatch: pytest.MonkeyPatch, path: Path, text: str
) -> None:
    nvml.install(monkeypatch, None)
    smi(path, text, 9)
    reading = read_gpus(None)
    assert reading.probe == "none"
    assert reading.problems[1] == "GPUtil: nvidia-smi does not list GPUs; run it to see why"


def test_a_mask_is_given_to_the_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml.install(monkeypatch, nvml.dgx())
    assert [gpu.index for gpu in gpu_reader("6,7")().gpus] == [6, 7]


@pytest.mark.parametrize("version", list(pythons()))
def test_gputil_works_on_every_python(version: str, tmp_path: Path) -> None:
    """It imports distutils, which Python 3.12 no longer has: setuptools brings it."""
    smi(tmp_path, ROW)
    code = "from backend.app.gpu import probe; print(probe._gputil().gpus[0].name)"
    asked = subprocess.run(
        [gateway_python(version), "-c", code],
        cwd=ROOT,
        env={"PATH": str(tmp_path), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert asked.stdout == "NVIDIA H200\n", asked.stderr
