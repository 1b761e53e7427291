"""One conversation with an audio engine: PCM goes out, messages come in, failures become errors."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Protocol

from backend.app.engines.client import ConnectFailed, EngineResponse
from backend.app.errors import (
    Draining,
    EngineError,
    GatewayError,
    InvalidRequest,
    Loading,
)
from backend.app.models.contracts import Lease
from backend.app.workers.protocol import (
    PARAMS_HEADER,
    DiarizeParams,
    Done,
    Failed,
    Lines,
    Message,
    ProtocolError,
    TranscribeParams,
    decode,
    encode_params,
)

REFUSAL_BYTES = 1 << 16
RETRY_S = 5
TRIES = 3


class Registry(Protocol):
    """What this needs of the ModelRegistry."""

    def lease(self, name: str, affinity: bytes = b"") -> AbstractAsyncContextManager[Lease]: ...


async def converse(
    registry: Registry,
    model: str,
    route: str,
    params: TranscribeParams | DiarizeParams,
    pcm: Callable[[], AsyncIterator[bytes]],
    idle_s: float,
) -> AsyncGenerator[Message, None]:
    """The messages of a leased engine, the last of which is Done.

    Closing the generator makes the engine stop. `idle_s`: how long the engine may be silent, or
    take nothing of the PCM. Raises GatewayError.
    """
    for _ in range(TRIES):
        async with registry.lease(model) as lease:
            try:
                answer = await lease.client.request(
                    "POST",
                    route,
                    headers=[(PARAMS_HEADER.encode(), encode_params(params).encode())],
                    body=pcm(),
                    head_timeout=idle_s,
                    write_timeout=idle_s,
                )
            except ConnectFailed:  # nothing was sent: another replica may be alive
                lease.report_unreachable()
                continue
            try:
                async with aclosing(_messages(answer, idle_s)) as messages:
                    async for message in messages:
                        yield message
            finally:
                answer.close()
            return
    raise EngineError("The engine cannot be reached; try again.", retry_after=1)


async def _messages(answer: EngineResponse, idle_s: float) -> AsyncGenerator[Message, None]:
    try:
        if answer.status != 200:
            message = decode((await answer.read(timeout=idle_s, limit=REFUSAL_BYTES)).strip())
            raise failure(message) if isinstance(message, Failed) else ProtocolError("no reason")
        lines = Lines()
        while (data := await answer.chunk(idle_s)) is not None:
            for message in lines.feed(data):
                if isinstance(message, Failed):
                    raise failure(message)
                yield message
                if isinstance(message, Done):
                    return
    except ProtocolError as exc:
        raise EngineError("The engine gave an answer that cannot be read.") from exc
    raise EngineError("The engine broke off in the middle of its answer.")


def failure(failed: Failed) -> GatewayError:
    """What a client is told when an engine says that it failed."""
    if failed.code in {"bad_request", "bad_audio"}:
        return InvalidRequest(failed.message, code=failed.code)
    if failed.code == "loading":
        return Loading(failed.message, retry_after=RETRY_S)
    if failed.code == "draining":
        return Draining(failed.message, retry_after=RETRY_S)
    return EngineError(failed.message, code=failed.code, permanent=not failed.retryable)
