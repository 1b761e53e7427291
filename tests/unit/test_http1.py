"""A client that offers another protocol is answered in HTTP/1.1, as if it had not."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

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
