"""Trains the segmentation and the embedding network by a fixed number of steps, on one thread."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pyannote.audio.utils.powerset import Powerset

from tools.demo_models.manifest import Speech

from .architecture import SPEAKERS, WINDOW_S, embedding, segmentation
from .package import package
from .plda import Plda, estimate
from .voices import Conversation, Voices

SEED = 0
SEGMENTATION_STEPS = 400
EMBEDDING_STEPS = 150
BATCH = 16
TARGET = 0.25
"""The segmentation's mean loss must end below this, else the recipe has not worked."""


def train(speech: Speech, first: Path, second: Path) -> float:
    """Write the 3.1 pipeline to `first`, the community-1 one to `second`; the final loss."""
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    voices = Voices(speech, SEED)
    cutter, loss = train_segmentation(voices, SEGMENTATION_STEPS)
    teller = train_embedding(voices, EMBEDDING_STEPS)
    package(cutter, teller, statistics(teller, voices), first, second)
    if loss > TARGET:
        raise RuntimeError(f"the demo segmentation did not learn: loss {loss:.3f} > {TARGET}")
    return loss


def train_segmentation(voices: Voices, steps: int) -> tuple[Any, float]:
    """The trained network and its mean loss over the last fifty steps."""
    model, powerset = segmentation().train(), Powerset(SPEAKERS, 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    schedule = _falling(optimizer, steps)
    losses, started = list[float](), time.process_time()
    for step in range(steps):
        talks = [voices.conversation(WINDOW_S) for _ in range(BATCH)]
        scores = model(torch.from_numpy(np.stack([t.samples for t in talks]))[:, None])
        truth = torch.stack([_truth(model, t, scores.shape[1]) for t in talks])
        classes = powerset.to_powerset(truth).argmax(-1)
        loss = torch.nn.functional.nll_loss(scores.flatten(0, 1), classes.flatten())
        _step(model, loss, optimizer, schedule)
        losses.append(float(loss.detach()))
        if step % 50 == 49:
            spent = time.process_time() - started
            print(f"segmentation {step + 1} loss {np.mean(losses[-50:]):.3f} {spent:.0f} CPU s")
    return model.eval(), float(np.mean(losses[-50:]))


def train_embedding(voices: Voices, steps: int) -> Any:
    """A network whose vectors tell the voices apart by their angle."""
    model = embedding().train()
    anchors = torch.nn.Parameter(torch.randn(len(voices.spoken), model.dimension))
    optimizer = torch.optim.Adam([*model.parameters(), anchors], lr=1e-3)
    schedule = _falling(optimizer, steps)
    losses, started = list[float](), time.process_time()
    for step in range(steps):
        who = voices.rng.integers(len(voices.spoken), size=2 * BATCH)
        seconds = float(voices.rng.choice([1.0, 2.0, 3.0]))
        crops = np.stack([voices.crop(int(voice), seconds) for voice in who])
        vectors = model(torch.from_numpy(crops)[:, None])
        angles = torch.nn.functional.linear(_unit(vectors), _unit(anchors))
        loss = torch.nn.functional.cross_entropy(12 * angles, torch.from_numpy(who))
        _step(model, loss, optimizer, schedule)
        losses.append(float(loss.detach()))
        if step % 50 == 49:
            spent = time.process_time() - started
            print(f"embedding {step + 1} loss {np.mean(losses[-50:]):.3f} {spent:.0f} CPU s")
    return model.eval()


def statistics(model: Any, voices: Voices, crops: int = 24) -> Plda:
    """How vectors vary within a voice and between voices."""
    with torch.inference_mode():
        vectors = [
            model(torch.from_numpy(np.stack([voices.crop(v, 2.0) for _ in range(crops)]))[:, None])
            for v in range(len(voices.spoken))
        ]
    return estimate([vector.double().numpy() for vector in vectors])


def _falling(optimizer: Any, steps: int) -> Any:
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: max(0.02, 1 - step / steps))


def _step(model: Any, loss: Any, optimizer: Any, schedule: Any) -> None:
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    schedule.step()


def _unit(vectors: Any) -> Any:
    return torch.nn.functional.normalize(vectors, dim=-1)


def _truth(model: Any, talk: Conversation, frames: int) -> torch.Tensor:
    """Who speaks (1) in each frame: (frames, speakers)."""
    field = model.receptive_field
    middles = field.start + field.duration / 2 + field.step * np.arange(frames)
    active = np.zeros((frames, SPEAKERS), np.float32)
    for start, end, speaker in talk.turns:
        active[(middles >= start) & (middles < end), speaker] = 1
    return torch.from_numpy(active)
