"""What the GPU probes complain about, in both languages."""

from __future__ import annotations

import re

from backend.app.words import Words

_OURS: tuple[tuple[str, str], ...] = (
    (r"libnvidia-ml\.so\.1 not found", "libnvidia-ml.so.1 introuvable"),
    (r"the NVIDIA driver is not loaded", "le pilote NVIDIA n'est pas chargé"),
    (r"no device", "aucun GPU"),
    (r"the driver does not answer within (\d+) s", r"le pilote ne répond pas en \1 s"),
    (r"nvidia-smi not found", "nvidia-smi introuvable"),
    (r"nvidia-smi lists no GPU", "nvidia-smi ne liste aucun GPU"),
    (
        r"nvidia-smi does not list GPUs; run it to see why",
        "nvidia-smi ne liste pas de GPU ; lancez-le pour savoir pourquoi",
    ),
    (
        r"(.+); are GPUtil and setuptools installed\?",
        r"« \1 » ; GPUtil et setuptools sont-ils installés ?",
    ),
    (
        r"CUDA_VISIBLE_DEVICES=(.*) hides all (\d+) GPUs that are here",
        r"CUDA_VISIBLE_DEVICES=\1 cache les \2 GPU présents",
    ),
)
"""The sentences of `gpu/probe.py` and of this command."""
_ABOUT = re.compile(r"(NVML|GPUtil): (GPU \d+: )?")


def in_both(problem: str) -> Words:
    """A sentence of ours translated; the driver's own words stay as they are, in quotes."""
    about = _ABOUT.match(problem)
    said = problem[about.end() :] if about else problem
    french = next(
        (found.expand(fr) for en, fr in _OURS if (found := re.fullmatch(en, said))), f"« {said} »"
    )
    place = about[0].replace(": ", " : ") if about else ""
    return Words(problem, place + french)


def all_in_both(problems: tuple[str, ...]) -> Words:
    """Several of them in one line."""
    each = [in_both(problem) for problem in problems]
    return Words("; ".join(words.en for words in each), " ; ".join(words.fr for words in each))
