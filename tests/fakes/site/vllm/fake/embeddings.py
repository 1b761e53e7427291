"""`/v1/embeddings`: a vector that depends on nothing but the text, so that a test can check it."""

from __future__ import annotations

import base64
import hashlib
import math
import struct
import uuid
from typing import Any

from .ask import Refused

WIDTH = 32


def vector(text: str, width: int = WIDTH) -> list[float]:
    """Of length 1, made of the text's SHA-256."""
    digest = hashlib.sha256(text.encode()).digest()
    raw = [digest[n % len(digest)] - 127.5 for n in range(width)]
    length = math.sqrt(sum(x * x for x in raw))
    # as a float32 travels, so that both encodings say the same
    return list(struct.unpack(f"<{width}f", struct.pack(f"<{width}f", *(x / length for x in raw))))


def embed(body: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """Raises Refused where vLLM would answer 400 or 404."""
    given = body.get("input")
    if not given:
        raise Refused(400, "Bad Request", "1 validation error:\n  {'type': 'missing'}", "body")
    model = body.get("model") or names[0]
    if model not in names:
        raise Refused(404, "NotFoundError", f"The model `{model}` does not exist.", "model")
    many = given if isinstance(given, list) and not isinstance(given[0], int) else [given]
    texts = [text if isinstance(text, str) else " ".join(map(str, text)) for text in many]
    data = []
    for index, text in enumerate(texts):
        found: Any = vector(text, body.get("dimensions") or WIDTH)
        if body.get("encoding_format") == "base64":
            found = base64.b64encode(struct.pack(f"<{len(found)}f", *found)).decode()
        data.append({"index": index, "object": "embedding", "embedding": found})
    words = sum(len(text.split()) for text in texts)
    usage = {"prompt_tokens": words, "total_tokens": words, "completion_tokens": 0}
    head = {"id": f"embd-{uuid.uuid4().hex}", "object": "list", "created": 0, "model": model}
    return {**head, "data": data, "usage": {**usage, "prompt_tokens_details": None}}
