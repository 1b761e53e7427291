"""Real models or the demo set: MODEL_SET, and what `auto` makes of this machine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from backend.app.config import Settings
from backend.app.gpu.probe import Reading
from backend.app.models.placement import GIB, Books, Refused, Wish, place
from backend.app.words import Words, same

REAL_CHAT_BYTES = 64 * GIB
"""Qwen3-VL-30B-A3B in bfloat16: 58 GiB of weights, activations, and a least KV cache."""
PARALLEL_SIZES = (1, 2, 4)
NOTHING = Reading("none", ())


class ModelSet(NamedTuple):
    demo: bool
    why: Words

    @property
    def reason(self) -> str:
        """In English, as the log has it."""
        return self.why.en


def choose(wanted: str, reading: Reading) -> ModelSet:
    """Which set is served and why, for the log and for /v1/models."""
    if wanted != "auto":
        return ModelSet(wanted == "demo", same(f"MODEL_SET={wanted}"))
    if not reading.gpus:
        return ModelSet(True, Words("no GPU is visible", "aucun GPU n'est visible"))
    wish = Wish("qwen", REAL_CHAT_BYTES, PARALLEL_SIZES, elastic=True)
    try:
        place(reading.gpus, Books(), wish)
    except Refused as exc:
        why = Words(
            f"the GPUs cannot hold the real models: {exc}",
            f"les GPU ne peuvent pas contenir les vrais modèles : {exc}",
        )
        return ModelSet(True, why)
    count = len(reading.gpus)
    why = Words(
        f"{count} GPU(s) can hold the real models",
        f"{count} GPU peuvent contenir les vrais modèles",
    )
    return ModelSet(False, why)


def choose_set(settings: Settings, look: Callable[[], Reading]) -> ModelSet:
    """`choose` for this machine. Blocking: only `auto` looks at the GPUs."""
    if settings.model_set != "auto":
        return choose(settings.model_set, NOTHING)
    try:
        return choose("auto", look())
    except asyncio.TimeoutError:
        why = Words(
            "the GPUs do not answer; does nvidia-smi?",
            "les GPU ne répondent pas ; et nvidia-smi ?",
        )
        return ModelSet(True, why)
