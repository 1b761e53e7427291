"""`python -m tests.engines.make_embedding DIRECTORY`: a tiny Qwen3 with random weights.

What vLLM makes an embedding model of. Its tokenizer is the demo chat model's.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

DEMO = Path(__file__).parents[2] / "demo" / "models" / "qwen"
WIDTH = 128
"""Numbers in a vector."""


def main(directory: Path) -> None:
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM
    from transformers.utils import logging

    logging.set_verbosity_error()
    torch.manual_seed(7)
    directory.mkdir(parents=True, exist_ok=True)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(DEMO / name, directory / name)
    config = Qwen3Config(
        vocab_size=1280,
        hidden_size=WIDTH,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=512,
        dtype="float32",  # with bfloat16 vLLM 0.32 asks for AMX, which not every host lets us use
    )
    Qwen3ForCausalLM(config).float().save_pretrained(directory)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
