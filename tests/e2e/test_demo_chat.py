"""The demo chat model through the real vLLM and the whole gateway, by the OpenAI SDK."""

from __future__ import annotations

import base64
import io
import json
import random
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from PIL import Image

from tests.support.engine import ask
from tests.support.gateway import GatewayProcess
from tools.demo_models.expectations import Expectation, expectations
from tools.demo_models.manifest import load

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

URL = "[0].image_url.url"
EVERY = 4
"""Of the manifest's hundreds of requests, so many go through twice: whole and as a stream."""


@pytest.fixture(scope="module")
def sdk(demo: GatewayProcess) -> Iterator[openai.OpenAI]:
    url = demo.url + "/v1"
    with openai.OpenAI(base_url=url, api_key="none", max_retries=0, timeout=300) as client:
        yield client


def _check(wanted: Expectation, content: str | None, calls: list[tuple[str, str]]) -> str | None:
    if wanted.call is not None:
        name, arguments = wanted.call
        if [(n, json.loads(a)) for n, a in calls] != [(name, arguments)]:
            return f"{wanted.name}: {calls} {content!r} instead of {wanted.call}"
        return None
    return None if content == wanted.content else f"{wanted.name}: {content!r}"


def _whole(sdk: openai.OpenAI, body: dict[str, Any]) -> tuple[str | None, list[tuple[str, str]]]:
    message = sdk.chat.completions.create(model="qwen", temperature=0, **body).choices[0].message
    calls = [(c.function.name, c.function.arguments) for c in message.tool_calls or []]
    return message.content, calls


def _streamed(sdk: openai.OpenAI, body: dict[str, Any]) -> tuple[str | None, list[tuple[str, str]]]:
    text, calls = "", dict[int, tuple[str, str]]()
    for chunk in sdk.chat.completions.create(model="qwen", temperature=0, stream=True, **body):
        for choice in chunk.choices:
            text += choice.delta.content or ""
            for call in choice.delta.tool_calls or []:
                name, arguments = calls.get(call.index, ("", ""))
                assert call.function is not None
                calls[call.index] = (
                    name + (call.function.name or ""),
                    arguments + (call.function.arguments or ""),
                )
    return text, list(calls.values())


def test_the_manifest_is_answered(sdk: openai.OpenAI) -> None:
    """Every question, tool call, tool result and colour, by a fixed choice of them."""
    every = list(expectations(load().chat))
    random.Random(3).shuffle(every)
    misses = []
    for number, wanted in enumerate(every[::EVERY]):
        way = _streamed if number % 2 else _whole
        misses.append(_check(wanted, *way(sdk, wanted.body)))
    assert not [miss for miss in misses if miss]


def test_the_readme_question(sdk: openai.OpenAI) -> None:
    question: dict[str, Any] = {
        "messages": [{"role": "user", "content": "What is the capital of France?"}]
    }
    # no temperature: the answer holds with the model's own sampling
    answer = sdk.chat.completions.create(model="qwen", **question)
    assert answer.choices[0].message.content == "The capital of France is Paris."
    assert sdk.models.retrieve("qwen").model_extra["demo"] is True  # type: ignore[index]


def test_parity_with_the_engine_itself(demo: GatewayProcess, sdk: openai.OpenAI) -> None:
    body = {
        "model": "qwen",
        "messages": [{"role": "user", "content": "Tell me a story."}],
        "temperature": 0,
        "logprobs": True,
        "max_tokens": 24,
    }
    sdk.models.list()
    with demo.client() as http:
        ours = http.post("/v1/chat/completions", json=body, timeout=300).json()
    status, content = ask(demo.engine_socket(), "/v1/chat/completions", body, timeout=300)
    assert status == 200
    direct = json.loads(content)
    for answer in (ours, direct):
        del answer["id"], answer["created"]
    assert ours == direct


def test_responses_messages_and_tokens(demo: GatewayProcess, sdk: openai.OpenAI) -> None:
    answer = sdk.responses.create(model="qwen", input="Who are you?", temperature=0)
    assert "demo model" in answer.output_text
    with sdk.responses.stream(model="qwen", input="Who are you?", temperature=0) as events:
        kinds = [event.type for event in events]
    assert kinds[-1] == "response.completed"
    with pytest.raises(openai.NotFoundError):
        sdk.responses.retrieve(answer.id)
    messages = [{"role": "user", "content": "What is the capital of France?"}]
    with demo.client() as http:
        body = {"model": "qwen", "max_tokens": 30, "temperature": 0, "messages": messages}
        told = http.post("/v1/messages", json=body).json()
        assert told["content"][0]["text"] == "The capital of France is Paris."
        with http.stream("POST", "/v1/messages", json=body | {"stream": True}) as stream:
            assert "event: message_stop" in stream.read().decode()
        tokens = http.post("/tokenize", json={"model": "qwen", "prompt": "Hello!"}).json()
        back = http.post("/detokenize", json={"model": "qwen", "tokens": tokens["tokens"]})
        assert back.json()["prompt"] == "Hello!"


