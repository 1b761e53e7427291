"""Every route that the gateway has is guarded as the design says, the ones to come included."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from backend.app import logs
from backend.app.config import Settings
from backend.app.main import create_app
from tests.support.asgi_server import exchange, serve
from tests.support.edge_app import parsed

PUBLIC = {"/", "/healthz", "/readyz", "/docs", "/docs/start.js", "/docs/{name}", "/openapi.json"}
INFERENCE = ("/v1/", "/tokenize", "/detokenize", "/api/audio/", "/api/diarization/")
ADMIN = ("/api/admin/", "/metrics")


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FastAPI]:
    base = tmp_path_factory.mktemp("gateway")
    settings = Settings.model_validate(
        {
            "admin_auth": "auto",
            "api_host": "0.0.0.0",
            "openai_api_keys": ("alice:sk-inference",),
            "admin_api_keys": ("root:sk-admin",),
            "model_cache_dir": base / "models",
            "log_dir": base / "logs",
            "model_set": "demo",
        }
    )
    setup = logs.setup(settings)
    yield create_app(settings, setup)
    setup.close()


def asked(app: FastAPI) -> list[tuple[str, str]]:
    """Each method of each route, with something for its parameters."""
    found = []
    for route in app.routes:
        path = getattr(route, "path", "")
        methods = getattr(route, "methods", None) or {"GET"}
        found += [(method, path) for method in sorted(methods)]
    return found


def test_the_table_names_every_route(app: FastAPI) -> None:
    routes = [route for route in app.routes if isinstance(route, APIRoute)]
    assert len(routes) > 15
    for _, path in asked(app):
        guarded = path.startswith((*INFERENCE, *ADMIN))
        assert guarded != (path in PUBLIC or not path), path


def test_no_route_answers_without_its_key(app: FastAPI) -> None:
    with serve(app) as port:
        for method, path in asked(app):
            target = path.replace("{", "").replace("}", "").replace(":path", "/x/y")
            wanted = {"": 401, "sk-wrong": 401}
            if path.startswith(ADMIN):
                wanted["sk-inference"] = 403
            for key, status in wanted.items() if path and path not in PUBLIC else ():
                fields = f"Host: x\r\nConnection: close\r\nx-api-key: {key}\r\n"
                request = f"{method} {target} HTTP/1.1\r\n{fields}\r\n"
                answer = parsed(exchange(port, request.encode()))
                assert answer[0] == status, (method, path, key)
                assert answer[1]["x-request-id"]


def test_what_is_public_answers_without_a_key(app: FastAPI) -> None:
    with serve(app) as port:
        for path in ("/healthz", "/openapi.json", "/docs", "/"):
            request = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            assert parsed(exchange(port, request.encode()))[0] == 200, path
