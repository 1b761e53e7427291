"""QwenModel: multimodal chat on vLLM."""

from __future__ import annotations

from typing import Any, ClassVar

from backend.app.models.vllm import VllmModel


class QwenModel(VllmModel):
    """Proven by one token."""

    elastic = True
    proof_path = "/v1/chat/completions"
    proof_body: ClassVar[dict[str, Any]] = {
        "messages": [{"role": "user", "content": "ping"}],
        "max_tokens": 1,
        "temperature": 0,
    }
