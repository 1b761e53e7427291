"""Responses by id: asked of the engines that are running, none is started for it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from fastapi import APIRouter, Request, Response

from backend.app.api.deps import Gate, Gateway
from backend.app.api.openai.engine_errors import engine_error
from backend.app.api.refusals import INFERENCE, refusals
from backend.app.engines.client import EngineClient
from backend.app.errors import GatewayError, NotFound
from backend.app.models.base import BaseModelWrapper
from backend.app.models.replica import Replica
from backend.app.models.spec import Kind

router = APIRouter(tags=["chat"], responses=refusals(*INFERENCE))
ANSWER_LIMIT = 16 << 20


async def _ask(gateway: Gateway, method: str, target: str, response_id: str) -> Response:
    """The model that made it answers, and where we do not know that, the first that has it.

    404 when none does: vLLM keeps responses only when it was told to
    (VLLM_ENABLE_RESPONSES_API_STORE), and only until it ends.
    """
    refusal: GatewayError = NotFound(
        f"No response '{response_id}' is kept here.", param="response_id", code="not_found"
    )
    limit = gateway.settings.engine_probe_timeout_s
    for model in _asked(gateway, response_id):
        for replica in list(model.replicas):
            if not replica.admits:  # it may have gone while another one was asked
                continue
            try:
                async with _visit(model, replica) as client:
                    answer = await client.request(method, target, head_timeout=limit)
                    try:
                        content = await answer.read(timeout=limit, limit=ANSWER_LIMIT)
                    finally:
                        answer.close()
            except GatewayError as exc:  # another one may have it
                refusal = exc
                continue
            if answer.status == 200:
                return Response(content, media_type="application/json")
            if answer.status not in {404, 405, 501}:
                refusal = engine_error(answer.status, content)
    raise refusal


@contextlib.asynccontextmanager
async def _visit(model: BaseModelWrapper, replica: Replica) -> AsyncIterator[EngineClient]:
    """In flight without a lease: nothing is loaded for it, and a drain waits for it."""
    client = replica.enter()
    try:
        yield client
    finally:
        replica.leave()
        if not model.in_flight:
            model.supervisor.wake()


def _asked(gateway: Gateway, response_id: str) -> list[BaseModelWrapper]:
    """Its maker, else every chat model."""
    models = gateway.registry.of_kind(Kind.CHAT)
    maker = gateway.makers.of(response_id)
    return [model for model in models if model.key == maker] or models


@router.get("/v1/responses/{response_id}", operation_id="get_response")
async def get_response(response_id: str, request: Request, gateway: Gate) -> Response:
    """A response that was created with `store: true`."""
    return await _ask(gateway, "GET", _target(request), response_id)


@router.post("/v1/responses/{response_id}/cancel", operation_id="cancel_response")
async def cancel_response(response_id: str, request: Request, gateway: Gate) -> Response:
    """Stop a response that runs in the background."""
    return await _ask(gateway, "POST", _target(request), response_id)


def _target(request: Request) -> str:
    raw: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
    return raw.split(b"?")[0].decode("ascii", "replace")
