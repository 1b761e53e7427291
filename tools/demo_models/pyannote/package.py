"""Lays out the two demo pipelines. The second has no weights of its own: it names the first's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .architecture import save
from .plda import Plda

HERE = Path(__file__).parent
WEIGHTS = "pytorch_model.bin"


def package(segmentation: Any, embedding: Any, plda: Plda, first: Path, second: Path) -> None:
    """Write the 3.1-style pipeline to `first` and the community-1-style one to `second`."""
    save(segmentation, first / "segmentation" / WEIGHTS)
    save(embedding, first / "embedding" / WEIGHTS)
    plda.save(first / "plda")
    configs = ((first, "config-3.1.yaml"), (second, "config-community-1.yaml"))
    for directory, config in configs:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "config.yaml").write_text((HERE / config).read_text("utf-8"), "utf-8")
