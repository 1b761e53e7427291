"""The Hugging Face token: set, cleared, checked against the Hub. Never shown."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field, SecretStr

from backend.app.api.deps import Gate, Gateway
from backend.app.api.refusals import refusals
from backend.app.errors import InvalidRequest, Unavailable
from backend.app.hub.disk import on_disk
from backend.app.hub.errors import TOKEN_CODES
from backend.app.models.state import State

router = APIRouter(prefix="/huggingface", responses=refusals(Unavailable))
log = logging.getLogger(__name__)


class TokenRequest(BaseModel):
    model_config = {"extra": "forbid"}

    token: SecretStr | None = Field(description="null clears it.")


class GatedRepository(BaseModel):
    repo: str
    url: str = Field(description="Where its licence is accepted.")
    accessible: bool | None = Field(description="With this token; null: the Hub did not say.")


class TokenStatus(BaseModel):
    present: bool
    source: str = Field(description="environment, stored, or none.")
    valid: bool | None = Field(description="null: there is none, or the Hub did not answer.")
    name: str | None = Field(description="The account it belongs to.")
    missing_scopes: list[str] = Field(description="What a fine-grained token should allow too.")
    gated: list[GatedRepository] = Field(description="Gated repositories of the models here.")


async def _status(gateway: Gateway) -> dict[str, Any]:
    hub = gateway.hub
    token, repositories = await on_disk(lambda: (hub.tokens.get(), hub.repositories()))
    identity = await hub.identity.whoami(token.value)
    value = token.value if identity.valid is not False else None
    gates = await hub.identity.gates(repositories, value)
    return {
        "present": token.value is not None,
        "source": token.source,
        "valid": identity.valid,
        "name": identity.name,
        "missing_scopes": list(identity.missing_scopes),
        "gated": [vars(gate) for gate in gates],
    }


def _try_again(gateway: Gateway) -> None:
    """Models that failed for lack of a token have a better chance now."""
    for model in gateway.registry.models.values():
        failure, goal = model.failure, model.supervisor.goal
        if model.state is State.FAILED and failure and failure.code in TOKEN_CODES:
            log.info("%s: trying again with the new token", model.key)
            if goal.up:
                model.load(replicas=goal.replicas)
            else:
                model.download()


@router.get("/token", operation_id="hub_token", response_model=TokenStatus)
async def token_status(gateway: Gate) -> Any:
    """Whether there is a token, where it comes from, and what the Hub says of it."""
    return await _status(gateway)


@router.post("/token", operation_id="set_hub_token", response_model=TokenStatus)
async def set_token(wanted: TokenRequest, gateway: Gate) -> Any:
    """Keep a token. One that the Hub does not know is refused; without its answer it is kept.

    Models whose download failed for lack of a token are tried again.
    """
    hub = gateway.hub
    token = None if wanted.token is None else wanted.token.get_secret_value().strip()
    if token == "":
        raise InvalidRequest(
            "An empty token: is its variable set? null clears the one that is kept.",
            param="token",
            code="invalid_token",
        )
    hub.identity.forget()
    if token and (await hub.identity.whoami(token)).valid is False:
        raise InvalidRequest(
            f"{hub.identity.shown} does not know this token; the one before is kept.",
            param="token",
            code="invalid_token",
        )
    await on_disk(lambda: hub.tokens.set(token))
    log.info("the Hugging Face token was %s", "set" if token else "cleared")
    if token:
        _try_again(gateway)
    return await _status(gateway)


@router.delete("/token", operation_id="clear_hub_token", response_model=TokenStatus)
async def clear_token(gateway: Gate) -> Any:
    """Forget the token. One in the environment counts again once it is changed."""
    return await set_token(TokenRequest(token=None), gateway)
