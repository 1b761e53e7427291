"""Bodies that stall, and bodies that are too many together."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from backend.app.bodies import BodyLimitMiddleware, hold
from backend.app.config import Settings
from backend.app.errors import NoRoom
from tests.support.asgi_server import exchange, serve
from tests.support.edge_app import KEY, MIB, Probe, application, parsed, post
from tests.support.gateway import eventually
from tests.support.loops import run_clean

CHAT, MESSAGES, UPLOAD = b"/v1/chat/completions", b"/v1/messages", b"/v1/audio/transcriptions"
ANNOUNCED = b"Content-Length: %d" % MIB
CHUNKED = b"Transfer-Encoding: chunked"


@contextlib.contextmanager
def running(**values: Any) -> Iterator[int]:
    with serve(application(Probe(), **values)) as port:
        yield port


@contextlib.contextmanager
def half_sent(port: int, *fields: bytes, body: bytes = b"") -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(post(CHAT, KEY, *fields, body=body))
        yield connection


def in_loop(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    return lambda: run_clean("asyncio", test)


def request(length: bytes) -> dict[str, Any]:
    headers = [(length, b"9")]
    return {"type": "http", "path": "/v1/chat/completions", "headers": headers, "state": {}}


async def never(*_: Any) -> Any:
    raise AssertionError


def status_of(port: int, size: int = 1000) -> int:
    return parsed(exchange(port, post(CHAT, KEY, b"Content-Length: %d" % size, body=b"x" * size)))[
        0
    ]


@pytest.mark.parametrize("target", [CHAT, MESSAGES, UPLOAD])
@pytest.mark.parametrize(
    ("field", "body"), [(ANNOUNCED, b"--x\r\n"), (CHUNKED, b"5\r\n--x\r\n\r\n")]
)
def test_a_body_that_stalls_is_given_up(target: bytes, field: bytes, body: bytes) -> None:
    form = b"Content-Type: multipart/form-data; boundary=x"
    with running(client_write_s=0.1) as port:
        status, fields, answer = parsed(exchange(port, post(target, KEY, form, field, body=body)))
    error = json.loads(answer)["error"]
    assert (status, fields["connection"]) == (408, "close")
    assert "CLIENT_WRITE_S" in error["message"]
    assert error["type"] == "invalid_request_error"


def test_a_slow_body_that_goes_on_is_welcome() -> None:
    with running(client_write_s=5) as port, half_sent(port, ANNOUNCED) as connection:
        for _ in range(16):
            connection.sendall(b"x" * (MIB // 16))
        assert connection.recv(100).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("target", [CHAT, MESSAGES])
def test_bodies_that_are_too_many_together(target: bytes) -> None:
    with running(bodies_mb=2) as port:
        with half_sent(port, ANNOUNCED), half_sent(port, ANNOUNCED):

            def refused() -> bool:
                return status_of(port) == 503

            eventually(refused, what="both have been counted")
            request = post(target, KEY, b"Content-Length: 1000")  # refused before it comes
            status, fields, answer = parsed(exchange(port, request))
            error = json.loads(answer)["error"]
            assert (status, fields["retry-after"]) == (503, "5")
            assert "BODIES_MB = 2" in error["message"]
            assert error["type"] == ("overloaded_error" if target == MESSAGES else "server_error")
        eventually(lambda: status_of(port) == 200, what="all was given back")


@in_loop
async def test_bodies_of_unknown_length_count_as_they_come() -> None:
    """Two at once, of half the budget each, and then a bit more."""
    here, came = asyncio.Queue[bytes](), asyncio.Semaphore(0)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["more_body"]:
            came.release()

    async def receive() -> Any:
        return {"type": "http.request", "body": await here.get(), "more_body": True}

    def one() -> asyncio.Task[None]:
        return asyncio.ensure_future(limits(request(b"transfer-encoding"), receive, never))

    limits = BodyLimitMiddleware(
        app, Settings.model_validate({"bodies_mb": 1, "client_write_s": 9})
    )
    here.put_nowait(b"x" * (MIB // 2))
    here.put_nowait(b"x" * (MIB // 2))
    first, second = one(), one()
    await asyncio.wait_for(came.acquire(), 9)
    await asyncio.wait_for(came.acquire(), 9)
    assert limits.held == MIB
    here.put_nowait(b"y")
    done, _ = await asyncio.wait({first, second}, return_when=asyncio.FIRST_COMPLETED, timeout=9)
    with pytest.raises(NoRoom):
        done.pop().result()
    assert limits.held == MIB // 2
    for task in (first, second):
        task.cancel()
    await asyncio.gather(first, second, return_exceptions=True)
    assert limits.held == 0


def test_one_that_is_alone_is_always_welcome() -> None:
    with running(bodies_mb=1, max_body_mb=3) as port:
        assert status_of(port, 2 * MIB) == 200


def test_uploads_do_not_count() -> None:
    with (
        running(bodies_mb=1) as port,
        socket.create_connection(("127.0.0.1", port), timeout=10) as upload,
    ):
        upload.sendall(post(UPLOAD, KEY, b"Content-Length: %d" % (2 * MIB), body=b"half"))
        assert status_of(port, MIB) == 200


@in_loop
async def test_what_becomes_of_a_body_counts_until_the_request_is_over() -> None:
    held: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        hold(scope, MIB)
        held.append(limits.held)
        with pytest.raises(NoRoom):  # another one, meanwhile
            await limits(request(b"content-length"), receive, send)
        held.append(limits.held)

    limits = BodyLimitMiddleware(app, Settings.model_validate({"bodies_mb": 1}))
    await limits(request(b"content-length"), never, never)
    assert (held, limits.held) == ([MIB + 9] * 2, 0)
