"""A small application behind the gateway's real middleware, on a port."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.asgi_server import serve
from tests.support.edge_app import Probe, application


@pytest.fixture(scope="module")
def edge() -> Iterator[tuple[int, Probe]]:
    probe = Probe()
    with serve(application(probe)) as port:
        yield port, probe


@pytest.fixture
def port(edge: tuple[int, Probe]) -> int:
    return edge[0]


@pytest.fixture
def probe(edge: tuple[int, Probe]) -> Probe:
    """What its routes have seen in this test."""
    edge[1].reset()
    return edge[1]
