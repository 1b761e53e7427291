"""Carries one request to an engine and its answer back, byte for byte.

A relay is an ASGI answer: it owns the lease from the moment it is called until the last byte is
out or the client has gone. Streams keep three promises: a failure before the first byte has its
real status, a failure after it is an error event in the route's dialect, and silence never lasts
longer than SSE_KEEPALIVE_S.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from backend.app.api.deps import Gateway
from backend.app.api.openai.engine_errors import engine_error
from backend.app.api.openai.long_answer import COMMENT, SSE_HEADERS, LongAnswer
from backend.app.api.openai.tail import Frames, StreamTail
from backend.app.engines.client import ConnectFailed, EngineResponse
from backend.app.errors import (
    DeadlineExceeded,
    Dialect,
    EngineError,
    GatewayError,
    Internal,
    render_event,
)
from backend.app.models.base import BaseModelWrapper
from backend.app.services.activity import Outcome, Record
from backend.app.services.content import KeptAnswer
from backend.app.waiting import end

CONNECT_TRIES = 3
ERROR_BODY_LIMIT = 1 << 20
_JSON = [(b"content-type", b"application/json")]


@dataclass(frozen=True)
class Call:
    """One request to an engine, as it came from the client."""

    model: BaseModelWrapper
    method: str
    target: str
    body: bytes
    stream: bool
    dialect: Dialect
    affinity: bytes = b""
    end_marks: tuple[bytes, ...] = ()
    """A complete stream of this route has one of them in its last frame."""
    on_first: Callable[[bytes], None] | None = None
    """Told the first bytes of an answer."""


class Relay(LongAnswer):
    """Answers exactly one request."""

    def __init__(self, gateway: Gateway, call: Call, record: Record) -> None:
        super().__init__(gateway.settings, record, streams=call.stream)
        self._call = call
        self._tail = StreamTail()
        self._kept = KeptAnswer(wanted=gateway.activity.keep_content)
        self._stack = contextlib.AsyncExitStack()

    async def work(self) -> None:
        if not self._call.stream:
            await self._whole()
            return
        async with self._stack:  # whatever comes in between, the lease is given back
            await self._stream()

    def finish(self, outcome: Outcome, status: int, error: GatewayError | None = None) -> None:
        usage = self._tail.usage()
        answer = self._kept.text(stream=self._call.stream)
        if answer is not None:
            self.record.keep(answer=answer)
        self.record.finish(
            outcome,
            status,
            prompt_tokens=usage.prompt,
            completion_tokens=usage.completion,
            approximate=usage.approximate,
            error=error,
        )

    def event(self, error: GatewayError) -> bytes:
        number = self._tail.frames  # those of /v1/responses count from 0
        return render_event(error, self._call.dialect, self.record.request_id, number)

    # ---- to and from the engine -------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _answer(self) -> AsyncIterator[EngineResponse]:
        """An engine's answer under a lease. An engine that was gone before anything was sent is
        left for another one, or for its successor."""
        for _ in range(CONNECT_TRIES):
            unreached = True
            try:
                async with self._try() as answer:
                    unreached = False
                    yield answer
                    return
            except ConnectFailed:
                if not unreached:
                    raise
        raise EngineError("The engine cannot be reached; try again.", retry_after=1)

    @contextlib.asynccontextmanager
    async def _try(self) -> AsyncIterator[EngineResponse]:
        """A lease and the engine's answer under it. Raises what the client is to be told."""
        call = self._call
        async with call.model.lease(call.affinity) as lease:
            try:
                answer = await lease.client.request(
                    call.method,
                    call.target,
                    headers=_JSON if call.body else (),
                    body=call.body,
                    head_timeout=self.limits.request_idle_s,
                )
            except ConnectFailed:
                lease.report_unreachable()
                raise
            try:
                if answer.status >= 400:
                    content = await answer.read(
                        timeout=self.limits.request_idle_s, limit=ERROR_BODY_LIMIT
                    )
                    raise engine_error(answer.status, content, call.body, call.dialect)
                yield answer
            finally:
                answer.close()

    async def _whole(self) -> None:
        async with self._answer() as answer:
            headers = [(b"content-type", answer.header(b"content-type") or b"application/json")]
            length = answer.header(b"content-length")
            if length is not None:
                headers.append((b"content-length", length))
            # held back until the first bytes are here, so that an engine that dies is a 502
            chunk = await answer.chunk(self.limits.request_idle_s)
            self._first(chunk)
            await self.send_start(answer.status, headers)
            while chunk is not None:
                self._tail.see(chunk)
                self._kept.see(chunk)
                await self.send_body(chunk)
                chunk = await answer.chunk(self.limits.request_idle_s)
            await self.send_body(b"", more=False)

    # ---- streams ----------------------------------------------------------------------------

    async def _stream(self) -> None:
        """Everything after the 200 that goes wrong becomes an error event, never a bare close."""
        opened = asyncio.ensure_future(self._open())
        try:
            await asyncio.wait({opened}, timeout=self.limits.sse_commit_s)
            if opened.done():
                opened.result()
            try:
                await self.send_start(200, SSE_HEADERS)
                while not opened.done():
                    await self.send_body(COMMENT)
                    await asyncio.wait({opened}, timeout=self.limits.sse_keepalive_s)
                await self._forward(opened.result())
            except GatewayError as exc:
                await self.send_error(exc)
            except OSError:
                raise  # the client's side: there is nobody to tell
            except Exception:
                await self.send_error(Internal(self.record.request_id))
                raise
            await self.send_body(b"", more=False)
        finally:
            await end(opened)

    async def _open(self) -> EngineResponse:
        return await self._stack.enter_async_context(self._answer())

    async def _forward(self, answer: EngineResponse) -> None:
        idle = 0.0
        tail, frames = self._tail, Frames()
        while True:
            try:
                chunk = await answer.chunk(self.limits.sse_keepalive_s)
            except DeadlineExceeded:
                idle += self.limits.sse_keepalive_s
                if idle >= self.limits.request_idle_s:
                    raise
                await self.send_body(COMMENT)
                continue
            if chunk is None:
                break
            idle = 0.0
            chunk = frames.whole(chunk)
            if not chunk:
                continue
            if not tail.frames:
                self.record.first_token()
                self._first(chunk)
            tail.see(chunk)
            self._kept.see(chunk)
            await self.send_body(chunk)
        if not tail.ended_with(self._call.end_marks):
            raise EngineError("The engine ended the stream before it was complete.")
        if tail.broke:  # which its client has been told by the engine
            self.fail(EngineError("The engine ended the stream with an error."))

    def _first(self, chunk: bytes | None) -> None:
        if chunk and self._call.on_first is not None:
            self._call.on_first(chunk)
