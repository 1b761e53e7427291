"""The streaming HTTP/1.1 client that talks to engines over Unix sockets or TCP.

Our own because every token of every chat passes through it: on uvloop, 32 streams of 64 events at
once take 1.8 (events read one by one) to 2.5 times (in bursts) less CPU than with aiohttp, as
`tools/bench/client_compare.py` measures.
"""

from __future__ import annotations

import asyncio
import copy
from collections import deque
from collections.abc import AsyncIterable, Iterable

from backend.app.engines._connection import Connection, open_connection
from backend.app.engines._response import EngineResponse, Unanswered
from backend.app.engines._wire import request_head
from backend.app.engines.launcher import Address
from backend.app.errors import EngineError, GatewayError

__all__ = ["ConnectFailed", "EngineClient", "EngineResponse"]


class ConnectFailed(EngineError):
    """The engine cannot be reached. Nothing was sent: another replica may be tried."""


class EngineClient:
    """Connections to one engine, kept alive between requests.

    `last_byte_at` is the event loop's time of the last byte that came from the engine on any
    connection, 0.0 before the first.
    """

    def __init__(self, address: Address, *, idle_s: float = 300.0) -> None:
        """Connections unused for `idle_s` seconds are not used again.

        Keep it below the engine's own keep-alive, so that it is this side which gives up first.
        """
        self.address = address
        self.last_byte_at = 0.0
        self._idle_s = idle_s
        self._connections: set[Connection] = set()
        self._idle: deque[Connection] = deque()
        self._closed = False
        self.fate: GatewayError = EngineError("The engine was shut down.")
        """What is raised to those whom `close` cuts off."""

    async def request(
        self,
        method: str,
        target: str,
        *,
        headers: Iterable[tuple[bytes, bytes]] = (),
        body: bytes | AsyncIterable[bytes] = b"",
        head_timeout: float,
        write_timeout: float = 60.0,
    ) -> EngineResponse:
        """Send a request and wait for the head of its answer, which the caller must close.

        An asynchronous body goes out in chunks while the answer may already come in; it is closed
        when sent or given up, and whatever it raises is raised to the reader. `head_timeout`: for
        the connection, and again from the end of the body to the head. `write_timeout`: for the
        engine to take each 256 KiB of a body. All in seconds. Raises ConnectFailed before
        anything was sent, DeadlineExceeded, EngineError. May be cancelled at any time.

        A request that dies on a kept connection without a byte of answer is sent once more on a
        fresh one: an engine that gives up an idle connection does so while our request is under
        way and never reads it. On a fresh connection that excuse does not hold: the request may
        have been what killed the engine, and is not repeated. Nor is a body that can be produced
        only once, which therefore always gets a fresh connection.
        """
        if self._closed:
            raise ConnectFailed("The engine was shut down.")
        length = len(body) if isinstance(body, bytes) else None
        head = request_head(method, target, headers, self.address, length)
        kept = self._take() if length is not None else None
        if kept is not None:
            try:
                return await self._exchange(kept, method, head, body, head_timeout, write_timeout)
            except Unanswered as exc:
                unanswered = exc
        try:
            fresh = await self._connect(head_timeout)
        except ConnectFailed as exc:
            if kept is None:
                raise
            # Something was sent: this is not the harmless failure that ConnectFailed promises.
            raise unanswered from exc
        return await self._exchange(fresh, method, head, body, head_timeout, write_timeout)

    async def close(self) -> None:
        """Cut all connections, busy ones too: their readers get `fate`. Final."""
        self._closed = True
        connections = tuple(self._connections)
        for connection in connections:
            if connection.exchange is not None:
                connection.exchange.fail(copy.copy(self.fate))
            connection.abort()
        if connections:
            await asyncio.wait([connection.closed for connection in connections])

    async def _exchange(
        self,
        connection: Connection,
        method: str,
        head: bytes,
        body: bytes | AsyncIterable[bytes],
        head_timeout: float,
        write_timeout: float,
    ) -> EngineResponse:
        # one with another body never uses a kept connection, so its own would be for nobody
        done = self._put_back if isinstance(body, bytes) else Connection.abort
        response = EngineResponse(connection, method, done)
        try:
            await response.begin(head, body, head_timeout, write_timeout)
        except BaseException:
            response.close()
            raise
        return response

    async def _connect(self, timeout: float) -> Connection:
        try:
            connection = await open_connection(self.address, self, timeout)
        except OSError as exc:
            raise ConnectFailed("The engine cannot be reached.") from exc
        if self._closed or not connection.usable:
            connection.abort()
            raise ConnectFailed("The engine is shutting down.")
        self._connections.add(connection)
        return connection

    def _take(self) -> Connection | None:
        """The connection used last, so that those no longer needed grow old; these are cut."""
        oldest = asyncio.get_running_loop().time() - self._idle_s
        while self._idle and self._idle[0].idle_since < oldest:
            self._idle.popleft().abort()
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
        return None

    def _put_back(self, connection: Connection) -> None:
        connection.idle_since = asyncio.get_running_loop().time()
        self._idle.append(connection)

    def gone(self, connection: Connection) -> None:
        """Called by a connection that has ended."""
        self._connections.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
