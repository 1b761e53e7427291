"""How routes refuse and fail, for the OpenAPI document: from the tree of errors to `responses`.

Nothing is rendered here; `errors.render` does that. Whatever a route does not name is `default`,
in the same envelope: also of the 422 that FastAPI would promise, which is never sent.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from backend.app.errors import (
    DeadlineExceeded,
    Dialect,
    EngineError,
    GatewayError,
    Internal,
    InvalidRequest,
    ModelNotFound,
    QueueFull,
    TooLarge,
    TooSlow,
    Unauthorized,
    Unavailable,
)

Responses = dict[int | str, dict[str, Any]]


class ErrorDetail(BaseModel):
    message: str = Field(description="For people: what is wrong, and what would help.")
    type: str
    param: str | None = Field(description="The field that is wrong.")
    code: str | None = Field(description="For programs: which mistake or failure it is.")


class Error(BaseModel):
    """OpenAI's envelope. In a stream it is the last event."""

    error: ErrorDetail


class AnthropicErrorDetail(BaseModel):
    type: str
    message: str


class AnthropicError(BaseModel):
    """Anthropic's envelope. In a stream it is the last event, named `error`."""

    type: Literal["error"]
    error: AnthropicErrorDetail
    request_id: str | None = None


ENVELOPES: dict[Dialect, type[BaseModel]] = {
    Dialect.OPENAI: Error,
    Dialect.RESPONSES: Error,
    Dialect.ANTHROPIC: AnthropicError,
}
WORDS = {
    400: "The request is wrong; `param` names the field.",
    401: "No key, or one that nobody knows.",
    403: "A valid key without this right.",
    404: "Nothing here has that name.",
    405: "The path does not answer to this method.",
    408: "The body did not come in time.",
    409: "Not possible in this state.",
    413: "Larger or longer than is allowed here.",
    415: "Not of a kind that is read here.",
    429: "The model's queue is full. Try again after `Retry-After` seconds.",
    431: "The head of the request is larger than is read here.",
    500: "The gateway's own mistake; its log has more under the request id.",
    502: "The engine died or broke off.",
    503: "The model is loading, does not fit or failed, or the gateway is busy or shutting down.",
    504: "It took too long.",
    507: "The room for uploads is in use.",
}
RETRY_AFTER = frozenset({429, 503, 507})
_SECONDS = {
    "Retry-After": {
        "description": "Seconds, where trying again may help.",
        "schema": {"type": "integer"},
    }
}


def refusals(*kinds: type[GatewayError], dialect: Dialect = Dialect.OPENAI) -> Responses:
    """`responses` of a route that may raise these."""
    envelope = ENVELOPES[dialect]
    found: Responses = {}
    for status in sorted({kind.status for kind in kinds}):
        found[status] = {"model": envelope, "description": WORDS[status]}
        if status in RETRY_AFTER:
            found[status]["headers"] = _SECONDS
    return found | {"default": {"model": envelope, "description": "Any other failure."}}


INFERENCE = (
    InvalidRequest,
    Unauthorized,
    ModelNotFound,
    TooSlow,
    TooLarge,
    QueueFull,
    Internal,
    EngineError,
    Unavailable,
    DeadlineExceeded,
)
"""What any request that a model answers may meet."""
