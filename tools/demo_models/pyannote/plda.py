"""The PLDA files of a pipeline: statistics that VBx clustering scores vectors with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

DIMENSION = 128


@dataclass(frozen=True)
class Plda:
    """Centring and projection of vectors, then the axes on which voices differ (`psi`)."""

    mean1: Array
    mean2: Array
    lda: Array
    mu: Array
    tr: Array
    psi: Array

    def save(self, directory: Path) -> None:
        """`xvec_transform.npz` and `plda.npz`, as pyannote.audio reads them."""
        directory.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(
            directory / "xvec_transform.npz", mean1=self.mean1, mean2=self.mean2, lda=self.lda
        )
        np.savez_compressed(directory / "plda.npz", mu=self.mu, tr=self.tr, psi=self.psi)


def estimate(voices: list[Array]) -> Plda:
    """From vectors of each voice, one array (crops, dimension) a voice."""
    every = np.concatenate(voices)
    mean1 = every.mean(0)
    centred = _scaled(every - mean1)
    _, _, axes = np.linalg.svd(centred - centred.mean(0), full_matrices=True)
    lda = axes[:DIMENSION].T
    projected = centred @ lda
    mean2 = projected.mean(0)
    points = _scaled(projected - mean2)
    groups = np.split(points, np.cumsum([len(v) for v in voices])[:-1])
    within = np.mean([np.cov(group.T) for group in groups], axis=0) + 0.05 * np.eye(DIMENSION)
    between = np.cov(np.stack([group.mean(0) for group in groups]).T) + 0.01 * np.eye(DIMENSION)
    whiten = np.linalg.inv(np.linalg.cholesky(within))
    psi, turn = np.linalg.eigh(whiten @ between @ whiten.T)
    return Plda(mean1, mean2, lda, points.mean(0), (turn.T @ whiten)[::-1], psi[::-1])


def _scaled(vectors: Array) -> Array:
    """Each row to the length that a standard normal vector of its dimension has."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(np.sqrt(vectors.shape[1]) * vectors / length)
