"""Canary as NeMo 3.0 runs it. The only module that knows NeMo.

NeMo's own entry point for arrays gives one prompt to all of a batch. Its data-loader entry takes a
prompt per item and pads nothing by itself, so it is used here: requests of different languages
share a batch. Decoding is greedy, which is what the published models ask for (beam of one) and,
other than NeMo's beam, tells how sure it was of each token.
"""

from __future__ import annotations

import logging
import math
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from .protocol import LANGUAGES, SAMPLE_RATE, Token, Word
from .shell import Phase, Refused

SHORTEST = SAMPLE_RATE
"""NeMo centres shorter audio in so many samples of silence; the model was trained on no less."""


@dataclass(frozen=True)
class Utterance:
    """Speech to decode: s16le samples, at most what the model's window holds."""

    pcm: bytes
    source: str
    target: str
    pnc: bool


@dataclass(frozen=True)
class Sentence:
    """Times in seconds from the start of the utterance."""

    text: str
    start: float
    end: float
    words: tuple[Word, ...]


@dataclass(frozen=True)
class Reading:
    """What the model made of an utterance. `sentences` only where times were asked for."""

    text: str
    tokens: tuple[Token, ...] = ()
    sentences: tuple[Sentence, ...] = ()

    @property
    def logprob(self) -> float | None:
        """Mean over the tokens, so that long and short texts compare."""
        if not self.tokens:
            return None
        return sum(token.logprob for token in self.tokens) / len(self.tokens)


def find_checkpoint(path: Path) -> Path:
    """The .nemo file at `path`, or the only one in it."""
    if path.is_file():
        return path
    found = sorted(path.glob("*.nemo")) or sorted(path.glob("*/*.nemo"))
    if len(found) != 1:
        what = "no .nemo file" if not found else f"{len(found)} .nemo files"
        raise FileNotFoundError(f"{path} holds {what}; exactly one is needed")
    return found[0]


class CanaryModel:
    """Call it from one thread at a time."""

    def __init__(self, path: Path, device: str, phase: Phase) -> None:
        checkpoint = find_checkpoint(path)
        phase("starting", "importing NeMo")
        import torch
        from nemo.collections.asr.models import ASRModel
        from nemo.collections.asr.models.aed_multitask_models import (
            EncDecMultiTaskModel,
            MultiTaskTranscriptionConfig,
        )

        logging.getLogger("nemo_logger").addFilter(lambda record: record.levelno >= logging.ERROR)
        self._torch: Any = torch
        self._config: Callable[..., Any] = MultiTaskTranscriptionConfig
        if device == "cuda":
            if not torch.cuda.is_available():
                raise RuntimeError("--device cuda, but torch sees no GPU here")
            torch.cuda.set_device(0)
        phase("weights", checkpoint.name)
        model = ASRModel.restore_from(str(checkpoint), map_location=device)
        if not isinstance(model, EncDecMultiTaskModel):
            raise TypeError(f"{checkpoint.name} is a {type(model).__name__}, not a Canary")
        self._model: Any = model.eval()
        self._rate = int(model.cfg.preprocessor.sample_rate)
        self._decode_greedily()
        self.languages = self._known_languages()

    def _decode_greedily(self) -> None:
        from nemo.collections.asr.parts.submodules.multitask_decoding import (
            MultiTaskDecodingConfig,
        )
        from omegaconf import OmegaConf

        before = self._model.cfg.decoding
        beam = before.get("beam", {})
        config = OmegaConf.structured(MultiTaskDecodingConfig())
        config.strategy = "greedy"
        config.greedy.max_generation_delta = beam.get("max_generation_delta", -1)
        config.confidence_cfg.preserve_token_confidence = True
        config.confidence_cfg.method_cfg.name = "max_prob"
        config.confidence_cfg.method_cfg.alpha = 1.0
        if before.strategy == "beam" and beam.get("beam_size", 1) != 1:
            print(f"decoding greedily, not with a beam of {beam.beam_size}", flush=True)
        self._model.change_decoding_strategy(config)

    def _known_languages(self) -> tuple[str, ...]:
        tokenizer = self._model.tokenizer
        if hasattr(tokenizer, "langs"):
            known = {name[:2] for name in tokenizer.langs}
            return tuple(code for code in LANGUAGES if code in known)
        pieces = set(tokenizer.vocab)
        return tuple(code for code in LANGUAGES if f"<|{code}|>" in pieces)

    def __call__(self, timestamps: bool, utterances: Sequence[Utterance]) -> list[Reading]:
        """One batch, one result for each. Raises what NeMo raises, for the batch as a whole."""
        torch = self._torch
        padded = [_signal(utterance.pcm) for utterance in utterances]
        signals = [at_rate(torch.from_numpy(signal), self._rate) for signal, _ in padded]
        lengths = torch.tensor([len(signal) for signal in signals])
        audio = torch.nn.utils.rnn.pad_sequence(signals, batch_first=True)
        prompts = torch.stack([self._prompt(utterance, timestamps) for utterance in utterances])
        sizes = torch.full((len(prompts),), prompts.shape[1])
        batch = (audio, lengths, None, None, prompts, sizes)
        loader = torch.utils.data.DataLoader([batch], batch_size=None)
        config = self._config(
            batch_size=len(signals),
            return_hypotheses=True,
            verbose=False,
            enable_chunking=False,
        )
        try:
            found = self._model.transcribe(loader, override_config=config, timestamps=timestamps)
        except torch.OutOfMemoryError as exc:
            torch.cuda.empty_cache()
            message = "The GPU has not enough free memory for this audio."
            raise Refused("out_of_memory", message, retryable=True) from exc
        except torch.AcceleratorError as exc:
            _die(exc)
        return [
            self._reading(hypothesis, padding / SAMPLE_RATE, timestamps)
            for hypothesis, (_, padding) in zip(found, padded, strict=True)
        ]

    def _prompt(self, utterance: Utterance, timestamps: bool) -> Any:
        # a model without an aligner of its own writes times itself when the prompt asks for them
        own_times = timestamps and self._model.timestamps_asr_model is None
        wanted = {
            "source_lang": utterance.source,
            "target_lang": utterance.target,
            "pnc": "yes" if utterance.pnc else "no",
            "timestamp": "yes" if own_times else "no",
            "task": "asr" if utterance.source == utterance.target else "ast",
        }
        turns = self._model.prompt.get_default_dialog_slots()
        for turn in turns:
            if turn["role"] == "user":
                slots = turn["slots"]
                turn["slots"] = {name: wanted.get(name, slots[name]) for name in slots}
        return self._model.prompt.encode_dialog(turns=turns)["context_ids"]

    def _reading(self, hypothesis: Any, padding_s: float, timestamps: bool) -> Reading:
        text = hypothesis.text.strip()
        pieces = self._model.tokenizer.ids_to_tokens(hypothesis.y_sequence.tolist())
        tokens = tuple(
            Token(token=piece.replace("▁", " "), logprob=logprob)
            for piece, logprob in zip(pieces, self._logprobs(hypothesis), strict=True)
        )
        if not text or not timestamps:
            return Reading(text, tokens)
        words = _words(hypothesis.timestamp["word"], tokens, padding_s)
        return Reading(
            text, tokens, _sentences(hypothesis.timestamp["segment"], words, text, padding_s)
        )

    def _logprobs(self, hypothesis: Any) -> list[float]:
        """NeMo scales the probability p of the token taken to (p·v - 1) / (v - 1)."""
        v = self._model.decoding.decoding.greedy_search.num_tokens
        scaled = hypothesis.token_confidence.double()
        p = (scaled * (v - 1) + 1) / v
        return p.clamp(1e-9, 1.0).log().tolist()  # type: ignore[no-any-return]


