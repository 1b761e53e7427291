"""The fake engine is only worth something if it speaks and fails like the real one."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
import psutil
import pytest
from openai import APIError, BadRequestError, NotFoundError, OpenAI
from openai.types.chat import ChatCompletionUserMessageParam

from tests.support.engine import FakeEngine, ask, fake_engine, last_request, stats, wait_for_stats

SAY: list[ChatCompletionUserMessageParam] = [{"role": "user", "content": "one two three"}]


@contextmanager
def client(engine: FakeEngine) -> Iterator[OpenAI]:
    transport = httpx2.HTTPTransport(uds=engine.sock)
    http = httpx2.Client(transport=transport)
    with OpenAI(api_key="x", base_url="http://e/v1", http_client=http, max_retries=0) as sdk:
        yield sdk


def chat(**fields: object) -> dict[str, object]:
    return {"model": "qwen", "messages": SAY, **fields}


@contextmanager
def open_stream(engine: FakeEngine, tokens: int = 100_000) -> Iterator[socket.socket]:
    """A chat stream of which the first bytes have arrived."""
    body = json.dumps(chat(stream=True, max_tokens=tokens)).encode()
    head = f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(10)
        peer.connect(engine.sock)
        peer.sendall(f"POST /v1/chat/completions HTTP/1.1\r\nhost: e\r\n{head}".encode() + body)
        assert peer.recv(12) == b"HTTP/1.1 200"
        yield peer


def read_all(peer: socket.socket) -> bytes:
    found = b""
    while data := peer.recv(65536):
        found += data
    return found


def events(body: bytes) -> list[str]:
    return [line[7:] for line in body.decode().split("\n") if line.startswith("event: ")]


def test_the_openai_sdk_reads_every_dialect() -> None:
    with fake_engine(names=("qwen", "a/b")) as engine, client(engine) as sdk:
        assert [model.id for model in sdk.models.list()] == ["qwen", "a/b"]
        whole = sdk.chat.completions.create(model="a/b", messages=SAY)
        assert whole.choices[0].message.content == "three two one tok1 tok2 tok3 tok4 tok5"
        assert whole.choices[0].finish_reason == "stop"
        assert whole.usage
        assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (3, 8)

        chunks = list(
            sdk.chat.completions.create(
                model="qwen",
                messages=SAY,
                max_tokens=5,
                stream=True,
                stream_options={"include_usage": True},
            )
        )
        texts = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
        assert texts == ["", "three", " two", " one", " tok1", " tok2"]
        assert chunks[-2].choices[0].finish_reason == "length"
        assert chunks[-1].usage
        assert chunks[-1].usage.total_tokens == 8

        text = sdk.completions.create(model="qwen", prompt="a b", max_tokens=2).choices[0].text
        assert text == "b a"
        parts = sdk.completions.create(model="qwen", prompt="a b", max_tokens=2, stream=True)
        assert [part.choices[0].text for part in parts] == ["b", " a"]

        answer = sdk.responses.create(model="qwen", input="a b", max_output_tokens=2)
        assert answer.output_text == "b a"
        with sdk.responses.stream(model="qwen", input="a b", max_output_tokens=2) as stream:
            kinds = [event.type for event in stream]
            assert stream.get_final_response().output_text == "b a"
        assert kinds[0] == "response.created"
        assert kinds.count("response.output_text.delta") == 2
        assert kinds[-1] == "response.completed"


def test_anthropic_messages_and_tokens() -> None:
    with fake_engine() as engine:
        status, body = ask(engine.sock, "/v1/messages", chat(max_tokens=2))
        assert status == 200
        assert json.loads(body)["content"] == [{"type": "text", "text": "three two"}]
        streamed = ask(engine.sock, "/v1/messages", chat(max_tokens=2, stream=True))[1]
        assert events(streamed) == [
            "message_start",
            "content_block_start",
            "content_block_delta",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop",
        ]
        tokens = json.loads(ask(engine.sock, "/tokenize", {"prompt": "hé"})[1])["tokens"]
        assert json.loads(ask(engine.sock, "/detokenize", {"tokens": tokens})[1]) == {
            "prompt": "hé"
        }
        assert b"vllm:num_requests_running{" in ask(engine.sock, "/metrics")[1]


def test_errors_have_the_shapes_of_vllm() -> None:
    with fake_engine("--max-model-len", "4", "--fake-500-on", "boom") as engine:
        with client(engine) as sdk:
            with pytest.raises(NotFoundError) as unknown:
                sdk.chat.completions.create(model="nope", messages=SAY)
            assert isinstance(unknown.value.body, dict)
            assert unknown.value.body["type"] == "NotFoundError"
            long = "a b c d e"
            with pytest.raises(BadRequestError, match="maximum context length is 4"):
                sdk.completions.create(model="qwen", prompt=long)
        assert ask(engine.sock, "/v1/nope", {}) == (404, b'{"detail":"Not Found"}')
        status, body = ask(engine.sock, "/v1/chat/completions", b"{")
        assert (status, json.loads(body)["error"]["code"]) == (400, 400)
        status, body = ask(engine.sock, "/v1/chat/completions", {"messages": [1]})
        assert (status, json.loads(body)["error"]["type"]) == (400, "Bad Request")
        body = ask(engine.sock, "/v1/messages", {**chat(), "model": "nope"})[1]
        assert json.loads(body)["error"]["type"] == "NotFoundError"
        with httpx2.Client(transport=httpx2.HTTPTransport(uds=engine.sock)) as http:
            failed = http.post("http://e/v1/completions", json={"prompt": "boom"})
        assert failed.status_code == 500
        assert "connection" not in failed.headers
        assert failed.json()["error"]["type"] == "InternalServerError"


def test_one_http_chunk_per_token() -> None:
    with fake_engine() as engine, open_stream(engine, tokens=3) as peer:
        found = b""
        while not found.endswith(b"0\r\n\r\n"):
            found += peer.recv(65536)
        chunks = found.partition(b"\r\n\r\n")[2].split(b"\n\n\r\n")
    sizes = [chunk.split(b"\r\n", 1) for chunk in chunks[:-1]]
    assert [int(size, 16) for size, _ in sizes] == [len(frame) + 2 for _, frame in sizes]
    assert len(sizes) == 5  # role, three tokens, [DONE]


def test_an_image_is_proven_read_and_the_request_kept() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    body = {"messages": [{"role": "user", "content": [{"type": "text", "text": "see"}, image]}]}
    with fake_engine() as engine:
        answer = json.loads(ask(engine.sock, "/v1/chat/completions", {**body, "max_tokens": 2})[1])
        assert answer["choices"][0]["message"]["content"] == "<image/png:4:9b0d08f1> see"
        assert json.loads(last_request(engine.sock)["body"])["messages"] == body["messages"]


def test_a_disconnect_stops_the_work() -> None:
    with fake_engine("--fake-tps", "50") as engine:
        with open_stream(engine):
            assert stats(engine.sock)["running"] == 1
        wait_for_stats(engine.sock, running=0, aborted=1, completed=0)


def test_probes_count_nowhere() -> None:
    with fake_engine("--fake-crash-after-requests", "1") as engine:
        assert ask(engine.sock, "/v1/chat/completions", chat(max_tokens=1, stream=True))[0] == 200
        assert stats(engine.sock)["requests"] == 0


def test_term_waits_for_running_requests() -> None:
    flags = ("--fake-tps", "50", "--shutdown-timeout", "20")
    with fake_engine(*flags) as engine, open_stream(engine, tokens=20) as peer:
        assert engine.terminate() == 0
        assert read_all(peer).endswith(b"0\r\n\r\n")


def test_term_cuts_what_takes_too_long() -> None:
    with fake_engine("--fake-tps", "1") as engine, open_stream(engine) as peer:
        assert engine.terminate() == 0
        assert not read_all(peer).endswith(b"0\r\n\r\n")


def test_loading_is_told_and_refuses_connections() -> None:
    engine = FakeEngine("--fake-load-s", "30")
    try:
        while "0% Completed | 0/2" not in engine.log:
            assert engine.process.poll() is None
        with pytest.raises(ConnectionRefusedError):
            ask(engine.sock, "/health")
        assert engine.terminate() == 0
    finally:
        engine.close()


def test_a_stale_socket_file_is_an_error() -> None:
    with fake_engine() as first:
        second = FakeEngine(sock=first.sock)
        try:
            assert second.process.wait(20) == 1
            assert "Address already in use" in second.log
        finally:
            second.close()


def test_ways_to_die() -> None:
    cases = {
        ("--fake-exit-at-start", "3"): 3,
        ("--fake-exit-after-s", "0.05"): 0,
        ("--fake-exit-after-s", "0.05", "--fake-exit-code", "7"): 7,
        ("--fake-surprise", "1"): 2,
    }
    for flags, code in cases.items():
        engine = FakeEngine(*flags, "--fake-load-s", "0")
        try:
            assert engine.process.wait(20) == code, flags
        finally:
            engine.close()


def test_crash_in_the_second_stream() -> None:
    with fake_engine("--fake-crash-after-requests", "2") as engine:
        assert ask(engine.sock, "/v1/completions", chat(stream=True))[0] == 200
        with open_stream(engine, tokens=10) as peer:
            found = read_all(peer)
            assert b"tok" in found
            assert b"[DONE]" not in found
        assert engine.process.wait(20) == -signal.SIGKILL


def test_stop_in_mid_stream_and_ignored_term() -> None:
    flags = ("--fake-stop-mid-stream", "1", "--fake-ignore-term")
    with fake_engine(*flags) as engine, open_stream(engine, tokens=10):
        process = psutil.Process(engine.process.pid)
        while process.status() != psutil.STATUS_STOPPED:
            assert engine.process.poll() is None
        assert engine.health() is None
        process.resume()
        engine.process.send_signal(signal.SIGTERM)
        assert engine.wait_ready().process.poll() is None


def test_hang_after_a_request() -> None:
    with fake_engine("--fake-hang-after-requests", "1") as engine:
        assert ask(engine.sock, "/v1/chat/completions", chat())[0] == 200
        assert engine.health() is None
        assert engine.process.poll() is None


def test_never_ready_unclosed_and_orphan() -> None:
    flags = ("--fake-never-ready", "--fake-unclosed-stream", "--fake-spawn-orphan")
    engine = FakeEngine(*flags, "--fake-load-s", "0")
    try:
        while (status := engine.health()) is None:
            assert engine.process.poll() is None
        assert status == 503
        body = ask(engine.sock, "/v1/chat/completions", chat(stream=True))[1]
        assert b"[DONE]" not in body
        (orphan,) = psutil.Process(engine.process.pid).children()
        orphan.terminate()
        assert engine.terminate() == 0
        assert orphan.is_running()
        orphan.kill()
    finally:
        engine.close()


def test_the_sdk_notices_a_stream_that_breaks_off() -> None:
    with fake_engine("--fake-crash-after-requests", "1") as engine, client(engine) as sdk:
        stream = sdk.chat.completions.create(model="qwen", messages=SAY, stream=True)
        with pytest.raises((APIError, httpx2.RemoteProtocolError)):
            list(stream)
