"""Answers that take as long as the work behind them: how they end, and how bytes leave.

The work ends by itself, or because its client has gone, reads nothing for CLIENT_WRITE_S, or
somebody stops it. However it ends, the record says so.
"""

from __future__ import annotations

import abc
import asyncio
import contextlib
import logging

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from backend.app.config import Settings
from backend.app.errors import Draining, GatewayError, Internal, Unavailable
from backend.app.middleware import send_rest_of
from backend.app.services.activity import Outcome, Record
from backend.app.waiting import end, within

log = logging.getLogger(__name__)

COMMENT = b": still working\n\n"
"""An SSE comment: proxies see traffic, clients ignore it."""
SSE_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]
CLIENT_GONE = 499
"""What the history shows for a client that left; nobody ever receives it."""


class LongAnswer(Response, abc.ABC):
    """Answers exactly one request, by `work` in a task of its own."""

    def __init__(self, settings: Settings, record: Record, *, streams: bool) -> None:
        """`streams`: once it has begun, an error is an event; else the connection is cut."""
        self.background = None
        self.limits = settings
        self.record = record
        self.streams = streams
        self._loop = asyncio.get_running_loop()
        self._started = False
        self._sending_since: float | None = None

    @abc.abstractmethod
    async def work(self) -> None:
        """Send the whole answer. Raises what the client is to be told; cancelled at any time."""

    @abc.abstractmethod
    def finish(self, outcome: Outcome, status: int, error: GatewayError | None = None) -> None:
        """Finish the record; only the first call counts."""

    @abc.abstractmethod
    def event(self, error: GatewayError) -> bytes:
        """An error as an SSE event."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._send_head, self._send_rest = send, send_rest_of(scope)
        work = asyncio.ensure_future(self.work())
        gone = asyncio.ensure_future(_disconnected(receive))
        self.record.on_cancel(work.cancel)
        try:
            await self._until_over(work, gone)
            if not work.done():
                self.finish("cancelled", CLIENT_GONE)
            elif work.cancelled():
                await self._stopped()
            else:
                work.result()
                self.finish("completed", 200)
        except GatewayError as exc:
            self.finish("failed", exc.status, exc)
            raise
        except BaseException:
            self.finish("failed", 500)
            raise
        finally:
            await end(work, gone)

    async def _until_over(self, work: asyncio.Future[None], gone: asyncio.Future[None]) -> None:
        """Until the work is done, the client has gone, or it reads nothing any more."""
        patience = self.limits.client_write_s
        while not work.done() and not gone.done():
            await asyncio.wait({work, gone}, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            since = self._sending_since
            if since is not None and self._loop.time() - since >= patience:
                return

    async def _stopped(self) -> None:
        """Somebody else stopped it: the client is told, in the stream if that has begun."""
        if self.record.cancelled_by == "shutdown":
            error: GatewayError = Draining(
                "The gateway shut down before this was finished.", retry_after=5
            )
        else:
            error = Unavailable(
                "The request was cancelled by the operator.", code="cancelled", permanent=True
            )
        if not (self._started and self.streams):
            raise error
        with contextlib.suppress(asyncio.TimeoutError):  # it reads nothing
            await within(self.limits.client_write_s, self._end_with(error))

    async def _end_with(self, error: GatewayError) -> None:
        await self.send_error(error)
        await self.send_body(b"", more=False)

    # ---- to the client ----------------------------------------------------------------------

    async def send_start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self._started = True
        await self._send_head(
            {"type": "http.response.start", "status": status, "headers": list(headers)}
        )

    async def send_body(self, data: bytes, more: bool = True) -> None:
        self._sending_since = self._loop.time()
        await self._send_rest({"type": "http.response.body", "body": data, "more_body": more})
        self._sending_since = None

    async def send_error(self, error: GatewayError) -> None:
        """The last event of a stream, but not its end."""
        self.fail(error)
        await self.send_body(self.event(error))

    def fail(self, error: GatewayError) -> None:
        """A stream ends with an error. It is logged without what a client sent, which the words of
        a refusal may quote."""
        self.finish("failed", error.status, error)
        if isinstance(error, Internal):  # told with its traceback where it is caught
            return
        said = f": {error.detail or error.message}" if error.status >= 500 else ""
        what = error.code or error.status
        log.warning("%s: a stream ends with %s%s", self.record.model, what, said)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
