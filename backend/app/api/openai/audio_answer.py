"""Answers that take as long as the work behind them, and end when the client leaves.

The work owns everything it needs and gives it back however it ends. Streams keep the promises of
`relay`: a failure before the first byte has its real status, a failure after it is an error event,
and silence never lasts longer than SSE_KEEPALIVE_S.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from backend.app.api.openai.relay import CLIENT_GONE, COMMENT, SSE_HEADERS, stopped
from backend.app.config import Settings
from backend.app.errors import Dialect, GatewayError, Internal, render_event
from backend.app.services.activity import Outcome, Record


@dataclass(frozen=True)
class Rendered:
    """A complete answer."""

    body: bytes
    media_type: str
    headers: dict[str, str] = field(default_factory=dict)


Whole = Callable[[], Awaitable[Rendered]]
Frames = Callable[[], AsyncGenerator[bytes, None]]


class Answer(Response):
    """Does the work, whole or in frames, once it is called; `close` runs whatever happens."""

    def __init__(
        self,
        settings: Settings,
        record: Record,
        close: Callable[[], None],
        *,
        whole: Whole | None = None,
        frames: Frames | None = None,
    ) -> None:
        """Exactly one of `whole` and `frames`; each frame is one SSE event."""
        self.background = None
        self._settings = settings
        self._record = record
        self._close = close
        self._whole = whole
        self._frames = frames
        self._started = False
        self._sending_since: float | None = None
        self.audio_seconds: float | None = None
        """What the record will say was heard; set by the work."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        work = asyncio.ensure_future(self._work(send))
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
            self._close()

    async def _work(self, send: Send) -> None:
        if self._frames is not None:
            async with aclosing(self._frames()) as frames:
                await self._stream(frames, send)
            return
        assert self._whole is not None
        rendered = await self._whole()
        headers = [
            (b"content-type", rendered.media_type.encode()),
            (b"content-length", b"%d" % len(rendered.body)),
            *((name.encode(), value.encode()) for name, value in rendered.headers.items()),
        ]
        await self._send_start(send, headers)
        await self._send_body(send, rendered.body, more=False)

    async def _stream(self, frames: AsyncGenerator[bytes, None], send: Send) -> None:
        pending = asyncio.ensure_future(anext(frames, None))
        try:
            await asyncio.wait({pending}, timeout=self._settings.sse_commit_s)
            if pending.done():
                pending.result()
            await self._send_start(send, SSE_HEADERS)
            while True:
                await asyncio.wait({pending}, timeout=self._settings.sse_keepalive_s)
                if not pending.done():
                    await self._send_body(send, COMMENT)
                    continue
                try:
                    frame = pending.result()
                except GatewayError as exc:
                    await self._send_error(send, exc)
                    break
                except Exception:
                    await self._send_error(send, Internal(self._record.request_id))
                    raise
                if frame is None:
                    break
                self._record.first_token()
                await self._send_body(send, frame)
                pending = asyncio.ensure_future(anext(frames, None))
            await self._send_body(send, b"", more=False)
        finally:
            pending.cancel()
            await asyncio.gather(pending, return_exceptions=True)

    async def _until_over(self, work: asyncio.Future[None], gone: asyncio.Future[None]) -> None:
        """Until the work is done, the client has gone, or it reads nothing any more."""
        loop = asyncio.get_running_loop()
        patience = self._settings.client_write_s
        while not work.done() and not gone.done():
            await asyncio.wait({work, gone}, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            since = self._sending_since
            if since is not None and loop.time() - since >= patience:
                return

    async def _cancelled(self, send: Send) -> None:
        error = stopped(self._record)
        if not self._started:
            raise error
        if self._frames is not None:
            await self._send_error(send, error)
            await self._send_body(send, b"", more=False)

    async def _send_error(self, send: Send, error: GatewayError) -> None:
        self._finish("failed", error.status, error)
        frame = render_event(error, Dialect.OPENAI, self._record.request_id)
        await self._send_body(send, frame)

    def _finish(self, outcome: Outcome, status: int, error: GatewayError | None = None) -> None:
        self._record.finish(outcome, status, audio_seconds=self.audio_seconds, error=error)

    async def _send_start(self, send: Send, headers: list[tuple[bytes, bytes]]) -> None:
        self._started = True
        await send({"type": "http.response.start", "status": 200, "headers": list(headers)})

    async def _send_body(self, send: Send, data: bytes, more: bool = True) -> None:
        self._sending_since = asyncio.get_running_loop().time()
        await send({"type": "http.response.body", "body": data, "more_body": more})
        self._sending_since = None


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
