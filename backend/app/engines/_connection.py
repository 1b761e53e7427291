"""One connection to an engine: opening it, moving bytes, and backpressure both ways.

What the bytes mean is the business of an `Exchange` (`client.EngineResponse`). Nothing raised in
here escapes into the event loop's callbacks.
"""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress
from typing import Protocol, cast

from backend.app.engines.launcher import Address
from backend.app.errors import DeadlineExceeded

_BACKLOG_PAUSE_S = 0.01


class Exchange(Protocol):
    """Who gets what a connection receives."""

    def received(self, data: bytes) -> None: ...

    def lost(self, cause: Exception | None) -> None: ...

    def fail(self, error: Exception) -> None: ...


class Owner(Protocol):
    """Who keeps the connections."""

    last_byte_at: float

    def gone(self, connection: Connection) -> None: ...


class Connection(asyncio.Protocol):
    """A connection carries one exchange at a time; between two of them it has none."""

    def __init__(self, owner: Owner) -> None:
        self.exchange: Exchange | None = None
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.idle_since = 0.0
        self._loop = asyncio.get_running_loop()
        self._owner = owner
        self._transport: asyncio.Transport | None = None
        self._reading = True
        self._drained: asyncio.Future[bool] | None = None
        self._full = False

    # called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._owner.last_byte_at = self._loop.time()
        if self.exchange is not None:
            self.exchange.received(data)
        else:
            self.abort()  # nobody asked for these bytes: the peer is out of step

    def eof_received(self) -> None:
        # Half-closed is closed. Not `transport.close()`, which would first wait for the engine
        # to take what is still to be written.
        self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._owner.gone(self)
        if not self.closed.done():
            self.closed.set_result(None)
        if self.exchange is not None:
            if isinstance(exc, BrokenPipeError | ConnectionResetError):
                self._salvage(self.exchange)
            self.exchange.lost(exc)

    def _salvage(self, exchange: Exchange) -> None:
        """Read what is left in the socket, which is still open here.

        An engine that refuses a body answers and closes. When writing the rest of the body fails
        before the answer was read, the event loop gives up on both directions.
        """
        assert self._transport is not None
        with suppress(OSError):
            fd = self._transport.get_extra_info("socket").fileno()
            while data := os.read(fd, 1 << 16):
                exchange.received(data)

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        if self._drained is not None:
            wake(self._drained, True)

    # called by the client

    @property
    def usable(self) -> bool:
        """Nothing left to write, and as far as we know the engine is still there."""
        transport = self._transport
        return (
            transport is not None
            and not transport.is_closing()
            and transport.get_write_buffer_size() == 0
        )

    def abort(self) -> None:
        """Close at once; the engine sees it and stops its work."""
        if self._transport is not None:
            self._transport.abort()

    def pause(self) -> None:
        if self._reading and self._transport is not None and not self._transport.is_closing():
            self._reading = False
            self._transport.pause_reading()

    def resume(self) -> None:
        if not self._reading and self._transport is not None:
            self._reading = True
            if not self._transport.is_closing():
                self._transport.resume_reading()

    def write(self, data: bytes) -> None:
        assert self._transport is not None
        if not self._transport.is_closing():  # asyncio would log, uvloop raise
            self._transport.write(data)

    async def drain(self, timeout: float) -> None:
        """Wait until there is room again. Raises DeadlineExceeded after `timeout` seconds."""
        if not self._full:
            return
        self._drained = self._loop.create_future()
        timer = self._loop.call_later(timeout, wake, self._drained, False)
        try:
            if not await self._drained and self._full:
                raise DeadlineExceeded(f"The engine took no input for {timeout:g} s.")
        finally:
            timer.cancel()
            self._drained = None


def wake(waiter: asyncio.Future[bool], result: bool) -> None:
    if not waiter.done():
        waiter.set_result(result)


async def open_connection(address: Address, owner: Owner, timeout: float) -> Connection:
    """Raises OSError (of which TimeoutError is one) when the engine cannot be reached."""
    connection = Connection(owner)
    try:
        if address.socket is not None:
            sock = await _unix_socket(address.socket, timeout)
            loop = asyncio.get_running_loop()
            await loop.create_unix_connection(lambda: connection, sock=sock)
        else:
            assert address.host is not None
            assert address.port is not None
            await _open_tcp(connection, address.host, address.port, timeout)
    except BaseException:
        connection.abort()
        raise
    return connection


async def _unix_socket(path: str, timeout: float) -> socket.socket:
    """A connected socket.

    On Unix sockets a connect either succeeds at once or fails with EAGAIN because the backlog is
    full, which asyncio takes for "in progress" and then for success; hence done here.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    while True:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.setblocking(False)
        try:
            sock.connect(path)
            return sock
        except BlockingIOError:
            sock.close()
            if loop.time() >= deadline:
                raise
        except BaseException:
            sock.close()
            raise
        await asyncio.sleep(_BACKLOG_PAUSE_S)


async def _open_tcp(connection: Connection, host: str, port: int, timeout: float) -> None:
    # Not asyncio.wait_for: before Python 3.12 it swallows a cancellation that arrives together
    # with the result, and the cancelled request would go on.
    loop = asyncio.get_running_loop()
    opening = loop.create_task(loop.create_connection(lambda: connection, host, port))
    opening.add_done_callback(lambda task: task.cancelled() or task.exception())
    try:
        await asyncio.wait({opening}, timeout=timeout)
        if not opening.done():
            raise TimeoutError(f"no connection within {timeout:g} s")
        opening.result()
    finally:
        opening.cancel()
