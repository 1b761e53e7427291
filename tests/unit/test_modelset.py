"""Real models or the demo set: what MODEL_SET makes of a machine."""

from __future__ import annotations

import asyncio
import re

import pytest

from backend.app.config import Settings
from backend.app.gpu.probe import Gpu, Reading
from backend.app.models.modelset import ModelSet, choose, choose_set
from backend.app.models.placement import GIB
from backend.app.words import same

EMPTY = Reading("none", ())


def machine(*total_gib: int, used_gib: int = 0) -> Reading:
    gpus = [
        Gpu(index, f"GPU-{index}", "any", size * GIB, used_gib * GIB)
        for index, size in enumerate(total_gib)
    ]
    return Reading("nvml", tuple(gpus))


@pytest.mark.parametrize("reading", [EMPTY, machine(141)])
@pytest.mark.parametrize("wanted", ["demo", "real"])
def test_what_is_wanted_is_served_on_any_machine(wanted: str, reading: Reading) -> None:
    chosen = choose(wanted, reading)
    assert chosen.demo is (wanted == "demo")
    assert chosen.reason == f"MODEL_SET={wanted}"


@pytest.mark.parametrize(
    ("reading", "demo", "reason"),
    [
        (EMPTY, True, "no GPU is visible"),
        (
            machine(24),
            True,
            r"cannot hold .* 64.0 GiB .* on 1 GPU\(s\); the emptiest: GPU 0: 24.0 GiB free",
        ),
        (machine(141, used_gib=100), True, "GPU 0: 41.0 GiB free"),
        (machine(24, 24), True, "cannot hold"),
        (machine(80), False, r"1 GPU\(s\) can hold"),
        (machine(48, 48), False, r"2 GPU\(s\) can hold"),
        (machine(24, 24, 24, 24), False, r"4 GPU\(s\) can hold"),
        (machine(141, 141, 141, 141, 141, 141, 141, 141), False, r"8 GPU\(s\) can hold"),
    ],
)
def test_auto_looks_at_the_gpus_and_says_why(reading: Reading, demo: bool, reason: str) -> None:
    chosen = choose("auto", reading)
    assert chosen.demo is demo
    assert re.search(reason, chosen.reason)


def test_gpus_that_do_not_answer_stop_no_start() -> None:
    def hangs() -> Reading:
        raise asyncio.TimeoutError

    auto = choose_set(Settings.model_validate({"model_set": "auto"}), hangs)
    assert (auto.demo, auto.reason) == (True, "the GPUs do not answer; does nvidia-smi?")
    assert auto.why.fr != auto.why.en
    real = choose_set(Settings.model_validate({"model_set": "real"}), hangs)
    assert real == ModelSet(False, same("MODEL_SET=real")), "only auto looks"
