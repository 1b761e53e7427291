"""Sizes for people, and messages that survive their way."""

from __future__ import annotations

from backend.app.workers.hub_protocol import (
    Done,
    Failed,
    Message,
    Transfer,
    decode,
    encode,
    size_of,
)


def test_sizes() -> None:
    assert size_of(0) == "0 bytes"
    assert size_of(1023) == "1023 bytes"
    assert size_of(1024) == "1.0 KiB"
    assert size_of(61 * 2**30) == "61.0 GiB"
    assert size_of(3 * 2**40) == "3.0 TiB"


def test_messages_survive_their_way() -> None:
    messages: list[Message] = [
        Transfer("downloading", done=5, total=10, file="a\nb", rate=1.5, eta=None, note="é"),
        Done({"org/chat": "0" * 40}, fetched=3, repaired=("org/chat/a",)),
        Failed("gated", "no", "https://hub/org/chat"),
    ]
    for message in messages:
        line = encode(message)
        assert line.count(b"\n") == 1
        assert decode(line) == message
