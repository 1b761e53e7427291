"""Access is judged exactly as a request is routed, whatever the path is spelled like."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Match, Mount, Route

from backend.app.auth import Policy, Right, decide, right_of
from backend.app.config import Settings
from backend.app.errors import InvalidRequest
from backend.app.middleware import stack
from tests.support.asgi_server import get, serve

INFERENCE, ADMIN = "sk-inference", "sk-admin"
SETTINGS = Settings.model_validate(
    {
        "admin_auth": "auto",
        "openai_api_keys": (f"alice:{INFERENCE}",),
        "admin_api_keys": (f"root:{ADMIN}",),
        "cors_origins": (),
    }
)
POLICY = Policy.build(SETTINGS)


def guarded() -> Starlette:
    return Starlette(routes=routes(), middleware=stack(SETTINGS, POLICY))


ROUTES = {
    Right.INFERENCE: [
        *("/v1/models", "/v1/models/{id:path}", "/v1/chat/completions", "/v1/messages"),
        *("/v1/responses/{id}", "/v1/responses/{id}/cancel", "/tokenize", "/detokenize"),
        *("/api/audio/transcribe", "/api/diarization/process", "/v1/{rest:path}"),
        *(
            "/api/audio",
            "/api/audio/{rest:path}",
            "/api/diarization",
            "/api/diarization/{rest:path}",
        ),
    ],
    Right.ADMIN: [
        *("/api/admin/status", "/api/admin/models/{key}/load", "/api/admin/cache/{repo:path}"),
        *("/api/admin/events", "/metrics", "/metrics/{key}", "/api/{rest:path}"),
    ],
    Right.PUBLIC: ["/", "/healthz", "/readyz", "/docs", "/docs/{asset}", "/openapi.json"],
}


async def reached(request: Request) -> PlainTextResponse:
    right = request.scope["endpoint_right"]
    return PlainTextResponse(f"reached {right} as {request.state.caller.label}")


class Marked(Route):
    """A route that tells its endpoint, and us, which right it should have wanted."""

    def __init__(self, path: str, right: Right) -> None:
        super().__init__(path, reached, methods=["GET"])
        self.right = right

    def matches(self, scope: Any) -> tuple[Match, Any]:
        match, child = super().matches(scope)
        return match, {**child, "endpoint_right": self.right.value}


def routes() -> list[BaseRoute]:
    marked: list[BaseRoute] = [
        Marked(path, right) for right, paths in ROUTES.items() for path in paths
    ]
    return [*marked, Mount("/", routes=[Marked("/{rest:path}", Right.PUBLIC)])]


ALL_ROUTES = routes()


def wanted_by_the_router(path: str) -> Right:
    scope = {"type": "http", "method": "GET", "path": path, "root_path": "", "headers": []}
    for route in ALL_ROUTES:
        if route.matches(scope)[0] is not Match.NONE:
            return route.right if isinstance(route, Marked) else Right.PUBLIC
    return Right.PUBLIC


WORDS = (
    *("v1", "api", "admin", "metrics", "tokenize", "detokenize", "audio", "diarization", "models"),
    *("status", "qwen", "transcribe", "..", ".", "", "docs", "healthz", "V1", "API", "%2f", ";x"),
    *("\n", "\r", "\0", "\x85", "\u2028", " ", "\t", "é", "\ufffd"),
)


@given(
    st.lists(st.sampled_from(WORDS), max_size=6),
    st.sampled_from(("", "\n", "/", "//", " ", "\x85", "\u2028")),
)
def test_no_path_is_judged_milder_than_it_is_routed(words: list[str], ending: str) -> None:
    path = "/" + "/".join(words) + ending
    wanted = wanted_by_the_router(path)
    try:
        decide(POLICY, path, [(b"x-api-key", ADMIN.encode())])
    except InvalidRequest:
        return
    if wanted is not Right.PUBLIC:
        assert right_of(path) is wanted


def test_the_newline_that_a_router_overlooks() -> None:
    assert wanted_by_the_router("/metrics\n") is Right.ADMIN
    assert right_of("/metrics\n") is Right.PUBLIC
    with pytest.raises(InvalidRequest):
        decide(POLICY, "/metrics\n", [])


TARGETS = [
    *("/v1/models", "/api/admin/status", "/metrics", "/metrics/qwen", "/tokenize", "/healthz", "/"),
    *("//v1/models", "//api/admin/status", "//metrics", "/api//admin/status", "/v1//models"),
    *("/v1/../api/admin/status", "/v1/%2e%2e/api/admin/status", "/v1/models/../../metrics"),
    *("/docs/../metrics", "/./metrics", "/metrics/.", "/metrics/..", "/assets/..%2fmetrics"),
    *("/%61pi/admin/status", "/api%2fadmin%2fstatus", "/%76%31/models", "/api/%61dmin/status"),
    *("/metrics%0a", "/metrics%0A", "/metrics%0d%0a", "/metrics%00", "/api/admin/status%0a"),
    *("/%2fapi/admin/status", "/%2e/metrics", "/metrics%2f", "/metrics%2fqwen", "/metrics%3f"),
    *("/metrics;a=b", "/metrics?key=sk-admin", "/metrics%23", "/API/ADMIN/STATUS", "/%4detrics"),
    *("/%256detrics", "/metric%73", "/m\\etrics", "\\metrics", "/..%5cmetrics", "/metrics/%20"),
    *("http://localhost/api/admin/status", "http://evil.example/metrics", "/tokenize%0a", "*"),
    *(
        "/v1/models%0a",
        "/healthz/../metrics",
        "/healthz%2f..%2fmetrics",
        "/openapi.json/../v1/models",
    ),
]


@pytest.mark.parametrize("http", ["httptools", "h11"])
def test_no_spelling_of_a_path_reaches_a_guarded_route_without_its_key(http: str) -> None:
    app = guarded()
    seen: set[str] = set()
    with serve(app, http=http) as port:
        for target, key in itertools.product(TARGETS, ("", INFERENCE, ADMIN)):
            fields = [b"Authorization: Bearer " + key.encode()] if key else []
            answer = get(port, target.encode(), *fields).decode()
            body = answer.partition("\r\n\r\n")[2]
            if key != ADMIN:
                assert "reached admin" not in body, target
            if not key:
                assert "reached inference" not in body, target
            seen.add(body)
    assert "reached admin as root" in seen
    assert "reached inference as alice" in seen
    assert "reached public as anonymous" in seen


def test_host_headers_and_prefixes_do_not_move_a_route() -> None:
    app = guarded()

    async def prefixed(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "root_path": "/prefix"}, receive, send)

    with serve(app) as port:
        for host in (b"evil.example/healthz?", b"localhost/docs#", b"[::1]/", b"x/v1/../.."):
            assert b" 401 " in get(port, b"/api/admin/status", host=host)
    with serve(prefixed) as port:
        for target in (b"/prefix/api/admin/status", b"/prefix/metrics", b"/api/admin/status"):
            assert b" 401 " in get(port, target)
        assert b"reached public" in get(port, b"/prefix/healthz")


def test_a_websocket_is_refused() -> None:
    app = guarded()
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    scope = {"type": "websocket", "path": "/api/admin/events", "headers": [], "app": app}
    coroutine = app(scope, receive, send)
    with pytest.raises(StopIteration):
        coroutine.send(None)
    assert sent == [{"type": "websocket.close", "code": 1008}]
