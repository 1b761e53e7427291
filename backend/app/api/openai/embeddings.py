"""Texts to vectors, by a model of kind `embedding`."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from backend.app.api.deps import Gate
from backend.app.api.openai.chat import forward
from backend.app.api.refusals import INFERENCE, refusals
from backend.app.errors import NotFound
from backend.app.models.spec import Kind

router = APIRouter(tags=["embeddings"], responses=refusals(*INFERENCE))


@router.post("/v1/embeddings", operation_id="create_embedding")
async def embeddings(request: Request, gateway: Gate) -> Response:
    """Vectors for a text, several, or lists of token ids; `encoding_format` and `dimensions`."""
    if not gateway.registry.of_kind(Kind.EMBEDDING):
        raise NotFound(
            "No embedding model is configured: add one to MODELS_FILE.",
            param="model",
            code="model_not_found",
        )
    return await forward(request, gateway, Kind.EMBEDDING)
