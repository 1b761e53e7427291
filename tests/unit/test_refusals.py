"""What the OpenAPI document says of errors is what `errors.render` makes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from backend.app.api.refusals import ENVELOPES, WORDS, refusals
from backend.app.errors import Dialect, GatewayError, InvalidRequest, QueueFull, render


def tree(kind: type[GatewayError] = GatewayError) -> Iterator[type[GatewayError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from tree(child)


def test_each_status_of_the_tree_has_its_words() -> None:
    assert {kind.status for kind in tree()} == set(WORDS)


@pytest.mark.parametrize("dialect", Dialect)
@pytest.mark.parametrize("request_id", [None, "req-1"])
def test_what_is_rendered_is_what_is_described(dialect: Dialect, request_id: str | None) -> None:
    body = render(InvalidRequest("No.", param="file"), dialect, request_id)
    envelope = ENVELOPES[dialect]
    assert envelope.model_validate(body).model_dump(exclude_unset=True) == body


def test_a_route_names_each_status_once_and_the_rest_as_default() -> None:
    told = refusals(QueueFull, InvalidRequest, InvalidRequest)
    assert list(told) == [400, 429, "default"]
    assert "Retry-After" in told[429]["headers"]
    assert "headers" not in told[400]
