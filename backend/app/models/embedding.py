"""EmbeddingModel: texts to vectors on vLLM."""

from __future__ import annotations

from typing import Any, ClassVar

from backend.app.models.vllm import VllmModel


class EmbeddingModel(VllmModel):
    """Proven by one vector."""

    proof_path = "/v1/embeddings"
    proof_body: ClassVar[dict[str, Any]] = {"input": "ping"}
