"""What GPUs there are and how full they are: NVML, else GPUtil (`nvidia-smi`), else none."""

from __future__ import annotations

import contextlib
import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from backend.app.waiting import Bounded

_NO_GPUTIL = ""
try:
    # Here, hence by the main thread before anything runs: GPUtil's `import distutils` makes
    # setuptools' finder import the rest under the global import lock, where it asks for logging's
    # lock. A fork takes these two the other way round, so that a child which is started while
    # another thread imports this would hang the whole gateway for ever.
    import GPUtil
except ImportError as exc:  # distutils comes from setuptools only, since Python 3.12
    _NO_GPUTIL = f"GPUtil: {exc}; are GPUtil and setuptools installed?"

MIB = 1024 * 1024
DEADLINE_S = 10.0
"""How long one look may take."""
FIRST_DEADLINE_S = 60.0
"""The same for the first: without persistence mode a driver wakes up each GPU, for seconds."""

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
    """One look at all devices. `probe` names what answered: nvml, gputil or none.

    `problems` say why others did not, and which device was lost.
    """

    probe: str
    gpus: tuple[Gpu, ...]
    problems: tuple[str, ...] = ()
    driver: str | None = None
    """Of the driver, like 550.90.07."""
    cuda: str | None = None
    """The newest CUDA that the driver can run, like 12.4."""


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
    """Ask the probes in turn. Blocking (milliseconds; a broken driver may hang for ever)."""
    problems: list[str] = []
    for probe in (_nvml, _gputil):
        found = probe()
        problems += found.problems
        if found.gpus:
            left = tuple(visible(list(found.gpus), mask))
            if not left:
                count = len(found.gpus)
                problems.append(f"CUDA_VISIBLE_DEVICES={mask} hides all {count} GPUs that are here")
            return Reading(found.probe, left, tuple(problems), found.driver, found.cuda)
    return Reading("none", (), tuple(problems))


def gpu_reader(mask: str | None, seconds: float = DEADLINE_S) -> Callable[[], Reading]:
    """`read_gpus` that raises asyncio.TimeoutError when the driver hangs."""
    return Bounded(lambda: read_gpus(mask), seconds)


# ---- NVML -----------------------------------------------------------------------------------


def _nvml() -> Reading:
    import pynvml

    try:
        pynvml.nvmlInit()
    except Exception as exc:  # not only NVMLError: a library that is none raises OSError
        return Reading("nvml", (), (f"NVML: {_why(pynvml, exc)}",))
    try:
        return _nvml_reading(pynvml)
    except pynvml.NVMLError as exc:
        return Reading("nvml", (), (f"NVML: {exc}",))
    finally:
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _why(nvml: Any, exc: Exception) -> str:
    if isinstance(exc, nvml.NVMLError_LibraryNotFound):
        return "libnvidia-ml.so.1 not found"
    if isinstance(exc, nvml.NVMLError_DriverNotLoaded):
        return "the NVIDIA driver is not loaded"
    return str(exc) or type(exc).__name__


def _nvml_reading(nvml: Any) -> Reading:
    """Every device that answers; one that is lost is named and costs no other."""
    gpus, problems = [], []
    for index in range(nvml.nvmlDeviceGetCount()):
        try:
            gpus.append(_nvml_gpu(nvml, index))
        except nvml.NVMLError as exc:
            problems.append(f"NVML: GPU {index}: {exc}")
    if not gpus and not problems:
        problems.append("NVML: no device")
    driver, cuda = _ask(nvml, "nvmlSystemGetDriverVersion"), _ask(nvml, _CUDA_VERSION)
    return Reading(
        "nvml",
        tuple(gpus),
        tuple(problems),
        driver=None if driver is None else _text(driver),
        cuda=None if cuda is None else f"{cuda // 1000}.{cuda % 1000 // 10}",
    )


_CUDA_VERSION = "nvmlSystemGetCudaDriverVersion_v2"
_REASONS = ("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons")
"""The name since driver 535, and the one before it."""


def _ask(nvml: Any, question: str, *args: Any) -> Any:
    """None for what this device, driver or version of the library does not know."""
    with contextlib.suppress(nvml.NVMLError, AttributeError):
        return getattr(nvml, question)(*args)
    return None


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _nvml_gpu(nvml: Any, index: int) -> Gpu:
    """Raises NVMLError when the device does not even tell what it is and how full."""
    device = nvml.nvmlDeviceGetHandleByIndex(index)
    memory = nvml.nvmlDeviceGetMemoryInfo(device)
    use = _ask(nvml, "nvmlDeviceGetUtilizationRates", device)
    power = _ask(nvml, "nvmlDeviceGetPowerUsage", device)
    limit = _ask(nvml, "nvmlDeviceGetEnforcedPowerLimit", device)
    heat = _ask(nvml, "nvmlDeviceGetTemperature", device, nvml.NVML_TEMPERATURE_GPU)
    reasons = next((r for q in _REASONS if (r := _ask(nvml, q, device)) is not None), 0)
    running = _ask(nvml, "nvmlDeviceGetComputeRunningProcesses", device) or []
    return Gpu(
        index=index,
        uuid=_text(nvml.nvmlDeviceGetUUID(device)),
        name=_text(nvml.nvmlDeviceGetName(device)),
        memory_total=int(memory.total),
        memory_used=int(memory.used),
        load=None if use is None else float(use.gpu),
        temperature=None if heat is None else float(heat),
        power=None if power is None else power / 1000,
        power_limit=None if limit is None else limit / 1000,
        throttling=tuple(words for bit, words in _THROTTLE.items() if reasons & bit),
        processes={p.pid: int(p.usedGpuMemory or 0) for p in running},
    )


# ---- GPUtil ---------------------------------------------------------------------------------


def _gputil() -> Reading:
    """What `nvidia-smi` says, as GPUtil reads it."""
    if _NO_GPUTIL:
        return Reading("gputil", (), (_NO_GPUTIL,))
    if shutil.which("nvidia-smi") is None:
        return Reading("gputil", (), ("GPUtil: nvidia-smi not found",))
    try:
        listed = GPUtil.getGPUs()
        gpus = tuple(_gputil_gpu(gpu) for gpu in listed)
    except Exception:  # it trips over whatever is no table: ValueError, IndexError, division by 0
        return Reading("gputil", (), ("GPUtil: nvidia-smi does not list GPUs; run it to see why",))
    if not gpus:
        return Reading("gputil", (), ("GPUtil: nvidia-smi lists no GPU",))
    return Reading("gputil", gpus, driver=str(listed[0].driver))


def _gputil_gpu(gpu: Any) -> Gpu:
    return Gpu(
        index=int(gpu.id),
        uuid=str(gpu.uuid),
        name=str(gpu.name),
        memory_total=int(gpu.memoryTotal * MIB),
        memory_used=int(gpu.memoryUsed * MIB),
        load=_known(gpu.load * 100),
        temperature=_known(gpu.temperature),
    )


def _known(figure: float) -> float | None:
    """GPUtil's NaN stands for what `nvidia-smi` shows as [N/A]."""
    return None if math.isnan(figure) else round(figure, 1)
