"""The reference page works without internet and under the policy that all our pages carry."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from starlette.middleware import Middleware

from backend.app.api import docs_page
from backend.app.middleware import ErrorMiddleware, RequestMiddleware
from tests.support.asgi_server import get, serve
from tests.support.edge_app import parsed


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    layers = [Middleware(RequestMiddleware), Middleware(ErrorMiddleware)]
    app = FastAPI(docs_url=None, redoc_url=None, middleware=layers)
    app.include_router(docs_page.router)
    with serve(app) as port:
        yield port


def linked(page: str) -> list[str]:
    return re.findall(r'(?:src|href)="([^"]*)"', page)


def test_the_page_asks_for_nothing_from_elsewhere(port: int) -> None:
    status, fields, body = parsed(get(port, b"/docs"))
    page = body.decode()
    assert status == 200
    assert fields["content-type"].startswith("text/html")
    assert "default-src 'self'" in fields["content-security-policy"]
    assert "//" not in page.replace("<!doctype", "")
    assert re.findall(r"<script(?![^>]*src=)", page) == []
    assert re.findall(r"\son\w+=", page) == []
    assert len(linked(page)) == 4


def test_everything_the_page_links_to_is_served_with_its_type(port: int) -> None:
    wanted = {"css": "text/css", "js": "text/javascript", "png": "image/png"}
    for link in linked(parsed(get(port, b"/docs"))[2].decode()):
        status, fields, body = parsed(get(port, f"/{link}".encode()))
        assert status == 200
        assert fields["content-type"].partition(";")[0] == wanted[link.rpartition(".")[2]]
        assert len(body) == int(fields["content-length"]) > 0


def test_the_ui_understands_the_openapi_version_that_we_write(port: int) -> None:
    schema = parsed(get(port, b"/openapi.json"))[2]
    assert b'"openapi":"3.1' in schema
    bundle = parsed(get(port, b"/docs/swagger-ui-bundle.js"))[2]
    version = re.search(rb'PACKAGE_VERSION:"(\d+)\.', bundle)
    assert version is not None
    assert int(version[1]) >= 5  # the first that reads 3.1


@pytest.mark.parametrize(
    "name", [b"redoc.standalone.js", b"..%2f__init__.py", b"..%2f..%2f..%2fetc%2fpasswd", b"%2e%2e"]
)
def test_nothing_else_of_the_package_is_served(port: int, name: bytes) -> None:
    assert parsed(get(port, b"/docs/" + name))[0] == 404
