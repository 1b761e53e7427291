from __future__ import annotations

import pytest

from backend.app.services.content import MOST_BYTES, KeptAnswer, prompt_of, said_in


def test_a_prompt_is_kept_without_its_pictures() -> None:
    body = b'{"messages":[{"image_url":{"url":"data:image/png;base64,' + b"iVBORw0K" * 99 + b'"}}]}'
    assert prompt_of(body) == ('{"messages":[{"image_url":{"url":"data:image/png;base64,..."}}]}')
    assert len(prompt_of(b"x" * (2 * MOST_BYTES))) == MOST_BYTES


@pytest.mark.parametrize(
    "stream",
    [
        b'data: {"choices":[{"delta":{"role":"assistant"}}]}\n\n'
        b'data: {"choices":[{"delta":{"content":"he"}}]}\n\n: still working\n\n'
        b'data: {"choices":[{"delta":{"content":"llo"}}]}\n\n'
        b'data: {"choices":[],"usage":{}}\n\ndata: [DONE]\n\n',
        b'data: {"choices":[{"text":"hel"}]}\r\n\r\ndata: {"choices":[{"text":"lo"}]}\r\n\r\n',
        b"event: response.output_text.delta\n"
        b'data: {"type":"response.output_text.delta","delta":"hello"}\n\n',
        b"event: content_block_delta\n"
        b'data: {"type":"content_block_delta","delta":{"type":"text_delta","text":"hello"}}\n\n',
        b'data: {"choices":[{"delta":{"tool_calls":[{"function":{"name":"hel"}}]}}]}\n\n'
        b'data: {"choices":[{"delta":{"tool_calls":[{"function":{"arguments":"lo"}}]}}]}\n\n',
        b'data: {"broken\n\ndata: {broken}\n\ndata: {"choices":[{"text":"hello"}]}\n\n',
    ],
)
def test_what_a_stream_said(stream: bytes) -> None:
    assert said_in(stream) == "hello"


def test_an_answer_is_kept_only_when_wanted_and_bounded() -> None:
    silent, kept = KeptAnswer(wanted=False), KeptAnswer(wanted=True)
    for answer in (silent, kept):
        answer.see(b"a" * (MOST_BYTES - 1))
        answer.see(b"bcd")
        answer.see(b"e")
    assert silent.text(stream=False) is None
    assert kept.text(stream=False) == "a" * (MOST_BYTES - 1) + "b"
