"""What GPUs there are and how full they are: NVML, else GPUtil (`nvidia-smi`), else none."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import Any

MIB = 1024 * 1024

_THROTTLE = {
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x20: "software thermal",
    0x40: "hardware thermal",
    0x80: "power brake",
}
"""NVML's clocks-event reasons that mean trouble (nvml.h, nvmlClocksEventReasons)."""


@dataclass(frozen=True)
class Gpu:
    """One device. Memory in bytes; `index` as `nvidia-smi` numbers it."""

    index: int
    uuid: str
    name: str
    memory_total: int
    memory_used: int
    load: float | None = None
    """Utilisation in percent."""
    temperature: float | None = None
    """Degrees Celsius."""
    power: float | None = None
    """Watts."""
    power_limit: float | None = None
    throttling: tuple[str, ...] = ()
    processes: dict[int, int] = field(default_factory=dict)
    """pid -> bytes, as far as the driver tells; inside a container often the host's pids."""

    @property
    def memory_free(self) -> int:
        return self.memory_total - self.memory_used


@dataclass(frozen=True)
class Reading:
    """One look at all devices. `probe` names what answered; `problems` say why others did not."""

    probe: str
    gpus: tuple[Gpu, ...]
    problems: tuple[str, ...] = ()


def visible(gpus: list[Gpu], mask: str | None) -> list[Gpu]:
    """What `CUDA_VISIBLE_DEVICES` leaves of them; indices and UUIDs are understood."""
    if mask is None:
        return gpus
    chosen: list[Gpu] = []
    for token in (part.strip() for part in mask.split(",")):
        found = [g for g in gpus if token and (str(g.index) == token or g.uuid.startswith(token))]
        if not found:
            break  # CUDA stops at the first id it does not know
        chosen.extend(g for g in found if g not in chosen)
    return chosen


def read_gpus(mask: str | None) -> Reading:
    """Ask the probes in turn. Blocking (milliseconds; a broken driver may take seconds)."""
    problems = []
    for name, probe in (("nvml", _nvml), ("gputil", _gputil)):
        try:
            gpus = probe()
        except Exception as exc:  # each library has error types of its own
            problems.append(f"{name}: {exc or type(exc).__name__}")
            continue
        if gpus:
            return Reading(name, tuple(visible(gpus, mask)), tuple(problems))
        problems.append(f"{name}: no device")
    return Reading("none", (), tuple(problems))


def _nvml() -> list[Gpu]:
    import pynvml

    pynvml.nvmlInit()
    try:
        return [_nvml_gpu(pynvml, index) for index in range(pynvml.nvmlDeviceGetCount())]
    finally:
        pynvml.nvmlShutdown()


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _nvml_gpu(nvml: Any, index: int) -> Gpu:
    device = nvml.nvmlDeviceGetHandleByIndex(index)
    memory = nvml.nvmlDeviceGetMemoryInfo(device)

    def ask(question: Any, *args: Any) -> Any:
        with contextlib.suppress(nvml.NVMLError):
            return question(device, *args)
        return None

    use = ask(nvml.nvmlDeviceGetUtilizationRates)
    power, limit = ask(nvml.nvmlDeviceGetPowerUsage), ask(nvml.nvmlDeviceGetEnforcedPowerLimit)
    reasons = ask(nvml.nvmlDeviceGetCurrentClocksThrottleReasons) or 0
    running = ask(nvml.nvmlDeviceGetComputeRunningProcesses) or []
    return Gpu(
        index=index,
        uuid=_text(nvml.nvmlDeviceGetUUID(device)),
        name=_text(nvml.nvmlDeviceGetName(device)),
        memory_total=int(memory.total),
        memory_used=int(memory.used),
        load=None if use is None else float(use.gpu),
        temperature=ask(nvml.nvmlDeviceGetTemperature, nvml.NVML_TEMPERATURE_GPU),
        power=None if power is None else power / 1000,
        power_limit=None if limit is None else limit / 1000,
        throttling=tuple(words for bit, words in _THROTTLE.items() if reasons & bit),
        processes={p.pid: int(p.usedGpuMemory or 0) for p in running},
    )


def _gputil() -> list[Gpu]:
    import GPUtil

    return [
        Gpu(
            index=int(g.id),
            uuid=str(g.uuid),
            name=str(g.name),
            memory_total=int(g.memoryTotal * MIB),
            memory_used=int(g.memoryUsed * MIB),
            load=round(float(g.load) * 100, 1),
            temperature=float(g.temperature),
        )
        for g in GPUtil.getGPUs()
    ]
