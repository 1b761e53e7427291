"""One answer of an engine: sending the request it belongs to, and reading it as it arrives."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterable, Callable
from contextlib import aclosing

from backend.app.engines._connection import Connection, wake
from backend.app.engines._wire import Answer
from backend.app.errors import DeadlineExceeded, EngineError

MAX_UNREAD = 256 << 10
"""So many bytes that nobody has read yet, and the engine has to wait."""
INLINE_BODY = 64 << 10
"""Bodies up to this size go out with their head in one write."""
PIECE = 256 << 10
"""Longer ones go out in pieces of this size, each of which has to be taken before a deadline."""


class Unanswered(EngineError):
    """The connection ended before the first byte of an answer."""


class EngineResponse:
    """An answer that is arriving. One reader at a time; whoever got it must `close` it."""

    def __init__(
        self, connection: Connection, method: str, put_back: Callable[[Connection], None]
    ) -> None:
        self._put_back = put_back
        self._connection: Connection | None = connection
        self._loop = asyncio.get_running_loop()
        self._answer = Answer(head_only=method == "HEAD")
        self._error: Exception | None = None
        self._waiter: asyncio.Future[bool] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = self._deadline = math.inf
        self._sender: asyncio.Task[None] | None = None
        self._sent = False
        connection.exchange = self

    @property
    def status(self) -> int:
        return self._answer.status

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """Lower-cased names, without what concerns the connection only."""
        return self._answer.headers

    def header(self, name: bytes) -> bytes | None:
        """The first value of a header; `name` in lower case."""
        return next((value for key, value in self.headers if key == name), None)

    async def chunk(self, timeout: float | None) -> bytes | None:
        """All bytes that have arrived, waiting for the first; None at the complete end.

        Raises DeadlineExceeded when nothing comes for `timeout` seconds: the answer stays usable,
        the caller may wait again. Raises EngineError when the engine closed early or talked
        nonsense, DeadlineExceeded too when it stopped taking the request's body, and whatever
        that body raised.
        """
        answer = self._answer
        while not answer.unread:
            if self._error is not None:
                raise self._error
            if answer.complete:
                self.close()
                return None
            if not await self._wait(timeout) and not (answer.unread or self._ended):
                raise DeadlineExceeded("The engine sent nothing in time.")
        data = answer.take()
        if self._connection is not None:
            self._connection.resume()
        return data

    async def read(self, *, timeout: float, limit: int = 64 << 20) -> bytes:
        """The whole body, within `timeout` seconds in total; closes the answer in any case.

        Raises what `chunk` raises, and EngineError above `limit` bytes.
        """
        deadline = self._loop.time() + timeout
        parts: list[bytes] = []
        size = 0
        try:
            while (data := await self.chunk(max(0.0, deadline - self._loop.time()))) is not None:
                parts.append(data)
                size += len(data)
                if size > limit:
                    raise EngineError(f"The engine's answer is larger than {limit} bytes.")
                if self._loop.time() > deadline and not self._answer.complete:
                    raise DeadlineExceeded("The engine did not finish in time.")
        finally:
            self.close()
        return b"".join(parts)

    def close(self) -> None:
        """Give the connection back if the answer is complete, else cut it. Idempotent.

        Cutting it makes the engine stop its work. After a 5xx it is cut too: uvicorn closes then
        without announcing it, and the next request would find out.
        """
        connection = self._connection
        if connection is None:
            return
        self.fail(EngineError("The answer was closed before its end."))
        self._connection = connection.exchange = None
        self._answer.release()
        if self._timer is not None:
            self._timer.cancel()
        if self._sender is not None:
            self._sender.cancel()
        if self._sent and self._answer.keep_alive and self.status < 500 and connection.usable:
            connection.resume()
            self._put_back(connection)
        else:
            connection.abort()

    # sending, for EngineClient

    async def begin(
        self,
        head: bytes,
        body: bytes | AsyncIterable[bytes],
        head_timeout: float,
        write_timeout: float,
    ) -> None:
        """Send the request and wait for the answer's status and headers."""
        connection = self._connection
        assert connection is not None
        if isinstance(body, bytes) and len(body) <= INLINE_BODY:
            connection.write(head + body)
            self._sent = True
        else:
            connection.write(head)
            self._sender = self._loop.create_task(self._send(connection, body, write_timeout))
        while not self.status:
            if self._error is not None:
                raise self._error
            # While the body is on its way its own deadline counts.
            timeout = head_timeout if self._sender is None else None
            if not await self._wait(timeout) and not (self.status or self._ended):
                raise DeadlineExceeded(f"The engine did not answer within {head_timeout:g} s.")

    async def _send(
        self, connection: Connection, body: bytes | AsyncIterable[bytes], write_timeout: float
    ) -> None:
        try:
            async with aclosing(_pieces(body)) as pieces:
                async for piece in pieces:
                    connection.write(piece)
                    await connection.drain(write_timeout)
            self._sent = True
        except Exception as exc:
            self._sender = None
            self.fail(exc)
            connection.abort()
        else:
            self._sender = None
            self._wake()

    # receiving, for Connection

    def received(self, data: bytes) -> None:
        answer = self._answer
        connection = self._connection
        assert connection is not None
        status = answer.status
        try:
            answer.feed(data)
        except EngineError as exc:
            self.fail(exc)
            connection.abort()
            return
        if answer.unread > MAX_UNREAD:
            connection.pause()
        if answer.unread or answer.complete or answer.status != status:
            self._wake()

    def lost(self, cause: Exception | None) -> None:
        answer = self._answer
        if cause is None:
            answer.feed_eof()
        answer.keep_alive = False
        if answer.complete:
            self._wake()
            return
        error = (
            Unanswered("The engine closed the connection without an answer.")
            if answer.untouched
            else EngineError("The engine closed the connection in the middle of its answer.")
        )
        error.__cause__ = cause
        self.fail(error)

    # shared

    @property
    def _ended(self) -> bool:
        return self._answer.complete or self._error is not None

    def fail(self, error: Exception) -> None:
        """Fail, unless it has already ended in one way or the other."""
        if not self._ended:
            self._error = error
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None:
            wake(self._waiter, True)

    async def _wait(self, timeout: float | None) -> bool:
        """Until something happens: true. After `timeout` seconds: false."""
        waiter: asyncio.Future[bool] = self._loop.create_future()
        self._waiter = waiter
        if timeout is not None:
            self._deadline = self._loop.time() + timeout
            if self._timer is None or self._deadline < self._timer_at:
                self._arm()
        try:
            return await waiter
        finally:
            self._waiter = None
            self._deadline = math.inf

    def _arm(self) -> None:
        # One timer follows the deadline, as a new one for each event of a stream would cost 7 %
        # of the client's time at 32 streams.
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = self._deadline
        self._timer = self._loop.call_later(self._deadline - self._loop.time(), self._expired)

    def _expired(self) -> None:
        self._timer = None
        if self._waiter is None or self._deadline == math.inf:
            return
        if self._deadline > self._loop.time():
            self._arm()
        else:
            wake(self._waiter, False)


async def _pieces(body: bytes | AsyncIterable[bytes]) -> AsyncGenerator[bytes, None]:
    """A body as it goes over the wire: as it is when its length was announced, else in chunks."""
    if isinstance(body, bytes):
        for start in range(0, len(body), PIECE):
            yield body[start : start + PIECE]
        return
    try:
        async for data in body:
            for start in range(0, len(data), PIECE):
                piece = data[start : start + PIECE]
                yield b"%x\r\n%b\r\n" % (len(piece), piece)
    finally:
        close = getattr(body, "aclose", None)
        if close is not None:
            await close()
    yield b"0\r\n\r\n"
