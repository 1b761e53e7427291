"""Response ids lead to the model that made them, for the newest."""

from __future__ import annotations

import pytest

from backend.app.services.makers import Makers


@pytest.mark.parametrize(
    "beginning",
    [
        b'{"id":"resp_a-1","object":"response"',
        b'{\n  "id": "resp_a-1"',
        b'event: response.created\ndata: {"response":{"id":"resp_a-1"}',
        b'{"metadata":{"id":"mine"},"id":"resp_a-1"}',
    ],
)
def test_the_id_is_read_from_whole_answers_and_streams(beginning: bytes) -> None:
    makers = Makers()
    makers.note("qwen", beginning)
    assert makers.of("resp_a-1") == "qwen"


@pytest.mark.parametrize("beginning", [b"", b'{"id":"chatcmpl-1"}', b'{"id":"resp_'])
def test_what_has_no_id_is_not_remembered(beginning: bytes) -> None:
    makers = Makers()
    makers.note("qwen", beginning)
    assert makers.of("resp_") is None


def test_only_so_many_are_remembered() -> None:
    makers = Makers(remembered=3)
    for number in range(10):
        makers.note("qwen", b'{"id":"resp_%d"}' % number)
    assert [makers.of(f"resp_{n}") for n in (0, 6, 7, 8, 9)] == [None, None, *["qwen"] * 3]
