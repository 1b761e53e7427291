"""Where someone speaks: Silero VAD, over PCM as it arrives, in constant memory.

The weights come from the silero-vad wheel. Its own runner takes one frame (32 ms) a call; the same
network is laid out here so that a block of frames costs one call, which is many times faster and
leaves the GIL free.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .cutting import FRAME, Interval
from .protocol import SAMPLE_BYTES, SAMPLE_RATE

SPEECH = 0.5
"""From this probability on it is speech."""
SILENCE = 0.35
"""Below this probability speech may have ended."""
MIN_SPEECH = SAMPLE_RATE // 4
MIN_SILENCE = SAMPLE_RATE // 10
PAD = 480
"""Samples (30 ms) that belong to speech on either side of what was detected."""


class SpeechSpans:
    """From probabilities to spans of speech: Silero's own rule, one frame at a time. Pure."""

    def __init__(self) -> None:
        self._frames = 0
        self._start: int | None = None
        self._maybe_end: int | None = None

    def push(self, probabilities: Sequence[float]) -> list[Interval]:
        """The spans that have ended now."""
        ended = []
        for probability in probabilities:
            at = self._frames * FRAME
            self._frames += 1
            if probability >= SPEECH:
                self._maybe_end = None
                if self._start is None:
                    self._start = at
            elif probability < SILENCE and self._start is not None:
                if self._maybe_end is None:
                    self._maybe_end = at
                if at - self._maybe_end >= MIN_SILENCE:
                    if self._maybe_end - self._start > MIN_SPEECH:
                        ended.append((max(0, self._start - PAD), self._maybe_end + PAD))
                    self._start = self._maybe_end = None
        return ended

    @property
    def open_start(self) -> int | None:
        """Where speech began that has not ended but is long enough to count."""
        if self._start is None or self._until - self._start <= MIN_SPEECH:
            return None
        return max(0, self._start - PAD)

    @property
    def known(self) -> int:
        """Up to here it is decided what is speech."""
        if self._start is None or self.open_start is None:
            return max(0, (self._until if self._start is None else self._start) - PAD)
        return self._until

    @property
    def _until(self) -> int:
        return self._frames * FRAME if self._maybe_end is None else self._maybe_end

    def finish(self, length: int) -> list[Interval]:
        """What is still open when the recording ends after `length` samples."""
        if self._start is None or length - self._start <= MIN_SPEECH:
            return []
        return [(max(0, self._start - PAD), length)]


@dataclass(frozen=True)
class Heard:
    """What a block of audio added: see `Cutter.push`."""

    ended: list[Interval]
    open_start: int | None
    known: int
    loudness: list[float]


class Detector:
    """Speech in one recording. Blocks must be whole frames, but for the last."""

    def __init__(self, network: Silero) -> None:
        self._network = network
        self._state: Any = None
        self._spans = SpeechSpans()
        self._length = 0

    def push(self, pcm: bytes) -> Heard:
        """Takes s16le samples. Blocks for about 1 ms per second of audio."""
        self._length += len(pcm) // SAMPLE_BYTES
        probabilities, loudness, self._state = self._network(pcm, self._state)
        ended = self._spans.push(probabilities)
        ended = [(start, min(end, self._length)) for start, end in ended]
        known = min(self._spans.known, self._length)
        return Heard(ended, self._spans.open_start, known, loudness)

    def finish(self) -> list[Interval]:
        return self._spans.finish(self._length)


class Silero:
    """The network for 16 kHz. Safe to call from several threads: what it remembers is the state."""

    _CONTEXT = 64

    def __init__(self) -> None:
        import torch

        self._torch = torch
        with warnings.catch_warnings():  # torch means to drop TorchScript; the wheel still ships it
            warnings.simplefilter("ignore", DeprecationWarning)
            weights = torch.jit.load(_wheel_model(), map_location="cpu")._model.state_dict()
        self._weights = weights
        self._lstm = torch.nn.LSTM(128, 128, batch_first=True).eval()
        self._lstm.load_state_dict(
            {
                f"{name}_l0": weights[f"decoder.rnn.{name}"]
                for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            }
        )

    def __call__(self, pcm: bytes, state: Any) -> tuple[list[float], list[float], Any]:
        """Probability of speech and loudness (mean square) of each frame; the state to hand in
        with the next block. The last frame is filled up with zeros."""
        torch = self._torch
        if not pcm:
            return [], [], state
        context, memory = (torch.zeros(self._CONTEXT), None) if state is None else state
        samples = torch.frombuffer(bytearray(pcm), dtype=torch.int16).float() / 32768
        samples = torch.nn.functional.pad(samples, (0, -len(samples) % FRAME))
        with torch.inference_mode():
            frames = samples.view(-1, FRAME)
            tails = torch.cat([context[None], frames[:-1, -self._CONTEXT :]])
            features = self._features(torch.cat([tails, frames], dim=1))
            hidden, memory = self._lstm(features[None], memory)
            weight, bias = (self._weights[f"decoder.decoder.2.{n}"] for n in ("weight", "bias"))
            scores = torch.sigmoid(hidden[0].relu() @ weight[0] + bias)
            loudness = frames.square().mean(dim=1)
        state = (frames[-1, -self._CONTEXT :].clone(), memory)
        return scores[:, 0].tolist(), loudness.tolist(), state

    def _features(self, frames: Any) -> Any:
        functional, weights = self._torch.nn.functional, self._weights
        x = functional.pad(frames, (0, self._CONTEXT), mode="reflect")[:, None]
        x = functional.conv1d(x, weights["stft.forward_basis_buffer"], stride=128)
        x = (x[:, :129].square() + x[:, 129:].square()).sqrt()
        for layer, stride in enumerate((1, 2, 2, 1)):
            conv = f"encoder.{layer}.reparam_conv"
            weight, bias = weights[f"{conv}.weight"], weights[f"{conv}.bias"]
            x = functional.conv1d(x, weight, bias, stride=stride, padding=1).relu()
        return x[:, :, 0]


def _wheel_model() -> Path:
    """Found without importing the package, which sets torch's threads for the whole process."""
    spec = importlib.util.find_spec("silero_vad")
    if spec is None or spec.origin is None:
        raise RuntimeError("silero-vad is not installed in this environment")
    return Path(spec.origin).parent / "data" / "silero_vad.jit"
