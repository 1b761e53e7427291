"""Serve an ASGI application on a free port for the time of a test, and talk to it in raw bytes."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from backend.app.commands.http1 import Http1Protocol


@contextmanager
def serve(app: ASGIApp, *, http: str | type[asyncio.Protocol] = Http1Protocol) -> Iterator[int]:
    """uvicorn as the gateway runs it, in a thread; gives the port. All must be over at the end."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(app, http=http, loop="asyncio", log_config=None, lifespan="off", ws="none")
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()
        assert not thread.is_alive()


def exchange(port: int, request: bytes) -> bytes:
    """Send bytes, then read until the server closes. `request` must ask it to."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
        return answer


def get(port: int, target: bytes, *fields: bytes, host: bytes = b"localhost") -> bytes:
    """One GET whose target goes out exactly as it is written."""
    lines = [b"GET " + target + b" HTTP/1.1", b"Host: " + host, b"Connection: close", *fields]
    return exchange(port, b"\r\n".join([*lines, b"", b""]))
