"""The routes that vLLM answers: an explicit list, and nothing else of the engine is reachable."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter, Request, Response

from backend.app.api.deps import Gate, Gateway, begin
from backend.app.api.openai.relay import Call, Relay
from backend.app.api.refusals import INFERENCE, refusals
from backend.app.bodies import hold
from backend.app.errors import Dialect, GatewayError, InvalidRequest
from backend.app.middleware import dialect_of
from backend.app.models.base import BaseModelWrapper
from backend.app.models.spec import Kind
from backend.app.services.content import prompt_of
from backend.app.services.media import inline_remote
from backend.app.services.media_scan import peek

router = APIRouter(tags=["chat"], responses=refusals(*INFERENCE))
_ANTHROPIC = refusals(*INFERENCE, dialect=Dialect.ANTHROPIC)

_DONE = (b"[DONE]",)
_RESPONSE = (b"response.completed", b"response.incomplete", b"response.failed", b"[DONE]")
END_MARKS = {
    "/v1/chat/completions": _DONE,
    "/v1/completions": _DONE,
    "/v1/responses": _RESPONSE,
    "/v1/messages": (b"message_stop",),
}
TOKENIZING = (Kind.CHAT, Kind.EMBEDDING)


def wanted_model(gateway: Gateway, name: object, *kinds: Kind) -> BaseModelWrapper:
    """The model a body names. 400 when it names none, or one of none of these kinds."""
    if not isinstance(name, str) or not name:
        raise InvalidRequest(
            "You must provide a 'model': a name from GET /v1/models.", param="model"
        )
    model = gateway.registry.resolve(name)
    if model.spec.kind not in kinds:
        wanted = " or ".join(kind.value for kind in kinds)
        raise InvalidRequest(
            f"The model '{name}' is for {model.spec.kind.value}; this route wants a model for"
            f" {wanted}.",
            param="model",
        )
    return model


async def forward(request: Request, gateway: Gateway, *kinds: Kind) -> Response:
    """Read the body once for what routing needs, and relay it as it came."""
    path = request.scope["path"]
    body = await request.body()
    if not body:
        raise InvalidRequest("The body is empty: send the request as JSON.")
    seen = peek(body)
    model = wanted_model(gateway, seen.model, *kinds)
    record = begin(gateway, request.scope, model.key, path, stream=seen.stream)
    if gateway.activity.keep_content:
        record.keep(prompt=prompt_of(body))
    try:
        if seen.media:
            body = await inline_remote(body, gateway.media)
            hold(request.scope, len(body))
    except GatewayError as exc:
        record.finish("failed", exc.status, error=exc)
        raise
    except BaseException:
        record.finish("failed", 500)
        raise
    call = Call(
        model=model,
        method="POST",
        target=path,
        body=body,
        stream=seen.stream and path in END_MARKS,
        dialect=dialect_of(path),
        affinity=seen.affinity,
        end_marks=END_MARKS.get(path, ()),
        on_first=partial(gateway.makers.note, model.key) if path == "/v1/responses" else None,
    )
    return Relay(gateway, call, record)


@router.post("/v1/chat/completions", operation_id="create_chat_completion")
async def chat_completions(request: Request, gateway: Gate) -> Response:
    """Chat, with images, tools and structured output; streaming with `stream: true`."""
    return await forward(request, gateway, Kind.CHAT)


@router.post("/v1/completions", operation_id="create_completion")
async def completions(request: Request, gateway: Gate) -> Response:
    """Plain text completion."""
    return await forward(request, gateway, Kind.CHAT)


@router.post("/v1/responses", operation_id="create_response")
async def responses(request: Request, gateway: Gate) -> Response:
    """OpenAI's Responses API, as far as vLLM speaks it."""
    return await forward(request, gateway, Kind.CHAT)


@router.post("/v1/messages", operation_id="create_message", responses=_ANTHROPIC)
async def messages(request: Request, gateway: Gate) -> Response:
    """Anthropic's Messages API."""
    return await forward(request, gateway, Kind.CHAT)


@router.post("/v1/messages/count_tokens", operation_id="count_message_tokens", responses=_ANTHROPIC)
async def count_tokens(request: Request, gateway: Gate) -> Response:
    """How many tokens a request to /v1/messages would have."""
    return await forward(request, gateway, Kind.CHAT)


@router.post("/tokenize", operation_id="tokenize")
async def tokenize(request: Request, gateway: Gate) -> Response:
    """How a prompt or a conversation becomes token ids."""
    return await forward(request, gateway, *TOKENIZING)


@router.post("/detokenize", operation_id="detokenize")
async def detokenize(request: Request, gateway: Gate) -> Response:
    """Token ids back to text."""
    return await forward(request, gateway, *TOKENIZING)
