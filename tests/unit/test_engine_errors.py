"""What vLLM says, told in our words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from backend.app.api.openai.engine_errors import engine_error
from backend.app.api.openai.tail import Frames, StreamTail


def said(message: str) -> bytes:
    return json.dumps({"error": {"message": message, "type": "x", "code": 500}}).encode()


@pytest.mark.parametrize(
    ("status", "content", "ours"),
    [
        (400, said("bad"), 400),
        (404, b'{"detail":"Not Found"}', 404),
        (422, b'{"detail":[{"loc":["body","n"],"msg":"too many"}]}', 400),
        (429, said("too many images"), 429),
        (401, said("bad url key"), 502),
        (500, said("cannot identify image file"), 400),
        (500, said("Incorrect padding in base64"), 400),
        (500, said("worker died immediately at /opt/vllm/worker.py line 33"), 502),
        (500, said("CUDA out of memory while encoding images"), 502),
        (500, b"plain words", 502),
        (501, said("Only base64 data URLs are supported for now."), 400),
        (503, b"", 503),
    ],
)
def test_statuses(status: int, content: bytes, ours: int) -> None:
    assert engine_error(status, content).status == ours


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"messages": [{"role": "user", "content": "hi"}], "prompt": ""}, "messages"),
        ({"prompt": "hi", "stop": ["messages"], "metadata": {"input": 1}}, "prompt"),
        ({"tools": [{"parameters": {"messages": {}}}], "prompt": {"id": 1}, "input": ""}, "input"),
        ({"input": ["messages", "hi"]}, "input"),
        ({}, None),
        ([], None),
    ],
)
@pytest.mark.parametrize(
    "words",
    [
        "This model's maximum context length is 8 tokens. However, your prompt contains 9.",
        "The decoder prompt (length 9) is longer than the maximum model length of 8.",
        "The decoder prompt (length 8) plus the number of requested output tokens (at least 1) is"
        " longer than the maximum model length of 8.",
        "The engine prompt length 9 exceeds the max_model_len 8. Please reduce prompt.",
        "Input length (9) exceeds model's maximum context length (8).",
        "You passed 9 input tokens and requested 1 output tokens. However, the model's context"
        " length is only 8 tokens.",
    ],
)
def test_what_is_too_long_has_the_code_that_clients_know(
    words: str, body: Any, field: str | None
) -> None:
    content = json.dumps({"error": {"message": words, "param": "input_tokens"}}).encode()
    error = engine_error(400, content, json.dumps(body).encode())
    assert (error.status, error.code, error.param) == (400, "context_length_exceeded", field)
    assert error.message == words


def test_what_leaves_no_token_for_an_answer_is_too_long() -> None:
    """At exactly the model's length vLLM complains of a `max_tokens` that nobody has sent."""
    content = said("max_tokens must be at least 1, got 0.")
    error = engine_error(400, content, b'{"messages": [], "max_tokens": 20}')
    assert (error.code, error.param) == ("context_length_exceeded", "messages")
    assert "max_tokens" not in error.message
    asked = engine_error(400, content, b'{"messages": [], "max_tokens": 0}')
    assert asked.code != "context_length_exceeded"
    assert asked.param == "max_tokens"


@pytest.mark.parametrize(
    "words",
    [
        "1 validation error:\n  {'type': 'list_type', 'loc': 'body.messages', 'msg': 'Input should"
        " be a valid list', 'input': \"Why: This model's maximum context length is 8?\"}",
        "max_tokens must be at least 1, got -1: longer than the maximum model length of 8.",
        "The decoder prompt cannot be empty",
    ],
)
def test_what_only_speaks_of_lengths_is_not_too_long(words: str) -> None:
    assert engine_error(400, said(words)).code != "context_length_exceeded"


def test_a_route_that_this_engine_does_not_have() -> None:
    """As /v1/messages/count_tokens of vLLM 0.19.1."""
    for content in (b'{"detail":"Not Found"}', said("Not Found")):
        assert "does not offer this route" in engine_error(404, content).message


def test_nothing_of_the_engines_inside_reaches_a_client() -> None:
    for text in ("worker died at /opt/x.py", "cannot identify image file <_io.BytesIO 0x7f>"):
        assert "/opt" not in engine_error(500, said(text)).message
        assert "0x7f" not in engine_error(500, said(text)).message


@pytest.mark.parametrize(
    ("stream", "ended"),
    [
        (b'data: {"a":1}\n\ndata: [DONE]\n\n', True),
        (b'data: {"error":{"message":"x"}}\n\n', True),
        (b'event: error\ndata: {"type":"error"}\n\n', True),
        (b'data: {"delta":"an error"}\n\n', False),
        (b'data: {"delta":"x"}\n\n', False),
        (b"data: [DONE]", False),
        (b"", False),
    ],
)
def test_whether_a_stream_has_ended(stream: bytes, ended: bool) -> None:
    for size in (1, 7, 1000):
        frames, tail = Frames(), StreamTail()
        for start in range(0, len(stream), size):
            tail.see(frames.whole(stream[start : start + size]))
        assert tail.ended_with((b"[DONE]",)) is ended


@pytest.mark.parametrize(
    ("stream", "broke"),
    [
        (b'data: {"error":{"message":"x"}}\n\ndata: [DONE]\n\n', True),
        (b'event: error\r\ndata: {"type":"error"}\r\n\r\n', True),
        (b'data: {"delta":"event: error\\ndata: {\\"error\\""}\n\ndata: [DONE]\n\n', False),
        (b'data: {"a":{"error":null}}\n\ndata: [DONE]\n\n', False),
        (b"", False),
    ],
)
def test_whether_the_engine_told_an_error(stream: bytes, broke: bool) -> None:
    tail = StreamTail()
    tail.see(b'data: {"delta":"x"}\n\n')
    tail.see(stream)
    assert tail.broke is broke
