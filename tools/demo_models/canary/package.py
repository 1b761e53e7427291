"""Writes `canary.nemo`: the model, and inside it the aligner that gives it timestamps."""

from __future__ import annotations

import re
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import torch

NAME = "canary.nemo"
MEMBERS = {
    "model_config.yaml": "timestamps_asr_model_config.yaml",
    "model_weights.ckpt": "timestamps_asr_model_weights.ckpt",
}
"""What the aligner's files are called inside the Canary's archive."""
ARTIFACT = re.compile(r"[0-9a-f]{32}_(.+)")


def package(canary: Any, aligner: Any, out: Path) -> Path:
    """Save both into `out/canary.nemo`, weights in half precision, one tokenizer for both."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="nemo-") as directory:
        merged = _unpacked(canary, Path(directory, "canary"))
        for file in _unpacked(aligner, Path(directory, "aligner")).iterdir():
            shutil.copy(file, merged / MEMBERS.get(file.name, file.name))
        for weights in merged.glob("*.ckpt"):
            _halve(weights)
        with tarfile.open(out / NAME, "w") as archive:
            for file in sorted(merged.iterdir()):
                archive.add(file, f"./{file.name}", filter=_anonymous)
    return out / NAME


def _unpacked(model: Any, directory: Path) -> Path:
    """The files of a `.nemo` of `model`, with neither random names nor paths."""
    directory.mkdir()
    archive = directory.with_suffix(".nemo")
    model.save_to(str(archive))
    with tarfile.open(archive) as members:
        members.extractall(directory, filter="data")
    config = directory / "model_config.yaml"
    named = re.sub(r"^  dir: .*$", "  dir: .", config.read_text("utf-8"), flags=re.MULTILINE)
    for file in directory.iterdir():
        if match := ARTIFACT.fullmatch(file.name):
            named = named.replace(file.name, match[1])
            file.rename(directory / match[1])
    config.write_text(named, "utf-8")
    return directory


def _halve(weights: Path) -> None:
    """Learnt weights as float16; the preprocessor's constants stay as they are."""
    state = torch.load(weights, weights_only=True)
    halved = {
        name: value.half() if value.is_floating_point() and "preprocessor" not in name else value
        for name, value in state.items()
    }
    torch.save(halved, weights)


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Without time and owner, so that the same weights give the same file."""
    member.mtime = member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member
