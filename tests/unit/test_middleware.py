from __future__ import annotations

import asyncio
import http.client
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from backend.app import middleware
from backend.app.errors import Dialect, GatewayError
from backend.app.logs import current_request_id
from backend.app.middleware import dialect_of
from tests.support.asgi_server import exchange, get, serve
from tests.support.edge_app import KEY, Probe, application, parsed, post

# --- request ids ------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [b"a", b"req-1_~!", b"x" * 128])
def test_a_short_printable_request_id_is_kept(port: int, sent: bytes) -> None:
    status, fields, body = parsed(get(port, b"/v1/id", KEY, b"X-Request-Id: " + sent))
    assert status == 200
    assert fields["x-request-id"] == sent.decode()
    assert json.loads(body) == {"scope": sent.decode(), "log": sent.decode()}


@pytest.mark.parametrize("sent", [b"", b"a b", b"x" * 129, b"\xe9", b"a\tb"])
def test_any_other_is_replaced(port: int, sent: bytes) -> None:
    _, fields, body = parsed(get(port, b"/v1/id", KEY, b"X-Request-Id: " + sent))
    made = fields["x-request-id"]
    assert made.startswith("req_")
    assert len(made) == 28
    assert json.loads(body) == {"scope": made, "log": made}


def test_every_answer_has_an_id_of_its_own(port: int) -> None:
    targets = (b"/v1/id", b"/healthz", b"/page", b"/nowhere", b"/v1/raise/bug", b"/api/admin/x")
    answers = [parsed(get(port, target, KEY)) for target in targets * 2]
    assert [status for status, _, _ in answers[:6]] == [200, 200, 200, 404, 500, 403]
    assert len({fields["x-request-id"] for _, fields, _ in answers}) == 12


