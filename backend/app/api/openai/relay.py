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

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from backend.app.api.deps import Gateway
from backend.app.api.openai.engine_errors import engine_error
from backend.app.api.openai.tail import Frames, StreamTail
from backend.app.engines.client import ConnectFailed, EngineResponse
from backend.app.errors import (
    DeadlineExceeded,
    Dialect,
    Draining,
    EngineError,
    GatewayError,
    Internal,
    Unavailable,
    render_event,
)
from backend.app.models.base import BaseModelWrapper
from backend.app.services.activity import Outcome, Record
from backend.app.services.content import KeptAnswer

COMMENT = b": still working\n\n"
"""An SSE comment: proxies see traffic, clients ignore it."""
CONNECT_TRIES = 3
ERROR_BODY_LIMIT = 1 << 20
CLIENT_GONE = 499
"""What the history shows for a client that left; nobody ever receives it."""
SSE_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]
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


class Relay(Response):
    """Answers exactly one request."""

    def __init__(self, gateway: Gateway, call: Call, record: Record) -> None:
        self.background = None
        self._limits = gateway.settings
        self._call = call
        self._record = record
        self._tail = StreamTail()
        self._kept = KeptAnswer(wanted=gateway.activity.keep_content)
        self._stack = contextlib.AsyncExitStack()
        self._started = False
        self._sending_since: float | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        work = asyncio.ensure_future(self._stream(send) if self._call.stream else self._whole(send))
        gone = asyncio.ensure_future(_disconnected(receive))
        self._record.on_cancel(work.cancel)
        try:
            await self._until_over(work, gone)
            if not work.done():
                self._finish("cancelled", CLIENT_GONE)
            elif work.cancelled():
                await self._cancelled(send)
            else:
                work.result()
                self._finish("completed", 200)
        except GatewayError as exc:
            self._finish("failed", exc.status, exc)
            raise
        except BaseException:
            self._finish("failed", 500)
            raise
        finally:
            for task in (work, gone):
                task.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)

    async def _until_over(self, work: asyncio.Future[None], gone: asyncio.Future[None]) -> None:
        """Until the work is done, the client has gone, or it reads nothing any more."""
        loop = asyncio.get_running_loop()
        while not work.done() and not gone.done():
            await asyncio.wait(
                {work, gone},
                timeout=self._limits.client_write_s,
                return_when=asyncio.FIRST_COMPLETED,
            )
            since = self._sending_since
            if since is not None and loop.time() - since >= self._limits.client_write_s:
                return

    async def _cancelled(self, send: Send) -> None:
        """Somebody else stopped it: the client is told, in the stream if that has begun."""
        error = stopped(self._record)
        if not self._started:
            raise error
        await self._send_error(send, error)
        await self._send_body(send, b"", more=False)

    def _finish(self, outcome: Outcome, status: int, error: GatewayError | None = None) -> None:
        usage = self._tail.usage()
        answer = self._kept.text(stream=self._call.stream)
        if answer is not None:
            self._record.keep(answer=answer)
        self._record.finish(
            outcome,
            status,
            prompt_tokens=usage.prompt,
            completion_tokens=usage.completion,
            approximate=usage.approximate,
            error=error,
        )

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
                    head_timeout=self._limits.request_idle_s,
                )
            except ConnectFailed:
                lease.report_unreachable()
                raise
            try:
                if answer.status >= 400:
                    content = await answer.read(
                        timeout=self._limits.request_idle_s, limit=ERROR_BODY_LIMIT
                    )
                    raise engine_error(answer.status, content, call.body, call.dialect)
                yield answer
            finally:
                answer.close()

    async def _whole(self, send: Send) -> None:
        async with self._answer() as answer:
            headers = [(b"content-type", answer.header(b"content-type") or b"application/json")]
            length = answer.header(b"content-length")
            if length is not None:
                headers.append((b"content-length", length))
            # held back until the first bytes are here, so that an engine that dies is a 502
            chunk = await answer.chunk(self._limits.request_idle_s)
            self._first(chunk)
            await self._send_start(send, answer.status, headers)
            while chunk is not None:
                self._tail.see(chunk)
                self._kept.see(chunk)
                await self._send_body(send, chunk)
                chunk = await answer.chunk(self._limits.request_idle_s)
            await self._send_body(send, b"", more=False)

    # ---- streams ----------------------------------------------------------------------------

    async def _stream(self, send: Send) -> None:
        """Everything after the 200 that goes wrong becomes an error event, never a bare close."""
        opened = asyncio.ensure_future(self._open())
        try:
            await asyncio.wait({opened}, timeout=self._limits.sse_commit_s)
            if opened.done():
                opened.result()
            try:
                await self._send_start(send, 200, SSE_HEADERS)
                while not opened.done():
                    await self._send_body(send, COMMENT)
                    await asyncio.wait({opened}, timeout=self._limits.sse_keepalive_s)
                await self._forward(opened.result(), send)
            except GatewayError as exc:
                await self._send_error(send, exc)
            except OSError:
                raise  # the client's side: there is nobody to tell
            except Exception:
                await self._send_error(send, Internal())
                raise
            await self._send_body(send, b"", more=False)
        finally:
            opened.cancel()
            await asyncio.gather(opened, return_exceptions=True)
            await self._stack.aclose()

    async def _open(self) -> EngineResponse:
        return await self._stack.enter_async_context(self._answer())

    async def _forward(self, answer: EngineResponse, send: Send) -> None:
        idle = 0.0
        tail, frames = self._tail, Frames()
        while True:
            try:
                chunk = await answer.chunk(self._limits.sse_keepalive_s)
            except DeadlineExceeded:
                idle += self._limits.sse_keepalive_s
                if idle >= self._limits.request_idle_s:
                    raise
                await self._send_body(send, COMMENT)
                continue
            if chunk is None:
                break
            idle = 0.0
            chunk = frames.whole(chunk)
            if not chunk:
                continue
            if not tail.frames:
                self._record.first_token()
                self._first(chunk)
            tail.see(chunk)
            self._kept.see(chunk)
            await self._send_body(send, chunk)
        if not tail.ended_with(self._call.end_marks):
            raise EngineError("The engine ended the stream before it was complete.")

    def _first(self, chunk: bytes | None) -> None:
        if chunk and self._call.on_first is not None:
            self._call.on_first(chunk)

    async def _send_error(self, send: Send, error: GatewayError) -> None:
        self._finish("failed", error.status, error)
        number = self._tail.frames  # those of /v1/responses count from 0
        frame = render_event(error, self._call.dialect, self._record.request_id, number)
        await self._send_body(send, frame)

    # ---- to the client ----------------------------------------------------------------------

    async def _send_start(
        self, send: Send, status: int, headers: list[tuple[bytes, bytes]]
    ) -> None:
        self._started = True
        await send({"type": "http.response.start", "status": status, "headers": list(headers)})

    async def _send_body(self, send: Send, data: bytes, more: bool = True) -> None:
        self._sending_since = asyncio.get_running_loop().time()
        await send({"type": "http.response.body", "body": data, "more_body": more})
        self._sending_since = None


def stopped(record: Record) -> GatewayError:
    """What the client of a request is told that was not ended by itself."""
    if record.cancelled_by == "shutdown":
        return Draining("The gateway shut down before this was finished.", retry_after=5)
    return Unavailable(
        "The request was cancelled by the operator.", code="cancelled", permanent=True
    )


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
