"""A body that is too large is refused before it is read, in a way that clients notice."""

from __future__ import annotations

import http.client
import json
import socket

import pytest

from backend.app import middleware
from tests.support.asgi_server import exchange
from tests.support.edge_app import KEY, MIB, Probe, chunked, parsed, post


@pytest.mark.parametrize(
    ("target", "limit", "variable"),
    [
        (b"/v1/chat/completions", MIB, "MAX_BODY_MB = 1"),
        (b"/v1/messages", MIB, "MAX_BODY_MB = 1"),
        (b"/v1/audio/transcriptions", 2 * MIB, "MAX_UPLOAD_MB = 2"),
    ],
)
def test_a_body_above_the_limit_is_refused_by_its_announced_length(
    port: int, probe: Probe, target: bytes, limit: int, variable: str
) -> None:
    # only the head is sent: an answer proves that nobody waited for the body
    head = post(target, KEY, b"Content-Length: %d" % (limit + 1))
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.connect()
    assert connection.sock is not None
    connection.sock.sendall(head.replace(b"Connection: close\r\n", b""))
    answer = http.client.HTTPResponse(connection.sock)
    answer.begin()
    assert (answer.status, answer.getheader("connection")) == (413, "close")
    assert variable in json.loads(answer.read())["error"]["message"]
    connection.close()
    assert probe.read == 0


def test_a_body_of_the_limit_is_welcome(port: int) -> None:
    request = post(b"/v1/chat/completions", KEY, b"Content-Length: %d" % MIB, body=b"x" * MIB)
    status, _, body = parsed(exchange(port, request))
    assert (status, json.loads(body)) == (200, {"bytes": MIB, "caller": "alice"})
    request = post(
        b"/v1/chat/completions",
        KEY,
        b"Transfer-Encoding: chunked",
        body=chunked(MIB) + b"0\r\n\r\n",
    )
    assert parsed(exchange(port, request))[0] == 200


def test_a_body_of_unknown_length_is_counted_as_it_comes(port: int, probe: Probe) -> None:
    request = post(
        b"/v1/chat/completions", KEY, b"Transfer-Encoding: chunked", body=chunked(8 * MIB)
    )
    status, fields, body = parsed(exchange(port, request + b"0\r\n\r\n"))
    assert (status, fields["connection"]) == (413, "close")
    assert json.loads(body)["error"]["code"] == "request_too_large"
    assert probe.read <= MIB


def test_a_form_parser_does_not_turn_it_into_a_400(port: int) -> None:
    part = b'--B\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    body = b"%x\r\n" % len(part) + part + b"\r\n" + chunked(4 * MIB)
    kind = b"Content-Type: multipart/form-data; boundary=B"
    request = post(b"/v1/audio/transcriptions", KEY, kind, b"Transfer-Encoding: chunked", body=body)
    status, _, body = parsed(exchange(port, request))
    assert status == 413
    assert b"MAX_UPLOAD_MB" in body


@pytest.mark.parametrize("key", ["wrong", "sk-inference"])
def test_a_plain_client_sees_the_refusal_of_a_body_that_it_sends_to_the_end(
    port: int, probe: Probe, key: str
) -> None:
    """http.client writes everything before it reads; cut off, it would only see a reset."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("POST", "/v1/chat/completions", b"x" * 30 * MIB, {"x-api-key": key})
    answer = connection.getresponse()
    assert (answer.status, answer.getheader("connection")) == (
        401 if key == "wrong" else 413,
        "close",
    )
    assert json.loads(answer.read())["error"]["message"]
    connection.close()
    assert probe.read == 0


def test_a_small_refused_body_keeps_the_connection(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    for _ in range(3):
        connection.request("POST", "/v1/chat/completions", b"x" * 1000, {"x-api-key": "wrong"})
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("connection")) == (401, None)
        answer.read()
    connection.close()


def send_for_ever(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"x" * 65536)


def test_a_client_that_never_stops_sending_is_cut_off(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(middleware, "LINGER_S", 0.01)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(post(b"/v1/chat/completions", b"Content-Length: 10000000000"))
        with pytest.raises(OSError, match=r"reset|pipe"):
            send_for_ever(connection)


def test_a_length_of_thousands_of_digits_is_a_number_too(port: int) -> None:
    zeros = b"Content-Length: " + b"0" * 5000
    assert parsed(exchange(port, post(b"/v1/chat/completions", KEY, zeros)))[0] == 200
    assert (
        parsed(exchange(port, post(b"/v1/chat/completions", KEY, zeros + b"2", body=b"{}")))[0]
        == 200
    )
