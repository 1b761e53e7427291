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

from starlette.types import Receive, Scope, Send

from backend.app.api.openai.long_answer import COMMENT, SSE_HEADERS, LongAnswer
from backend.app.config import Settings
from backend.app.errors import Dialect, GatewayError, Internal, render_event
from backend.app.services.activity import Outcome, Record
from backend.app.waiting import end


@dataclass(frozen=True)
class Rendered:
    """A complete answer."""

    body: bytes
    media_type: str
    headers: dict[str, str] = field(default_factory=dict)


Whole = Callable[[], Awaitable[Rendered]]
Frames = Callable[[], AsyncGenerator[bytes, None]]


class Answer(LongAnswer):
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
        super().__init__(settings, record, streams=frames is not None)
        self._close = close
        self._whole = whole
        self._frames = frames
        self.audio_seconds: float | None = None
        """What the record will say was heard; set by the work."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._close()

    def finish(self, outcome: Outcome, status: int, error: GatewayError | None = None) -> None:
        self.record.finish(outcome, status, audio_seconds=self.audio_seconds, error=error)

    def event(self, error: GatewayError) -> bytes:
        return render_event(error, Dialect.OPENAI, self.record.request_id)

    async def work(self) -> None:
        if self._frames is not None:
            async with aclosing(self._frames()) as frames:
                await self._stream(frames)
            return
        assert self._whole is not None
        rendered = await self._whole()
        headers = [
            (b"content-type", rendered.media_type.encode()),
            (b"content-length", b"%d" % len(rendered.body)),
            *((name.encode(), value.encode()) for name, value in rendered.headers.items()),
        ]
        await self.send_start(200, headers)
        await self.send_body(rendered.body, more=False)

    async def _stream(self, frames: AsyncGenerator[bytes, None]) -> None:
        pending = asyncio.ensure_future(anext(frames, None))
        try:
            await asyncio.wait({pending}, timeout=self.limits.sse_commit_s)
            if pending.done():
                pending.result()
            await self.send_start(200, SSE_HEADERS)
            while True:
                await asyncio.wait({pending}, timeout=self.limits.sse_keepalive_s)
                if not pending.done():
                    await self.send_body(COMMENT)
                    continue
                try:
                    frame = pending.result()
                except GatewayError as exc:
                    await self.send_error(exc)
                    break
                except Exception:
                    await self.send_error(Internal(self.record.request_id))
                    raise
                if frame is None:
                    break
                self.record.first_token()
                await self.send_body(frame)
                pending = asyncio.ensure_future(anext(frames, None))
            await self.send_body(b"", more=False)
        finally:
            await end(pending)
