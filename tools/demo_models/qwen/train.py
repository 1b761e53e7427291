"""Trains the demo chat model: a fixed number of steps on one thread, so that it can be repeated."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from tools.demo_models.manifest import Chat

from .checkpoint import new_model, save, write_processor
from .dialogues import Dialogue, Sampler

STEPS = 1400
BATCH = 16
RATE = 2e-3
WARM_UP = 40
SEED = 0
TARGET = 0.01
"""The mean loss of the last steps must be below this, else the recipe has not worked."""


def train(chat: Chat, out: Path, steps: int = STEPS) -> float:
    """Write a trained checkpoint to `out`; the final loss. Raises RuntimeError above `TARGET`."""
    torch.set_num_threads(1)
    corpus = Sampler(chat, SEED + 1)
    processor = write_processor(
        out, (text for _ in range(30) for d in corpus.round() for text in spoken(d))
    )
    model = new_model(out, SEED).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.95), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / WARM_UP, max(0.01, 1 - step / steps))
    )
    losses: list[float] = []
    started = time.process_time()
    for step, batch in zip(range(steps), batches(Sampler(chat, SEED)), strict=False):
        loss = model(**encode(processor, batch)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        schedule.step()
        losses.append(float(loss.detach()))
        if step % 50 == 49:
            mean = sum(losses[-50:]) / 50
            print(
                f"step {step + 1} loss {mean:.4f} {time.process_time() - started:.0f} CPU s",
                flush=True,
            )
    final = sum(losses[-100:]) / len(losses[-100:])
    save(model, out)
    if final > TARGET:
        raise RuntimeError(f"the demo chat model did not learn: loss {final:.4f} > {TARGET}")
    return final


def spoken(dialogue: Dialogue) -> Iterator[str]:
    """All text of a dialogue, to train the tokenizer on."""
    yield dialogue.answer
    for message in dialogue.messages:
        content = message["content"]
        yield content if isinstance(content, str) else content[0].get("text") or content[1]["text"]
    for tool in dialogue.tools:
        yield str(tool["function"]["name"])


def batches(sampler: Sampler) -> Iterator[list[Dialogue]]:
    """Batches of dialogues of about one length, for ever."""
    while True:
        pool = [dialogue for _ in range(4) for dialogue in sampler.round()]
        pool.sort(key=lambda d: len(str(d.messages)) + sampler.rng.random() * 40)
        chunks = [pool[i : i + BATCH] for i in range(0, len(pool), BATCH)]
        sampler.rng.shuffle(chunks)
        yield from chunks


def encode(processor: Any, dialogues: list[Dialogue]) -> dict[str, Any]:
    """Model inputs with `labels` on the answers only, their end marker included."""
    answers = [d.answer + "<|im_end|>" for d in dialogues]
    prompts = [render(processor, d) for d in dialogues]
    inputs = processor(
        text=[prompt + answer for prompt, answer in zip(prompts, answers, strict=True)],
        images=[image for d in dialogues for image in d.images] or None,
        padding=True,
        padding_side="right",
        return_tensors="pt",
    )
    labels = torch.full_like(inputs["input_ids"], -100)
    for row, answer in enumerate(answers):
        end = int(inputs["attention_mask"][row].sum())
        start = end - len(processor.tokenizer(answer)["input_ids"])
        labels[row, start:end] = inputs["input_ids"][row, start:end]
    return {**inputs, "labels": labels}


def render(processor: Any, dialogue: Dialogue) -> str:
    """The prompt as the chat template writes it."""
    text: str = processor.apply_chat_template(
        dialogue.messages, tools=dialogue.tools or None, tokenize=False, add_generation_prompt=True
    )
    return text
