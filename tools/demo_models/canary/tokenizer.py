"""One sentencepiece for all languages, with Canary's control tokens in front."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import sentencepiece

from .architecture import CONTROL

PIECES = 320


def plain(text: str) -> str:
    """`text` as Canary writes it without punctuation and capitals."""
    return re.sub(r"\s+", " ", re.sub(r"[^\w\s'’-]", " ", text.lower())).strip()


def write_tokenizer(out: Path, texts: Iterable[str]) -> None:
    """Train on `texts`, with and without punctuation; write what NeMo's `bpe` type wants."""
    lines = [line for text in texts for line in (text, plain(text))]
    (out / "train.txt").write_text("\n".join(lines * 3), "utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(out / "train.txt"),
        model_prefix=str(out / "tokenizer"),
        model_type="bpe",
        vocab_size=PIECES,
        user_defined_symbols=list(CONTROL),
        unk_id=len(CONTROL),
        bos_id=-1,
        eos_id=-1,
        pad_id=-1,
        character_coverage=1.0,
        normalization_rule_name="identity",
        hard_vocab_limit=False,
        num_threads=1,
        minloglevel=2,
    )
    rows = (out / "tokenizer.vocab").read_text("utf-8").splitlines()
    pieces = [row.split("\t")[0] for row in rows]
    (out / "vocab.txt").write_text("\n".join(pieces) + "\n", "utf-8")
