"""Streams are cut at the ends of their frames, however their bytes come."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.app.api.openai import tail
from backend.app.api.openai.tail import Frames
from backend.app.errors import EngineError

# A frame has at least one line: a blank one after an end belongs to no frame, and may wait.
TEXT = st.from_regex(r"[a:][a:\r ]{0,8}", fullmatch=True)
FRAMES = st.lists(st.tuples(TEXT, st.sampled_from(["\n\n", "\r\n\r\n"])), max_size=9)


@given(frames=FRAMES, rest=st.text(alphabet="a:", max_size=9), data=st.data())
def test_nothing_is_lost_and_nothing_is_cut(
    frames: list[tuple[str, str]], rest: str, data: st.DataObject
) -> None:
    stream = "".join(text + end for text, end in frames).encode()
    sent = stream + rest.encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=9)))
    splitter, seen = Frames(), b""
    for start, end in zip([0, *cuts], [*cuts, len(sent)], strict=True):
        piece = splitter.whole(sent[start:end])
        assert not piece or piece.endswith((b"\n\n", b"\r\n\r\n"))
        seen += piece
    assert seen == stream


def test_a_whole_frame_passes_as_it_is() -> None:
    frame = b"data: {}\n\n"
    assert Frames().whole(frame) is frame


def test_a_frame_without_end_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "FRAME_LIMIT", 100)
    frames = Frames()
    assert frames.whole(b"data: " + b"x" * 90) == b""
    with pytest.raises(EngineError, match="too large"):
        frames.whole(b"xxxxx")
