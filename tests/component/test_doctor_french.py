"""What the GPU probes say, in the doctor's French."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pynvml
import pytest

from backend.app.commands.doctor.probe_words import all_in_both
from backend.app.gpu import probe
from backend.app.gpu.probe import read_gpus
from tests.support import nvml


def test_what_the_probes_say_is_said_in_french(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each sentence of `gpu/probe.py`, as it comes out of there; the driver's own stay quoted."""
    monkeypatch.setenv("PATH", str(tmp_path))

    def no_driver() -> tuple[str, ...]:
        nvml.install(monkeypatch, None)
        return read_gpus(None).problems

    def not_loaded() -> tuple[str, ...]:
        monkeypatch.setattr(pynvml, "nvmlInit", raising(pynvml.NVMLError_DriverNotLoaded()))
        return read_gpus(None).problems

    def mismatch() -> tuple[str, ...]:
        code = pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH
        monkeypatch.setattr(pynvml, "nvmlInit", raising(pynvml.NVMLError(code)))
        return read_gpus(None).problems

    def lost() -> tuple[str, ...]:
        nvml.install(
            monkeypatch, [*nvml.dgx(1), nvml.H200 | {"lost": pynvml.NVML_ERROR_GPU_IS_LOST}]
        )
        return read_gpus(None).problems

    def none_at_all() -> tuple[str, ...]:
        nvml.install(monkeypatch, [])
        (tmp_path / "nvidia-smi").write_text("#!/bin/sh\n")
        (tmp_path / "nvidia-smi").chmod(0o755)
        return read_gpus(None).problems

    def broken_table() -> tuple[str, ...]:
        (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho Failed to initialize\n")
        return read_gpus(None).problems

    def hidden() -> tuple[str, ...]:
        nvml.install(monkeypatch, nvml.dgx(8))
        return read_gpus("9").problems

    def no_gputil() -> tuple[str, ...]:
        monkeypatch.setattr(probe, "_NO_GPUTIL", "GPUtil: x; are GPUtil and setuptools installed?")
        nvml.install(monkeypatch, None)
        return read_gpus(None).problems

    told = {make.__name__: all_in_both(make()).fr for make in (
        no_driver, not_loaded, mismatch, lost, none_at_all, broken_table, hidden, no_gputil
    )}  # fmt: skip
    assert told == {
        "no_driver": "NVML : libnvidia-ml.so.1 introuvable ; GPUtil : nvidia-smi introuvable",
        "not_loaded": "NVML : le pilote NVIDIA n'est pas chargé ; GPUtil : nvidia-smi introuvable",
        "mismatch": "NVML : « RM has detected an NVML/RM version mismatch. » ;"
        " GPUtil : nvidia-smi introuvable",
        "lost": "NVML : GPU 1 : « GPU is lost »",
        "none_at_all": "NVML : aucun GPU ; GPUtil : nvidia-smi ne liste aucun GPU",
        "broken_table": "NVML : aucun GPU ;"
        " GPUtil : nvidia-smi ne liste pas de GPU ; lancez-le pour savoir pourquoi",
        "hidden": "CUDA_VISIBLE_DEVICES=9 cache les 8 GPU présents",
        "no_gputil": "NVML : libnvidia-ml.so.1 introuvable ;"
        " GPUtil : « x » ; GPUtil et setuptools sont-ils installés ?",
    }


def raising(error: Exception) -> Callable[[], None]:
    def init() -> None:
        raise error

    return init
