"""Trains the demo Canary and its aligner together: one encoder, two losses, one thread."""

from __future__ import annotations

import random
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nemo.collections.asr.models import EncDecCTCModelBPE, EncDecMultiTaskModel
from omegaconf import OmegaConf

from tools.demo_models.manifest import Speech

from .alignment import Split, frame_labels
from .architecture import aligner_config, canary_config
from .examples import Example, Sampler
from .package import package
from .tokenizer import write_tokenizer

STEPS = 3000
RATE = 2e-3
WARM_UP = 100
SEED = 0
IGNORED = -100
TARGET = 0.1
"""The mean loss of the last steps must be below this, else the recipe has not worked. It cannot
come near zero: words in no order, where the wrong language is claimed, cannot be learnt."""


def train(speech: Speech, out: Path, steps: int = STEPS) -> float:
    """Write `canary.nemo` to `out`; the final loss. Raises RuntimeError above `TARGET`."""
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    random.seed(SEED)
    np.random.seed(SEED)
    sampler = Sampler(speech, SEED)
    with tempfile.TemporaryDirectory(prefix="canary-") as directory:
        write_tokenizer(Path(directory), texts(sampler))
        canary = EncDecMultiTaskModel(cfg=OmegaConf.create(canary_config(Path(directory))))
        aligner = EncDecCTCModelBPE(cfg=OmegaConf.create(aligner_config(Path(directory))))
        aligner.encoder = canary.encoder
        loss = fit(canary.train(), aligner.train(), sampler, steps)
        package(canary.eval(), aligner.eval(), out)
    if loss > TARGET:
        raise RuntimeError(f"the demo Canary did not learn: loss {loss:.4f} > {TARGET}")
    return loss


def texts(sampler: Sampler) -> list[str]:
    """All that the model may have to write."""
    return [t for s in sampler.bank.values() for t in (s.text, *s.translations.values())]


def fit(canary: Any, aligner: Any, sampler: Sampler, steps: int) -> float:
    """The training loop; the mean loss of the decoder over the last hundred steps."""
    parameters = [*canary.parameters(), *aligner.decoder.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=RATE, betas=(0.9, 0.98), weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / WARM_UP, max(0.01, 1 - step / steps))
    )
    losses, started = list[tuple[float, float]](), time.process_time()
    for step in range(steps):
        batch = sampler.batch(long=0.55 if step > steps // 8 else 0.0)
        told, aligned = both_losses(canary, aligner, batch)
        (told + aligned).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        schedule.step()
        losses.append((float(told.detach()), float(aligned.detach())))
        if step % 100 == 99:
            mean = np.mean(losses[-100:], axis=0)
            spent = time.process_time() - started
            print(
                f"step {step + 1} loss {mean[0]:.4f} aligner {mean[1]:.4f} {spent:.0f} CPU s",
                flush=True,
            )
    return float(np.mean(losses[-100:], axis=0)[0])


def both_losses(canary: Any, aligner: Any, batch: list[Example]) -> tuple[Any, Any]:
    """The decoder's loss on the answers, and the aligner's on what is heard when."""
    audio, audio_lengths = padded([torch.from_numpy(e.audio) for e in batch], 0.0)
    encoded = [encode(canary, e) for e in batch]
    tokens, lengths = padded([tokens for tokens, _ in encoded], canary.tokenizer.pad_id)
    prompts = torch.tensor([prompt for _, prompt in encoded])
    log_probs, encoded_lengths, states, _ = canary.forward(
        input_signal=audio,
        input_signal_length=audio_lengths,
        transcript=tokens[:, :-1],
        transcript_length=lengths - 1,
    )
    places = torch.arange(tokens.shape[1] - 1)[None]
    answer = (places < lengths[:, None] - 1) & (places >= prompts[:, None] - 1)
    told = canary.loss(log_probs=log_probs, labels=tokens[:, 1:], output_mask=answer)
    scores = aligner.decoder(encoder_output=states.transpose(1, 2))
    frames, blank = scores.shape[1], scores.shape[2] - 1
    labels = [frame_labels(e.heard, e.pnc, splitter(canary), frames, blank) for e in batch]
    for row, length in zip(labels, encoded_lengths.tolist(), strict=True):
        row[length:] = [IGNORED] * (frames - length)
    aligned = torch.nn.functional.nll_loss(
        scores.flatten(0, 1), torch.tensor(labels).flatten(), ignore_index=IGNORED
    )
    return told, aligned


def splitter(canary: Any) -> Split:
    """The tokenizer as alignment wants it."""
    pieces, number = canary.tokenizer.text_to_tokens, canary.tokenizer.token_to_id
    return lambda text: [(number(piece), len(piece)) for piece in pieces(text)]


def encode(canary: Any, example: Example) -> tuple[torch.Tensor, int]:
    """Prompt and answer as tokens, and the length of the prompt."""
    slots = {
        "decodercontext": "",
        "emotion": "<|emo:undefined|>",
        "source_lang": example.source,
        "target_lang": example.target,
        "pnc": "yes" if example.pnc else "no",
        "itn": "no",
        "timestamp": "no",
        "diarize": "no",
    }
    turns = [
        {"role": "user", "slots": slots},
        {"role": "assistant", "slots": {"text": example.text}},
    ]
    encoded = canary.prompt.encode_dialog(turns)
    return encoded["input_ids"], len(encoded["context_ids"])


def padded(rows: list[torch.Tensor], value: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of different length as one tensor, and their lengths."""
    lengths = torch.tensor([len(row) for row in rows])
    return torch.nn.utils.rnn.pad_sequence(rows, True, value), lengths
