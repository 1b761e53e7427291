"""What an operator does to a model. Each answers 202 with a snapshot; `?wait=true` when done."""

from __future__ import annotations

import logging
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Response

from backend.app.api.admin.schemas import LoadRequest, Model
from backend.app.api.deps import Gate, Gateway
from backend.app.api.refusals import Responses, refusals
from backend.app.errors import (
    Conflict,
    DeadlineExceeded,
    DoesNotFit,
    InvalidRequest,
    ModelNotFound,
    Unavailable,
)
from backend.app.models.base import BaseModelWrapper
from backend.app.models.contracts import Goal
from backend.app.models.placement import NoRoom, Refused
from backend.app.models.placer import eviction_s

log = logging.getLogger(__name__)
router = APIRouter(
    prefix="/models", responses=refusals(ModelNotFound, Conflict, Unavailable, DeadlineExceeded)
)
Wait = Annotated[bool, Query(description="Answer when it is done, not when it has begun.")]
LOG_LINES = 200


async def _answer(
    gateway: Gateway, key: str, goal: Goal, wait: bool, response: Response
) -> dict[str, Any]:
    model = gateway.registry.get(key)
    log.info("%s: an operator wants it %s", key, _wish(goal))
    if wait:
        limits = gateway.settings
        start_s = limits.engine_start_s + limits.engine_proof_s + limits.drain_s
        await model.settled(goal, start_s + eviction_s(limits))
        if not goal.reached:
            newer = _wish(model.supervisor.goal)
            message = f"Superseded by a newer wish: the model '{key}' is to be {newer}."
            raise Conflict(message, code="superseded")
        if goal.failure is not None:
            raise model.model_failed(goal.failure)
    else:
        response.status_code = 202
    return model.snapshot()


def _wish(goal: Goal) -> str:
    if goal.up:
        where = f"GPUs {list(goal.gpu_ids)}" if goal.gpu_ids else "any GPUs"
        return f"loaded on {where}, {goal.replicas} replica(s)"
    return "downloaded" if goal.fetch else "unloaded"


async def _refuse_unknown_gpus(gateway: Gateway, ids: list[int]) -> None:
    if not ids:
        return
    sample = gateway.monitor.latest or await gateway.monitor.sample()
    visible = [gpu.index for gpu in sample.reading.gpus]
    if len(set(ids)) != len(ids) or not set(ids) <= set(visible):
        raise InvalidRequest(
            f"GPU ids {ids}: choose different ones of those visible: {visible or 'none'}.",
            param="gpu_device_ids",
        )


async def _refuse_what_cannot_be(
    gateway: Gateway, model: BaseModelWrapper, wanted: LoadRequest
) -> None:
    """Before anything that runs is taken down for a wish that cannot be met."""
    await _refuse_unknown_gpus(gateway, wanted.gpu_device_ids or [])
    if not model.replicas:
        return
    ids = model.preferred_device_ids if wanted.gpu_device_ids is None else wanted.gpu_device_ids
    try:
        await model.placer.check(model, ids, wanted.replicas or model.configuration.wanted.replicas)
    except NoRoom as exc:
        raise DoesNotFit(str(exc)) from None
    except Refused as exc:
        raise InvalidRequest(str(exc), param="gpu_device_ids") from None


_REPLIES: Responses = {202: {"model": Model, "description": "Begun."}}


@router.post("/{key}/download", operation_id="download", response_model=Model, responses=_REPLIES)
async def download(key: str, gateway: Gate, response: Response, wait: Wait = False) -> Any:
    """Fetch what is missing, verify and repair what is there."""
    return await _answer(gateway, key, gateway.registry.get(key).download(), wait, response)


@router.post("/{key}/load", operation_id="load", response_model=Model, responses=_REPLIES)
async def load(
    key: str,
    gateway: Gate,
    response: Response,
    wanted: Annotated[LoadRequest | None, Body()] = None,
    wait: Wait = False,
) -> Any:
    """Load it, on chosen GPUs if given; on other GPUs than today's it drains and reloads."""
    wanted = wanted or LoadRequest()
    model = gateway.registry.get(key)
    if wanted != LoadRequest():
        await _refuse_what_cannot_be(gateway, model, wanted)
    goal = model.load(wanted.gpu_device_ids, wanted.replicas)
    return await _answer(gateway, key, goal, wait, response)


@router.post("/{key}/unload", operation_id="unload", response_model=Model, responses=_REPLIES)
async def unload(key: str, gateway: Gate, response: Response, wait: Wait = False) -> Any:
    """Drain, stop the engines, give the memory back; the receipt says how much."""
    return await _answer(gateway, key, gateway.registry.get(key).unload(), wait, response)


@router.post("/{key}/cancel", operation_id="cancel", response_model=Model, responses=_REPLIES)
async def cancel(key: str, gateway: Gate, response: Response, wait: Wait = False) -> Any:
    """Stop a download or a load that is under way. 409 when there is none."""
    return await _answer(gateway, key, gateway.registry.get(key).cancel(), wait, response)


@router.get("/{key}/logs", operation_id="engine_logs")
async def engine_logs(
    key: str, gateway: Gate, lines: Annotated[int, Query(ge=1, le=2000)] = LOG_LINES
) -> dict[str, list[str]]:
    """The last lines each replica's newest engine printed, also after its end."""
    model = gateway.registry.get(key)
    out = model.engine_logs(lines)
    failure = model.failure
    if not out and failure is not None:  # it did not even start, or was a download
        out[key] = list(failure.log_tail)[-lines:]
    return out
