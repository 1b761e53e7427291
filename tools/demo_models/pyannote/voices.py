"""Voices to train the diarization networks on, and random conversations between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tools.demo_models.manifest import Speech, Voice
from tools.demo_models.speech import RATE, Samples, speak

VARIANTS = (
    *("m1", "m2", "m4", "m5", "m6", "m7", "m8", "f1", "f2", "f3", "f5", "klatt2", "klatt4"),
    *("Adam", "Alicia", "Andrea", "Denis", "Hugo", "Lee", "Mike", "Storm", "travis", "victor"),
)
"""espeak-ng variants that no recording uses: they teach the embedding what a voice is."""
SENTENCES = (
    "Hello there and welcome to the show.",
    "The weather is quite good today.",
    "I think we should start now.",
    "Can you hear me well over there?",
    "Let us talk about something else.",
    "That is a very good question.",
    "Please call me back tomorrow morning.",
    "Nobody knows where the keys are.",
    "We bought apples and bread at the market.",
    "Seven small boats went down the river.",
)
SLOTS = 3


@dataclass(frozen=True)
class Conversation:
    """A stretch of speech: in which slot (0 to 2) a voice speaks, from when to when, in seconds."""

    samples: Samples
    turns: list[tuple[float, float, int]]


class Voices:
    """Sentences of many voices; those of the manifest come first. Draws repeat with the seed."""

    def __init__(self, speech: Speech, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        said: dict[str, list[str]] = {name: [] for name in speech.voices}
        for recording in speech.recordings:
            for turn in recording.turns:
                said[turn.speaker].append(turn.text)
        self.spoken = [
            [speak(voice, text) for text in (*said[name], *SENTENCES)]
            for name, voice in speech.voices.items()
        ]
        self.known = len(self.spoken)
        for number, variant in enumerate(VARIANTS):
            voice = Voice(f"en-us+{variant}", 140 + 7 * (number % 6), 20 + 37 * number % 70)
            self.spoken.append([speak(voice, text) for text in SENTENCES])

    def conversation(self, seconds: float, overlap: float = 0.12) -> Conversation:
        """One to three voices; now and then (`overlap`) one does not wait for the other.

        Each voice of the manifest has its slot, by its place in the list; two that share a slot
        never talk to each other. So a small network can learn who is who.
        """
        rng, n = self.rng, int(seconds * RATE)
        samples = np.zeros(n, np.float32)
        slots = rng.permutation(SLOTS)[: int(rng.choice([1, 2, 2, 3]))]
        speakers = {slot: int(rng.choice(range(slot, self.known, SLOTS))) for slot in slots}
        turns, time, last = list[tuple[float, float, int]](), rng.uniform(-1.5, 1.0), -1
        while time < seconds - 0.2:
            if last < 0 or (len(slots) > 1 and rng.random() < 0.75):
                last = int(rng.choice([slot for slot in slots if slot != last]))
            said = self.sentence(speakers[last]) * np.float32(10 ** rng.uniform(-0.4, 0.1))
            start = int(time * RATE)
            heard = said[max(0, -start) :][: n - max(0, start)]
            samples[max(0, start) : max(0, start) + len(heard)] += heard
            end = time + len(said) / RATE
            turns.append((max(0.0, time), min(seconds, end), last))
            wait = rng.uniform(0.1, 1.2)
            time = end - rng.uniform(0.3, 1.2) if rng.random() < overlap else end + wait
        return Conversation(self._hiss(samples), turns)

    def crop(self, voice: int, seconds: float) -> Samples:
        """Some speech of one voice."""
        said = np.concatenate([self.sentence(voice) for _ in range(3)])
        start = int(self.rng.integers(max(1, len(said) - int(seconds * RATE))))
        piece = np.resize(said[start:], int(seconds * RATE))
        return self._hiss(piece * np.float32(10 ** self.rng.uniform(-0.5, 0.1)))

    def sentence(self, voice: int) -> Samples:
        spoken = self.spoken[voice]
        return spoken[int(self.rng.integers(len(spoken)))]

    def _hiss(self, samples: Samples) -> Samples:
        noise: npt.NDArray[np.float32] = self.rng.standard_normal(len(samples), np.float32)
        return samples + noise * np.float32(10 ** self.rng.uniform(-6, -2.8))