def _signal(pcm: bytes) -> tuple[np.ndarray[Any, np.dtype[np.float32]], int]:
    """As float32, and how many samples of silence were put before it."""
    signal = np.frombuffer(pcm, dtype="<i2").astype(np.float32) / 32768
    lack = max(0, SHORTEST - len(signal))
    return np.pad(signal, (lack // 2, lack - lack // 2)), lack // 2


def at_rate(signal: Any, rate: int) -> Any:
    """A tensor of 16 kHz as the model wants it: every published Canary wants it as it is."""
    if rate == SAMPLE_RATE:
        return signal
    from torchaudio.functional import resample

    return resample(signal, SAMPLE_RATE, rate)


def _words(
    aligned: Sequence[dict[str, Any]], tokens: Sequence[Token], padding_s: float
) -> tuple[Word, ...]:
    """Words with their places; a word that was not aligned (-1) stands where the last one ended."""
    sure: list[list[float]] = []
    for token in tokens:
        if token.token.startswith(" ") or not sure:
            sure.append([])
        sure[-1].append(token.logprob)
    matched = len(sure) == len(aligned)
    words: list[Word] = []
    for i, word in enumerate(aligned):
        last = words[-1].end if words else 0.0
        start = last if word["start"] < 0 else max(0.0, word["start"] - padding_s)
        end = start if word["end"] < 0 else max(start, word["end"] - padding_s)
        confidence = math.exp(sum(sure[i]) / len(sure[i])) if matched else None
        words.append(Word(start=start, end=end, word=word["word"], confidence=confidence))
    return tuple(words)


def _sentences(
    segments: Sequence[dict[str, Any]], words: Sequence[Word], text: str, padding_s: float
) -> tuple[Sentence, ...]:
    """NeMo's segments with their words; one for all where they do not add up to the text, none
    where it placed no word: then nothing is known of where they are.
    """
    if not words:
        return ()
    counts = [len(segment["segment"].split()) for segment in segments]
    joined = " ".join(segment["segment"] for segment in segments)
    if sum(counts) != len(words) or joined.split() != text.split():
        return (Sentence(text, words[0].start, words[-1].end, tuple(words)),)
    sentences, first = [], 0
    for segment, count in zip(segments, counts, strict=True):
        own = tuple(words[first : first + count])
        # NeMo frees a segment's end from trailing punctuation, as it does for words
        start = own[0].start if segment["start"] < 0 else max(0.0, segment["start"] - padding_s)
        end = own[-1].end if segment["end"] < 0 else max(start, segment["end"] - padding_s)
        sentences.append(Sentence(segment["segment"], start, end, own))
        first += count
    return tuple(sentences)


def _die(exc: Exception) -> NoReturn:
    """After a CUDA fault nothing in this process works any more: let it be restarted."""
    print(f"CUDA fault, the process ends: {exc}", file=sys.stderr, flush=True)
    os._exit(70)
