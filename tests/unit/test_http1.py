"""A client that offers another protocol is answered in HTTP/1.1, as if it had not; one that only
fills our memory, or keeps a connection without a request, is not kept."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Iterator

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from backend.app.commands import http1
from tests.support.asgi_server import exchange, serve
from tests.support.edge_app import parsed

H2C = (
    b"Connection: Upgrade, HTTP2-Settings",
    b"Upgrade: h2c",
    b"HTTP2-Settings: AAEAAEAAAAIAAAAAAAMAAABkAAQBAAAAAAUAAEAA",
)
WEBSOCKET = (
    b"Connection: keep-alive, Upgrade",
    b"Upgrade: websocket",
    b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
TEXT = b'{"model": "qwen"}'
BODIES = {
    "length": (b"Content-Length: %d" % len(TEXT), TEXT),
    "chunked": (b"Transfer-Encoding: chunked", b"5\r\n" + TEXT[:5] + b"\r\nc\r\n" + TEXT[5:]),
    "empty": (b"Content-Length: 0", b""),
    "none": (b"X-Nothing: 1", b""),
}
BODIES["chunked"] = (BODIES["chunked"][0], BODIES["chunked"][1] + b"\r\n0\r\n\r\n")


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    request = Request(scope, receive)
    text = (await request.body()).decode()
    names = sorted(request.headers)
    seen = {"method": request.method, "path": request.url.path, "body": text, "names": names}
    await JSONResponse(seen)(scope, receive, send)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with serve(echo) as running:
        yield running


def request(*fields: bytes, method: bytes = b"POST", body: bytes = b"") -> bytes:
    lines = [method + b" /v1/x?y=1 HTTP/1.1", b"Host: localhost", *fields]
    return b"\r\n".join([*lines, b"", body])


def answers(connection: socket.socket, number: int) -> list[dict[str, object]]:
    """So many answers, each with a Content-Length."""
    found: list[dict[str, object]] = []
    with connection.makefile("rb") as stream:
        while len(found) < number:
            assert stream.readline().startswith(b"HTTP/1.1 200 ")
            length = 0
            while (line := stream.readline().strip()) != b"":
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            found.append(json.loads(stream.read(length)))
    return found


@pytest.mark.parametrize("offer", [H2C, WEBSOCKET], ids=["h2c", "websocket"])
@pytest.mark.parametrize("kind", list(BODIES))
@pytest.mark.parametrize("pieces", [1, 3, 1000])
def test_an_offer_is_ignored(port: int, offer: tuple[bytes, ...], kind: str, pieces: int) -> None:
    field, body = BODIES[kind]
    sent = request(*offer, field, body=body)
    step = -(-len(sent) // pieces)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(sent), step):
            connection.sendall(sent[start : start + step])
        (seen,) = answers(connection, 1)
        wanted = TEXT.decode() if kind in {"length", "chunked"} else ""
        assert (seen["method"], seen["path"], seen["body"]) == ("POST", "/v1/x", wanted)
        names = seen["names"]
        assert isinstance(names, list)
        assert not {"upgrade", "http2-settings"} & set(names)
        connection.sendall(request(b"Content-Length: 2", body=b"{}"))  # the connection lives on
        assert answers(connection, 1)[0]["body"] == "{}"


def test_requests_behind_one_with_an_offer(port: int) -> None:
    field, body = BODIES["chunked"]
    one = request(*H2C, field, body=body)
    plain = request(b"Content-Length: 2", body=b"{}")
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(plain + one + one + plain)
        seen = [each["body"] for each in answers(connection, 4)]
    assert seen == ["{}", TEXT.decode(), TEXT.decode(), "{}"]


def test_an_offer_on_a_connection_that_is_to_be_closed(port: int) -> None:
    fields = (b"Connection: close, Upgrade", b"Upgrade: h2c", b"Content-Length: 2")
    status, headers, body = parsed(exchange(port, request(*fields, body=b"{}")))
    assert (status, headers["connection"], json.loads(body)["body"]) == (200, "close", "{}")


def test_thousands_of_offers_at_once(port: int) -> None:
    one = b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(one * 3000)
        assert len(answers(connection, 3000)) == 3000


def test_an_offer_with_a_broken_body_is_a_bad_request(port: int) -> None:
    broken = request(*H2C, b"Transfer-Encoding: chunked", body=b"zz\r\n")
    status, _, _ = parsed(exchange(port, broken))
    assert status == 400


def test_connect_is_no_offer(port: int) -> None:
    status, _, _ = parsed(exchange(port, b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n"))
    assert status == 400


def test_what_is_no_http_is_refused_in_an_envelope(port: int) -> None:
    status, fields, body = parsed(exchange(port, b"\x16\x03\x01 hello\r\n\r\n"))
    assert (status, fields["connection"]) == (400, "close")
    assert json.loads(body)["error"]["type"] == "invalid_request_error"


CHUNKED = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("beginning", "more"),
    [
        (b"GET / HTTP/1.1\r\nX-Long: ", b"x"),
        (b"GET / HTTP/1.1\r\n", b"X: y\r\n"),
        (b"GET /", b"x"),
        (b"", b"\r\n"),
        (CHUNKED + b"1;", b"x"),
        (CHUNKED + b"0\r\n", b"X: y\r\n"),
    ],
    ids=["header", "headers", "target", "nothing", "extension", "trailers"],
)
def test_what_has_no_end_is_refused(port: int, beginning: bytes, more: bytes) -> None:
    piece = more * (8192 // len(more))
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(beginning)
        sent = 0
        with contextlib.suppress(OSError):
            while sent < 100 * http1.MAX_SILENT:  # a limit that is none ends the test too
                connection.sendall(piece)
                sent += len(piece)
        assert sent < 100 * http1.MAX_SILENT


def test_a_head_that_is_too_large_is_told_so(port: int) -> None:
    long = b"X-Long: " + b"x" * http1.MAX_SILENT
    status, fields, body = parsed(exchange(port, b"GET / HTTP/1.1\r\n" + long))
    assert (status, fields["connection"]) == (431, "close")
    assert json.loads(body)["error"]["code"] == "headers_too_large"
    close = (b"X-Long: " + b"x" * (http1.MAX_SILENT // 2), b"Connection: close")
    assert parsed(exchange(port, request(*close, method=b"GET")))[0] == 200


@pytest.mark.parametrize("begun", [b"", b"GET / HTTP/1.1\r\nX"], ids=["nothing", "half"])
def test_a_head_that_does_not_come(
    port: int, begun: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http1, "HEAD_S", 0.05)
    assert exchange(port, begun) == b""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request(b"Content-Length: 2", body=b"{}"))
        assert answers(connection, 1)[0]["body"] == "{}"
        connection.sendall(begun or b"\r\n")
        assert connection.recv(1) == b""


def test_half_a_head_behind_a_request_does_not_end_its_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http1, "HEAD_S", 0.05)

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(4 * http1.HEAD_S)
        await JSONResponse({})(scope, receive, send)

    address = "127.0.0.1"
    with serve(slow) as port, socket.create_connection((address, port), timeout=10) as connection:
        connection.sendall(request(b"Content-Length: 0") + b"GET / HTTP")
        assert answers(connection, 1) == [{}]
