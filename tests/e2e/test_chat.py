"""/v1 through a whole gateway process in front of fake engines."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import httpx
import openai
import pytest

from tests.support.engine import last_request
from tests.support.gateway import GatewayProcess, at_rest, chat, eventually, gateway, recorded


@pytest.fixture(scope="module", params=["with a dashboard", "without"])
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """Every route answers the same whether or not a dashboard is served behind them."""
    dist = tmp_path_factory.mktemp("dist")
    if request.param == "with a dashboard":
        (dist / "index.html").write_text("<!doctype html><title>dashboard</title>")
    with gateway(
        "--fake-500-on boom --max-model-len 40",
        QWEN_ALIASES="gpt-4o,local/vision",
        MAX_BODY_MB="2",
        FRONTEND_DIST=str(dist),
    ) as process:
        yield process


@pytest.fixture(scope="module")
def http(running: GatewayProcess) -> Iterator[httpx.Client]:
    with running.client() as client:
        yield client


@pytest.fixture(scope="module")
def sdk(running: GatewayProcess) -> Iterator[openai.OpenAI]:
    url = running.url + "/v1"
    with openai.OpenAI(base_url=url, api_key="none", max_retries=0) as client:
        yield client


def test_health(http: httpx.Client) -> None:
    assert http.get("/healthz").json() == {"status": "ok"}
    ready = http.get("/readyz").json()
    assert ready["ready"]
    assert http.get("/readyz", params={"model": "nobody"}).status_code == 404


def test_models_under_all_their_names(sdk: openai.OpenAI) -> None:
    names = [model.id for model in sdk.models.list()]
    assert names[:3] == ["qwen", "gpt-4o", "local/vision"]
    assert {"canary", "whisper-1"} < set(names)
    assert sdk.models.retrieve("local/vision").id == "local/vision"
    with pytest.raises(openai.NotFoundError) as missing:
        sdk.models.retrieve("gpt-9")
    assert missing.value.code == "model_not_found"
    assert "qwen" in str(missing.value)


def test_the_sdk_chats(sdk: openai.OpenAI) -> None:
    answer = sdk.chat.completions.create(**chat("hello there", max_tokens=4))
    assert answer.choices[0].message.content == "there hello tok1 tok2"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 4
    stream = sdk.chat.completions.create(**chat("hello there", max_tokens=4), stream=True)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    assert text == "there hello tok1 tok2"


def test_the_sdk_speaks_completions_and_responses(sdk: openai.OpenAI) -> None:
    done = sdk.completions.create(model="qwen", prompt="one two", max_tokens=2)
    assert done.choices[0].text
    answer = sdk.responses.create(model="qwen", input="one two")
    assert answer.output_text
    with sdk.responses.stream(model="qwen", input="one two") as events:
        kinds = [event.type for event in events]
    assert kinds[-1] == "response.completed"
    with pytest.raises(openai.NotFoundError):
        sdk.responses.retrieve("resp_unknown")
    with pytest.raises(openai.NotFoundError):
        sdk.responses.cancel("resp_unknown")


def test_anthropic_messages(http: httpx.Client) -> None:
    body = {"model": "qwen", "max_tokens": 3, "messages": [{"role": "user", "content": "one two"}]}
    answer = http.post("/v1/messages", json=body)
    assert answer.json()["type"] == "message"
    with http.stream("POST", "/v1/messages", json=body | {"stream": True}) as stream:
        assert "event: message_stop" in stream.read().decode()
    refused = http.post("/v1/messages", json={"messages": []})
    assert refused.status_code == 400
    assert refused.json()["type"] == "error"
    assert refused.json()["error"]["type"] == "invalid_request_error"


def test_tokenize_and_back(http: httpx.Client) -> None:
    tokens = http.post("/tokenize", json={"model": "qwen", "prompt": "one two"}).json()["tokens"]
    text = http.post("/detokenize", json={"model": "qwen", "tokens": tokens}).json()["prompt"]
    assert text == "one two"


def test_a_body_goes_on_as_it_came(running: GatewayProcess, http: httpx.Client) -> None:
    odd = (
        b'{ "model" : "gpt-4o",\n "x_unknown": [1.50, "\\u00e9"],'
        b' "messages":[{"role":"user","content":"hi"}]}'
    )
    answer = http.post(
        "/v1/chat/completions", content=odd, headers={"content-type": "application/json"}
    )
    assert answer.status_code == 200
    seen = last_request(running.engine_socket())
    assert seen["body"].encode() == odd
    assert not any("authorization" in name.lower() for name in dict(seen["headers"]))


def test_sse_headers(http: httpx.Client) -> None:
    with http.stream("POST", "/v1/chat/completions", json=chat(stream=True)) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["x-accel-buffering"] == "no"
        assert answer.headers["cache-control"] == "no-cache"
        assert answer.headers["x-request-id"]
        assert answer.read().decode().rstrip().endswith("data: [DONE]")


def test_request_ids_are_kept_or_made(http: httpx.Client) -> None:
    assert (
        http.get("/healthz", headers={"x-request-id": "abc-1"}).headers["x-request-id"] == "abc-1"
    )
    made = http.get("/healthz", headers={"x-request-id": "a" * 200}).headers["x-request-id"]
    assert made.startswith("req_")


@pytest.mark.parametrize(
    ("path", "body", "status", "param", "words"),
    [
        ("/v1/chat/completions", {"messages": []}, 400, "model", "model"),
        ("/v1/chat/completions", {"model": 5, "messages": []}, 400, "model", "model"),
        ("/v1/chat/completions", {"model": "nope", "messages": []}, 404, "model", "nope"),
        ("/v1/chat/completions", chat("w " * 60), 400, None, "context"),
        ("/v1/chat/completions", chat(stream="yes"), 400, "stream", "stream"),
        ("/v1/chat/completions", [1, 2], 400, None, "object"),
        ("/v1/completions", {"prompt": "x"}, 400, "model", "model"),
        ("/v1/responses", {"input": "x"}, 400, "model", "model"),
        ("/tokenize", {"prompt": "x"}, 400, "model", "model"),
    ],
)
def test_mistakes_are_named(
    http: httpx.Client, path: str, body: object, status: int, param: str | None, words: str
) -> None:
    answer = http.post(path, json=body)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert words in error["message"]
    if param:
        assert error["param"] == param


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b'{"model":"qwen"', b"[" * 100_000])
def test_malformed_json(http: httpx.Client, body: bytes) -> None:
    answer = http.post(
        "/v1/chat/completions", content=body, headers={"content-type": "application/json"}
    )
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/nothing", 404),
        ("POST", "/v1/embeddings", 404),
        ("POST", "/invocations", 404),
        ("POST", "/v1/load_lora_adapter", 404),
        ("GET", "/v1/chat/completions", 405),
        ("DELETE", "/v1/models", 405),
        ("GET", "/api/nothing", 404),
        ("POST", "/", 405),
    ],
)
def test_unknown_paths_answer_json(http: httpx.Client, method: str, path: str, status: int) -> None:
    answer = http.request(method, path)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/chat/completions", "POST"),
        ("DELETE", "/v1/models", "GET, HEAD"),
        ("PUT", "/v1/messages/count_tokens", "POST"),
        ("PUT", "/api/admin/huggingface/token", "DELETE, GET, HEAD, POST"),
    ],
)
def test_a_wrong_method_is_told_the_right_ones(
    http: httpx.Client, method: str, path: str, allowed: str
) -> None:
    answer = http.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
    assert answer.json()["error"]["message"] == f"{path} answers to {allowed} only."


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/v1/models", "/v1/models/qwen"])
def test_head_works_where_get_does(http: httpx.Client, path: str) -> None:
    head, get = http.head(path), http.get(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(get.content))
    assert http.head("/v1/chat/completions").status_code == 405
    assert http.head("/v1/nothing").status_code == 404


@pytest.mark.parametrize("offer", ["h2c", "websocket"])
def test_a_client_that_offers_another_protocol(running: GatewayProcess, offer: str) -> None:
    """The JDK's HttpClient offers h2c with every first request."""
    body = json.dumps(chat("one two")).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\n"
        f"Upgrade: {offer}\r\nHTTP2-Settings: AAEAAEAA\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    host, port = running.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(head.encode() + body)
        assert connection.recv(100).startswith(b"HTTP/1.1 200 ")