def test_an_id_that_an_engine_sent_is_replaced_not_repeated() -> None:
    async def engine_like(scope: Any, receive: Any, send: Any) -> None:
        fields = [(b"x-request-id", b"theirs"), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        await send({"type": "http.response.body"})

    with serve(middleware.RequestMiddleware(engine_like)) as port:
        assert parsed(get(port, b"/", b"X-Request-Id: ours"))[1]["x-request-id"] == "ours"


# --- errors -----------------------------------------------------------------------------------


def test_which_dialect_a_path_speaks() -> None:
    assert dialect_of("/v1/messages") is Dialect.ANTHROPIC
    assert dialect_of("/v1/messages/count_tokens") is Dialect.ANTHROPIC
    assert dialect_of("/v1/responses/resp_1/cancel") is Dialect.RESPONSES
    for path in ("/v1/chat/completions", "/v1/models", "/api/admin/status", "/", "/metrics"):
        assert dialect_of(path) is Dialect.OPENAI


def test_an_error_is_rendered_in_the_dialect_of_the_route(port: int) -> None:
    status, fields, body = parsed(get(port, b"/v1/raise/gateway", KEY))
    assert (status, fields["content-type"]) == (404, "application/json")
    assert json.loads(body)["error"]["code"] == "model_not_found"
    _, fields, body = parsed(get(port, b"/v1/messages/raise/gateway", KEY))
    answer = json.loads(body)
    assert answer["type"] == "error"
    assert answer["error"]["type"] == "not_found_error"
    assert answer["request_id"] == fields["x-request-id"]
    _, _, body = parsed(get(port, b"/v1/responses/raise/gateway", KEY))
    assert json.loads(body)["error"]["param"] == "model"


def test_an_error_brings_its_headers(port: int) -> None:
    status, fields, _ = parsed(get(port, b"/v1/raise/loading", KEY))
    assert (status, fields["retry-after"]) == (503, "120")
    assert parsed(get(port, b"/v1/raise/permanent", KEY))[1]["x-should-retry"] == "false"
    status, fields, _ = parsed(get(port, b"/v1/id"))
    assert (status, fields["www-authenticate"]) == (401, "Bearer")


@pytest.mark.parametrize("prefix", [b"/v1", b"/v1/messages"])
def test_a_bug_says_nothing_but_the_request_id(
    port: int, prefix: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    status, fields, body = parsed(get(port, prefix + b"/raise/bug", KEY))
    assert status == 500
    assert b"secret-detail" not in body
    assert b"Traceback" not in body
    assert fields["x-request-id"] in json.loads(body)["error"]["message"]
    (record,) = [record for record in caplog.records if record.exc_info]
    assert "secret-detail" in caplog.text
    assert record.getMessage() == f"GET {prefix.decode()}/raise/bug: unexpected error"


def test_our_own_failures_are_logged_and_a_callers_mistakes_are_not(
    port: int, caplog: pytest.LogCaptureFixture
) -> None:
    get(port, b"/v1/raise/gateway", KEY)
    assert caplog.records == []
    get(port, b"/v1/raise/engine", KEY)
    assert [record.getMessage() for record in caplog.records] == [
        "GET /v1/raise/engine: 502 The engine died."
    ]


@pytest.mark.parametrize("name", [b"gateway", b"bug"])
def test_an_answer_that_has_begun_is_broken_off(
    port: int, probe: Probe, name: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", f"/v1/broken/{name.decode()}", headers={"x-api-key": "sk-inference"})
    answer = connection.getresponse()
    assert answer.status == 200
    assert answer.readline() == b"data: 1\n"
    probe.broke.set()
    with pytest.raises(http.client.IncompleteRead):
        answer.read()
    connection.close()
    assert any("The answer broke off" in record.getMessage() for record in caplog.records)


def test_a_client_that_leaves_is_no_error(
    port: int, probe: Probe, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(post(b"/v1/chat/completions", KEY, b"Content-Length: 10", body=b"123"))
        while not probe.read:
            get(port, b"/healthz")
    get(port, b"/healthz")
    assert caplog.records == []


# --- headers for browsers ---------------------------------------------------------------------


def test_pages_carry_a_policy_and_answers_of_the_api_their_type(port: int) -> None:
    _, page, _ = parsed(get(port, b"/page"))
    assert "frame-ancestors 'none'" in page["content-security-policy"]
    assert "script-src" not in page["content-security-policy"]
    assert page["referrer-policy"] == "no-referrer"
    for target in (b"/page", b"/v1/id", b"/healthz", b"/v1/raise/bug"):
        assert parsed(get(port, target, KEY))[1]["x-content-type-options"] == "nosniff"
    assert "content-security-policy" not in parsed(get(port, b"/v1/id", KEY))[1]


def test_a_page_that_cors_allows_may_ask_and_read_even_refusals(probe: Probe) -> None:
    origin = b"Origin: https://chat.example"
    with serve(application(probe, cors_origins=("https://chat.example",))) as port:
        preflight = (
            b"OPTIONS /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            + origin
            + b"\r\nAccess-Control-Request-Method: POST\r\n"
            b"Access-Control-Request-Headers: authorization\r\n\r\n"
        )
        status, fields, _ = parsed(exchange(port, preflight))
        assert status == 200
        assert fields["access-control-allow-origin"] == "https://chat.example"
        assert fields["x-request-id"]
        for target, wanted in ((b"/v1/id", 401), (b"/v1/raise/bug", 401), (b"/healthz", 200)):
            status, fields, _ = parsed(get(port, target, origin))
            assert (status, fields["access-control-allow-origin"]) == (
                wanted,
                "https://chat.example",
            )
        status, fields, _ = parsed(get(port, b"/v1/raise/bug", origin, KEY))
        assert (status, fields["access-control-allow-origin"]) == (500, "https://chat.example")
        _, fields, _ = parsed(get(port, b"/v1/id", b"Origin: https://evil.example"))
        assert "access-control-allow-origin" not in fields


def test_without_cors_a_preflight_is_refused_like_any_other_request(port: int) -> None:
    preflight = b"OPTIONS /v1/id HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    status, fields, _ = parsed(exchange(port, preflight))
    assert status == 401
    assert "access-control-allow-origin" not in fields


def test_the_request_id_does_not_outlive_the_request() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert current_request_id.get() is not None

    async def scenario() -> None:
        scope = {"type": "http", "path": "/", "method": "GET", "headers": []}
        await middleware.RequestMiddleware(app)(scope, None, None)  # type: ignore[arg-type]
        assert current_request_id.get() is None

    asyncio.run(scenario())


def test_the_tree_of_errors_is_the_only_thing_that_answers() -> None:
    def leaves(kind: type[GatewayError]) -> Iterator[type[GatewayError]]:
        yield kind
        for below in kind.__subclasses__():
            yield from leaves(below)

    async def scenario(error: GatewayError) -> tuple[int, bytes]:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            raise error

        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "path": "/v1/x", "method": "GET", "headers": []}
        await middleware.ErrorMiddleware(app)(scope, None, send)  # type: ignore[arg-type]
        return sent[0]["status"], sent[1]["body"]

    for kind in leaves(GatewayError):
        if kind.__init__ is GatewayError.__init__:
            status, body = asyncio.run(scenario(kind("A message.")))
            assert status == kind.status
            assert json.loads(body)["error"]["message"] == "A message."
