"""The two networks of the demo pipelines, small ones of the kinds that pyannote.audio knows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning
import torch
from pyannote.audio.core.task import Problem, Resolution, Specifications
from pyannote.audio.models.embedding import XVectorMFCC
from pyannote.audio.models.segmentation import PyanNet

WINDOW_S = 5.0
"""What the segmentation network hears at once."""
SPEAKERS = 3
"""At most so many voices in a window, two of them at the same time."""
DIMENSION = 256


def segmentation() -> Any:
    """A network that says which of up to three voices speaks in each frame of a window."""
    model = PyanNet(
        sincnet={"stride": 10},
        lstm={
            "hidden_size": 48,
            "num_layers": 1,
            "bidirectional": True,
            "monolithic": True,
            "dropout": 0.0,
        },
        linear={"hidden_size": 48, "num_layers": 1},
    )
    model.specifications = Specifications(
        problem=Problem.MONO_LABEL_CLASSIFICATION,
        resolution=Resolution.FRAME,
        duration=WINDOW_S,
        min_duration=None,
        warm_up=(0.0, 0.0),
        classes=[f"speaker#{number + 1}" for number in range(SPEAKERS)],
        powerset_max_classes=2,
        permutation_invariant=True,
    )
    model.build()
    return model


def embedding() -> Any:
    """A network that turns speech into a vector that is near for one voice. 25 frames a second."""
    model = XVectorMFCC(
        mfcc={
            "n_mfcc": 40,
            "dct_type": 2,
            "norm": "ortho",
            "log_mels": True,
            "melkwargs": {"n_fft": 1024, "hop_length": 640, "n_mels": 64},
        },
        dimension=DIMENSION,
    )
    model.specifications = Specifications(
        problem=Problem.REPRESENTATION,
        resolution=Resolution.CHUNK,
        duration=WINDOW_S,
        min_duration=0.5,
        classes=None,
    )
    model.build()
    return model


def save(model: Any, path: Path) -> None:
    """A checkpoint as `Model.from_pretrained` reads it, learnt weights in half precision."""
    learnt = {name for name, _ in model.named_parameters()}
    checkpoint: dict[str, Any] = {
        "state_dict": {
            name: value.half() if name in learnt else value
            for name, value in model.state_dict().items()
        },
        "hyper_parameters": dict(model.hparams),
        "pytorch-lightning_version": lightning.__version__,
        "epoch": 0,
        "global_step": 0,
    }
    model.on_save_checkpoint(checkpoint)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(checkpoint, path)