def test_counting_tokens_of_a_message(http: httpx.Client) -> None:
    path = "/v1/messages/count_tokens"
    assert http.post(path, json=chat("one two three")).json() == {"input_tokens": 3}
    refused = http.post(path, json={"messages": []})
    assert refused.status_code == 400
    assert refused.json()["type"] == "error"


def test_a_body_too_large(http: httpx.Client) -> None:
    answer = http.post("/v1/chat/completions", json=chat("x" * (3 << 20)))
    assert answer.status_code == 413
    assert "MAX_BODY_MB" in answer.json()["error"]["message"]


def test_what_the_engine_cannot_do_is_a_502(http: httpx.Client) -> None:
    answer = http.post("/v1/chat/completions", json=chat("boom"))
    assert answer.status_code == 502
    assert answer.json()["error"]["code"] == "engine_error"
    # its connection was dropped with the 500: the next requests are not hurt by it
    for _ in range(10):
        assert http.post("/v1/chat/completions", json=chat()).status_code == 200


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("file:///etc/passwd", "only http, https and data"),
        ("http://127.0.0.1/x.png", "address"),
        ("http://169.254.169.254/latest/meta-data", "address"),
        ("http://[::1]/x.png", "address"),
        ("http://nowhere.invalid/x.png", ""),
        ("gopher://example.com/x", "only http"),
        ("http://example.com:22/x.png", "port"),
    ],
)
def test_media_that_may_not_be_fetched(http: httpx.Client, url: str, words: str) -> None:
    parts = [{"type": "image_url", "image_url": {"url": url}}]
    body = {"model": "qwen", "messages": [{"role": "user", "content": parts}]}
    answer = http.post("/v1/chat/completions", json=body)
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert "messages" in (error["param"] or "")
    assert words in error["message"].lower()


def test_nothing_is_left_in_flight(http: httpx.Client) -> None:
    eventually(lambda: at_rest(http))
    text = http.get("/metrics").text
    assert 'gateway_requests_in_flight{model="qwen"} 0.0' in text
    assert 'gateway_replica_state{model="qwen",replica="qwen-0",state="ready"} 1.0' in text
    assert "gateway_time_to_first_token_seconds_bucket" in text
    assert "vllm:" in http.get("/metrics/qwen").text


def test_replicas_are_counted_from_zero(http: httpx.Client) -> None:
    wrong = http.get("/metrics/qwen", params={"replica": -1})
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "replica")


def test_the_history_has_counts_and_no_content(http: httpx.Client) -> None:
    newest = recorded(
        http, http.post("/v1/chat/completions", json=chat("secret words", max_tokens=3))
    )
    assert newest["model"] == "qwen"
    assert newest["outcome"] == "completed"
    assert newest["completion_tokens"] == 3
    assert "secret" not in json.dumps(newest)
