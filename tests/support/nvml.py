"""NVML as `pynvml` shows it: the real module and its real errors, with the driver's answers put in.

The shapes follow nvml.h and what `nvidia-smi -q` prints on a DGX with eight H200.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

MIB = 1 << 20
H200: dict[str, Any] = {
    "name": "NVIDIA H200",
    "memory": (143_771 * MIB, 1_126 * MIB),
    "load": 37,
    "temperature": 34,
    "power": 118_402,
    "limit": 700_000,
    "reasons": 0,
    "processes": {},
}


def dgx(count: int = 8) -> list[dict[str, Any]]:
    """As many H200; `lost` in one of them is the error that its handle gives."""
    return [H200 | {"uuid": f"GPU-{i:08d}-0000-0000-0000-000000000000"} for i in range(count)]


def install(
    monkeypatch: pytest.MonkeyPatch,
    devices: list[dict[str, Any]] | None,
    *,
    driver: str = "550.90.07",
    cuda: int = 12040,
    unknown: tuple[str, ...] = (),
) -> None:
    """Let `pynvml` answer with `devices`; None: there is no driver here.

    `unknown`: functions that this driver does not support.
    """

    def init() -> None:
        if devices is None:
            raise pynvml.NVMLError_LibraryNotFound

    def handle(index: int) -> Mapping[str, Any]:
        assert devices is not None
        if "lost" in devices[index]:
            raise pynvml.NVMLError(devices[index]["lost"])
        return devices[index]

    def memory(device: Mapping[str, Any]) -> SimpleNamespace:
        total, used = device["memory"]
        return SimpleNamespace(total=total, used=used, free=total - used)

    def processes(device: Mapping[str, Any]) -> list[SimpleNamespace]:
        # of processes in another namespace the driver does not tell the memory
        return [SimpleNamespace(pid=p, usedGpuMemory=m) for p, m in device["processes"].items()]

    answers: dict[str, Any] = {
        "nvmlInit": init,
        "nvmlShutdown": lambda: None,
        "nvmlSystemGetDriverVersion": lambda: driver,
        "nvmlSystemGetCudaDriverVersion_v2": lambda: cuda,
        "nvmlDeviceGetCount": lambda: len(devices or ()),
        "nvmlDeviceGetHandleByIndex": handle,
        "nvmlDeviceGetMemoryInfo": memory,
        "nvmlDeviceGetUUID": lambda device: device["uuid"],
        "nvmlDeviceGetName": lambda device: device["name"],
        "nvmlDeviceGetUtilizationRates": lambda device: SimpleNamespace(gpu=device["load"]),
        "nvmlDeviceGetTemperature": lambda device, sensor: device["temperature"],
        "nvmlDeviceGetPowerUsage": lambda device: device["power"],
        "nvmlDeviceGetEnforcedPowerLimit": lambda device: device["limit"],
        "nvmlDeviceGetCurrentClocksEventReasons": lambda device: device["reasons"],
        "nvmlDeviceGetCurrentClocksThrottleReasons": lambda device: device["reasons"],
        "nvmlDeviceGetComputeRunningProcesses": processes,
    }

    def refuse(*_: object) -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    for name, answer in answers.items():
        monkeypatch.setattr(pynvml, name, refuse if name in unknown else answer)
