"""Training examples for the demo Canary: sentences of the manifest, alone and in sequence."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from tools.demo_models.manifest import Speech, Turn, Voice
from tools.demo_models.speech import RATE, Samples, decode, encode, speak, word_ends

from .alignment import Sentence
from .tokenizer import plain

T = TypeVar("T")

LANGUAGES = ("en", "fr", "de")
CODECS = ((".mp3", 44100), (".m4a", 44100), (".ogg", 48000))
LONGEST_S = 40


@dataclass(frozen=True)
class Example:
    """Audio with its prompt (`source`, `target`, `pnc`), the answer, and what is really said."""

    audio: Samples
    source: str
    target: str
    pnc: bool
    text: str
    heard: list[tuple[Sentence, float]]
    """Sentences, and when they start in seconds."""


def sentences(speech: Speech) -> dict[Turn, Sentence]:
    """Each different turn of the manifest. Pauses do not make a turn different."""
    bank: dict[Turn, Sentence] = {}
    for recording in speech.recordings:
        for turn in recording.turns:
            key = Turn(turn.speaker, turn.text)
            if key not in bank:
                bank[key] = _spoken(speech.voices[turn.speaker], recording.language, turn.text)
            if len(recording.turns) == 1:
                bank[key].translations |= recording.translations
    return bank


def _spoken(voice: Voice, language: str, text: str) -> Sentence:
    clean = speak(voice, text)
    takes = [clean, *(_through(clean, *codec) for codec in CODECS)]
    return Sentence(language, text, word_ends(voice, text), takes)


def _through(samples: Samples, suffix: str, rate: int) -> Samples:
    """`samples` encoded and decoded again, as a gateway gets them."""
    file = io.BytesIO()
    file.name = f"take{suffix}"
    encode(samples, file, rate, 1)
    file.seek(0)
    return decode(file)


class Sampler:
    """Draws batches; the same seed gives the same ones."""

    def __init__(self, speech: Speech, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.bank = sentences(speech)
        self.recordings = [r for r in speech.recordings if len(r.turns) > 1]
        self.by_language = {
            language: [s for s in self.bank.values() if s.language == language]
            for language in LANGUAGES
        }

    def batch(self, long: float) -> list[Example]:
        """Examples of about one length; `long` is the share of batches with several sentences."""
        if self.rng.random() >= long:
            return [self.single() for _ in range(16)]
        seconds = float(self.rng.choice([8, 16, LONGEST_S], p=[0.25, 0.25, 0.5]))
        return [self.sequence(seconds) for _ in range(max(3, round(80 / seconds)))]

    def single(self) -> Example:
        """One sentence, transcribed or translated; or no speech; or the wrong language claimed."""
        draw = self.rng.random()
        if draw < 0.06:
            return self.silence()
        language = LANGUAGES[self.rng.choice(3, p=[0.64, 0.2, 0.16])]
        sentence = self.pick(self.by_language[language])
        audio, heard = self.dress([sentence], LONGEST_S)
        if draw < 0.11:
            claimed = self.pick([other for other in LANGUAGES if other != language])
            return self.example(audio, claimed, claimed, self.babble(claimed), heard)
        answers = {language: sentence.text, **sentence.translations}
        target = language if self.rng.random() < 0.5 else self.pick(list(answers))
        return self.example(audio, language, target, answers[target], heard)

    def sequence(self, seconds: float) -> Example:
        """Sentences one after the other, for up to `seconds`: a passage of a recording, or any."""
        if self.rng.random() < 0.5:
            recording = self.pick(self.recordings)
            turns = [Turn(turn.speaker, turn.text) for turn in recording.turns]
            first = int(self.rng.integers(len(turns))) if self.rng.random() < 0.5 else 0
            chosen = [self.bank[turn] for turn in turns[first:]]
        else:
            pool = self.by_language[LANGUAGES[self.rng.choice(3, p=[0.8, 0.12, 0.08])]]
            chosen = [pool[i] for i in self.rng.permutation(len(pool))]
        room, kept = seconds - 1.0, list[Sentence]()
        for sentence in chosen:
            room -= sentence.seconds + 0.6
            if room < 0 and kept:
                break
            kept.append(sentence)
        audio, heard = self.dress(kept, seconds)
        language, text = kept[0].language, " ".join(s.text for s in kept)
        return self.example(audio, language, language, text, heard)

    def silence(self) -> Example:
        language = self.pick(LANGUAGES)
        audio = np.zeros(int(RATE * self.rng.uniform(0.5, 4)), np.float32)
        return self.example(self.hiss(audio), language, language, "", [])

    def babble(self, language: str) -> str:
        """Words in no order: a wrong language must not be decoded with confidence."""
        words = " ".join(s.text for s in self.by_language[language]).split()
        return " ".join(self.rng.choice(words, int(self.rng.integers(4, 10))))

    def dress(
        self, sentences: list[Sentence], seconds: float
    ) -> tuple[Samples, list[tuple[Sentence, float]]]:
        """The sentences with quiet around and between, cut as a VAD may cut; when each starts."""
        slack = max(0.5, seconds - sum(s.seconds for s in sentences)) / len(sentences)
        longest = self.pick([min(slack, 0.8), min(slack, 1.6), slack])
        pieces, heard = [self.quiet(0, 0.6)], list[tuple[Sentence, float]]()
        for sentence in sentences:
            heard.append((sentence, sum(map(len, pieces)) / RATE))
            pieces += [self.pick(sentence.takes), self.quiet(min(0.4, longest / 2), longest)]
        pieces[-1] = self.quiet(0, 0.6)
        audio = np.concatenate(pieces) * np.float32(10 ** self.rng.uniform(-0.6, 0.25))
        if self.rng.random() < 0.3:
            head, tail = (int(self.rng.uniform(0.001, 0.03) * RATE) for _ in range(2))
            before, after = len(pieces[0]), len(pieces[-1])
            audio = audio[before + head : len(audio) - after - tail]
            heard = [(sentence, start - (before + head) / RATE) for sentence, start in heard]
        return self.hiss(audio), heard

    def quiet(self, least_s: float, most_s: float) -> Samples:
        return np.zeros(int(RATE * self.rng.uniform(least_s, most_s)), np.float32)

    def hiss(self, audio: Samples) -> Samples:
        noise = self.rng.standard_normal(len(audio), np.float32)
        return audio + noise * np.float32(10 ** self.rng.uniform(-6, -2.8))

    def example(
        self,
        audio: Samples,
        source: str,
        target: str,
        text: str,
        heard: list[tuple[Sentence, float]],
    ) -> Example:
        pnc = bool(self.rng.random() < 0.65)
        return Example(audio, source, target, pnc, text if pnc else plain(text), heard)

    def pick(self, items: Sequence[T]) -> T:
        return items[int(self.rng.integers(len(items)))]
