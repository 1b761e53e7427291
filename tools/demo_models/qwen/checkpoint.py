"""Reads and writes the demo chat model's directory, in the published layout."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import (
    AutoConfig,
    AutoProcessor,
    Qwen2Tokenizer,
    Qwen3VLMoeForConditionalGeneration,
)

from .architecture import (
    CONTROL,
    DTYPE,
    VISIBLE,
    config,
    generation_config,
    processors,
    tokenizer_config,
)

TEMPLATE = Path(__file__).with_name("template.jinja")
VOCABULARY = 1280


def write_processor(out: Path, corpus: Iterable[str]) -> Any:
    """Train a byte-level BPE on `corpus`, write all but the weights to `out`; the processor."""
    out.mkdir(parents=True, exist_ok=True)
    tokens = [*CONTROL, *VISIBLE]
    base = Qwen2Tokenizer()
    trained = base.train_new_from_iterator(corpus, VOCABULARY - len(tokens), show_progress=False)
    backend = trained.backend_tokenizer
    backend.add_special_tokens(list(CONTROL))
    backend.add_tokens(list(VISIBLE))
    backend.save(str(out / "tokenizer.json"))
    ids = {token: backend.token_to_id(token) for token in tokens}
    padded = -(-backend.get_vocab_size() // 64) * 64
    files = {
        "config.json": config(ids, padded),
        "generation_config.json": generation_config(ids),
        "tokenizer_config.json": tokenizer_config(ids),
        **processors(),
    }
    for name, content in files.items():
        (out / name).write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    (out / "chat_template.jinja").write_text(TEMPLATE.read_text("utf-8"), "utf-8")
    return AutoProcessor.from_pretrained(out)


def new_model(out: Path, seed: int) -> Any:
    """A freshly initialised model for the configuration in `out`, in float32."""
    torch.manual_seed(seed)
    model = Qwen3VLMoeForConditionalGeneration(AutoConfig.from_pretrained(out)).float()
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            if "norm" in name and name.endswith("weight"):
                parameter.fill_(1.0)
            elif name.endswith("bias"):
                parameter.zero_()
            else:
                parameter.normal_(0.0, 0.02)
    return model


def save(model: Any, out: Path) -> None:
    """Write the weights. transformers holds experts transposed to what is published and served."""
    weights = {}
    for name, value in model.state_dict().items():
        if name.endswith(("experts.gate_up_proj", "experts.down_proj")):
            value = value.transpose(1, 2)
        weights[name] = value.detach().to(getattr(torch, DTYPE)).contiguous()
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