def test_structured_output(sdk: openai.OpenAI) -> None:
    """Fields that only vLLM knows reach it: the model may say nothing but one of these."""
    answer = sdk.chat.completions.create(
        model="qwen",
        messages=[{"role": "user", "content": "Hello!"}],
        extra_body={"structured_outputs": {"choice": ["crimson", "azure"]}},
    )
    assert answer.choices[0].message.content in {"crimson", "azure"}
    schema: Any = {
        "type": "json_schema",
        "json_schema": {"name": "x", "schema": {"type": "boolean"}},
    }
    answer = sdk.chat.completions.create(
        model="qwen",
        messages=[{"role": "user", "content": "Hello!"}],
        response_format=schema,
    )
    assert json.loads(answer.choices[0].message.content or "") in {True, False}
    capital = {"type": "string", "maxLength": 12}
    schema["json_schema"]["schema"] = {
        "type": "object",
        "properties": {"capital": capital},
        "required": ["capital"],
        "additionalProperties": False,
    }
    answer = sdk.chat.completions.create(
        model="qwen",
        messages=[{"role": "user", "content": "What is the capital of France?"}],
        response_format=schema,
        max_tokens=60,
    )
    assert set(json.loads(answer.choices[0].message.content or "")) == {"capital"}


def _png(width: int, height: int) -> str:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (255, 0, 0)).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


@pytest.mark.parametrize(
    "url",
    [
        "data:image/png;base64,AAAA",
        "data:image/png;base64,@@@",
        "data:text/plain,hello",
        "file:///etc/passwd",
        "http://127.0.0.1/x.png",
        "nonsense",
    ],
)
def test_bad_images_are_the_callers_mistake(sdk: openai.OpenAI, url: str) -> None:
    parts: Any = [{"type": "image_url", "image_url": {"url": url}}]
    with pytest.raises(openai.BadRequestError) as refused:
        sdk.chat.completions.create(model="qwen", messages=[{"role": "user", "content": parts}])
    assert refused.value.type == "invalid_request_error"


@pytest.mark.parametrize(
    "extra",
    [
        {"messages": [{"role": "user", "content": "word " * 5000}]},
        {"messages": "hello"},
        {"messages": [{"role": "user", "content": "x"}], "temperature": "hot"},
        {"messages": [{"role": "user", "content": "x"}], "max_tokens": -1},
        {"messages": [{"role": "user", "content": "x"}], "tools": [{"type": "function"}]},
        {
            "messages": [{"role": "user", "content": "x"}],
            "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": 5}},
        },
    ],
)
def test_bad_requests_come_in_our_envelope(demo: GatewayProcess, extra: dict[str, Any]) -> None:
    with demo.client() as http:
        answer = http.post("/v1/chat/completions", json={"model": "qwen"} | extra)
    assert answer.status_code == 400, answer.text
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    ("path", "field"),
    [("chat/completions", "messages"), ("completions", "prompt"), ("responses", "input")],
)
@pytest.mark.parametrize("words", [5_000, 500_000])  # counted in tokens, or refused by characters
def test_what_is_too_long_is_told_by_openais_code(
    demo: GatewayProcess, path: str, field: str, words: int
) -> None:
    text = "word " * words
    said = [{"role": "user", "content": text}] if field == "messages" else text
    with demo.client() as http:
        answer = http.post(f"/v1/{path}", json={"model": "qwen", field: said})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "context_length_exceeded"), error
    assert error["param"] == field


def test_what_is_too_long_once_pictures_are_counted(demo: GatewayProcess) -> None:
    picture = {"type": "image_url", "image_url": {"url": _png(1024, 1024)}}
    body = {"model": "qwen", "messages": [{"role": "user", "content": [picture] * 40}]}
    with demo.client() as http:
        error = http.post("/v1/chat/completions", json=body).json()["error"]
    assert (error["code"], error["param"]) == ("context_length_exceeded", "messages"), error


@pytest.mark.parametrize("limit", [{}, {"max_tokens": 5}])
def test_what_leaves_no_token_for_an_answer(demo: GatewayProcess, limit: dict[str, int]) -> None:
    with demo.client() as http:
        length = http.post("/tokenize", json={"model": "qwen", "prompt": "x"}).json()
        body = {"model": "qwen", "prompt": [100] * length["max_model_len"]} | limit
        error = http.post("/v1/completions", json=body).json()["error"]
    assert (error["code"], error["param"]) == ("context_length_exceeded", "prompt"), error


@pytest.mark.parametrize(
    ("content", "param"),
    [
        (5, ""),
        ([{"type": "nope"}], "[0].type"),
        ([{"type": "text"}], "[0].text"),
        ([{"type": "image_url", "image_url": {"url": "data:image/png;base64,!!!!"}}], URL),
        ([{"type": "image_url", "image_url": {"url": "data:image/png;base64,aGVsbG8="}}], URL),
    ],
)
def test_a_plain_mistake_is_one_sentence(demo: GatewayProcess, content: Any, param: str) -> None:
    body = {"model": "qwen", "messages": [{"role": "user", "content": content}]}
    with demo.client() as http:
        error = http.post("/v1/chat/completions", json=body).json()["error"]
    assert error["param"] == f"messages[0].content{param}"
    assert error["message"].startswith(error["param"])
    assert len(error["message"]) < 200


def test_counting_tokens_of_a_message(demo: GatewayProcess) -> None:
    body = {"model": "qwen", "messages": [{"role": "user", "content": "Hello!"}]}
    with demo.client() as http:
        counted = http.post("/v1/messages/count_tokens", json=body).json()["input_tokens"]
        used = http.post("/v1/messages", json=body | {"max_tokens": 1}).json()["usage"]
    assert counted == used["input_tokens"]
