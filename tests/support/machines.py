"""Machines as NVML shows them, for placement: eight H200, any mixture, fuller or emptier."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
from hypothesis import strategies as st

from backend.app.gpu.probe import Gpu, Reading
from backend.app.models.placement import GIB

H200 = 143_771 << 20
"""What NVML calls the total memory of one."""


def gpu(index: int, total_gib: float = 80, used_gib: float = 0) -> Gpu:
    return Gpu(index, f"GPU-{index:08d}", "H", int(total_gib * GIB), int(used_gib * GIB))


def dgx(used: dict[int, int] | None = None, count: int = 8) -> Reading:
    """A DGX as NVML shows it at rest: some MiB of each GPU are the driver's own. `used` on top."""
    taken = used or {}
    gpus = [
        Gpu(
            index,
            f"GPU-{index:08d}-aaaa-bbbb-cccc-dddddddddddd",
            "NVIDIA H200",
            H200,
            (595 << 20) + taken.get(index, 0),
            load=0.0,
            temperature=31.0,
            power=76.4,
            power_limit=700.0,
        )
        for index in range(count)
    ]
    return Reading("nvml", tuple(gpus))


@st.composite
def machines(draw: st.DrawFn, least: int = 0) -> list[Gpu]:
    """Up to eight GPUs, not always alike, each as full as may be; numbers with gaps."""
    total = draw(st.sampled_from([24, 80, 141]))
    indices = draw(st.lists(st.integers(0, 15), min_size=least, max_size=8, unique=True))
    made = []
    for index in indices:
        own = draw(st.sampled_from([total, total, 48]))
        made.append(gpu(index, own, own * draw(st.integers(0, 100)) / 100))
    return made


class Machine:
    """Eight H200 (or fewer) whose memory is what living fake engines below `directory` claim.

    An engine claims `--gpu-memory-utilization` of each GPU that it may see, as vLLM does, from its
    first moment on; its memory is back when its process is gone. `read` is the injected probe.
    """

    def __init__(self, directory: Path, count: int = 8, *, pids: bool = False) -> None:
        self._directory = str(directory)
        self._count = count
        self._pids = pids
        """The driver numbers processes as we do; else as a host does, of which we know nothing."""
        self.foreign: dict[int, int] = {}
        self.lost: set[int] = set()
        self.excess = 0
        """What each engine takes of each GPU beyond what it should."""
        self.leak = 0
        """What each GPU has not given back."""
        self.hook: Callable[[], None] = lambda: None
        """Called in the reading thread; may raise or hang."""

    def read(self) -> Reading:
        self.hook()
        reading = dgx(self.foreign, self._count)
        claims = self._claims()
        gpus = []
        for gpu in reading.gpus:
            here = [(pid, share) for pid, on, share in claims if gpu.index in on]
            own = {pid: int(share * H200) + self.excess for pid, share in here}
            used = gpu.memory_used + sum(own.values()) + (self.leak if not own else 0)
            shown = own if self._pids else {pid + 4_000_000: size for pid, size in own.items()}
            gpus.append(replace(gpu, memory_used=min(H200, used), processes=shown))
        left = tuple(gpu for gpu in gpus if gpu.index not in self.lost)
        problems = tuple(f"NVML: GPU {index}: GPU is lost" for index in sorted(self.lost))
        return Reading("nvml" if left else "none", left, problems)

    def engines(self) -> list[int]:
        """Process ids."""
        return [pid for pid, _, _ in self._claims()]

    def overbooked(self) -> list[int]:
        """GPUs of which more is claimed than there is: an engine there would have died."""
        taken = dict(self.foreign)
        for _, at, part in self._claims():
            for index in at:
                taken[index] = taken.get(index, 0) + int(part * H200) + self.excess
        return [index for index, size in taken.items() if size > H200]

    def _claims(self) -> list[tuple[int, list[int], float]]:
        """(process id, GPUs, share) of each engine.

        What it forks shows its command line for a moment, and is no second one.
        """
        found, parents = [], {}
        for process in psutil.process_iter(["cmdline", "status", "ppid"]):
            line: list[str] = process.info["cmdline"] or []
            ours = any(word.startswith(self._directory) for word in line)
            ended = process.info["status"] in {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD}
            if ended or not ours or "--gpu-memory-utilization" not in line or "--" in line:
                continue
            with contextlib.suppress(psutil.Error):
                mask = process.environ().get("CUDA_VISIBLE_DEVICES", "")
                share = float(line[line.index("--gpu-memory-utilization") + 1])
                found.append((process.pid, [int(i) for i in mask.split(",") if i], share))
                parents[process.pid] = process.info["ppid"]
        return [engine for engine in found if parents[engine[0]] not in parents]
