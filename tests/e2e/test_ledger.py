"""Every request has one record, which ends once, and says what its client saw."""

from __future__ import annotations

import concurrent.futures
import json
import random
import socket
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.support.gateway import GatewayProcess, at_rest, chat, eventually, gateway

N = 80
SETTINGS = {
    "CRASH_BACKOFF_S": "0.05",
    "CRASH_LIMIT": "100",
    "ENGINE_TERM_S": "2",
    "QWEN_MAX_IN_FLIGHT": "4",
    "QWEN_MAX_QUEUE": "4",
}
REMOTE = [{"type": "image_url", "image_url": {"url": "http://127.0.0.1/x.png"}}]
Seen = tuple[str, int | None]
"""What a client saw: how it ended (whole, done, error, left), and the status if there was one."""


def headers(name: str) -> dict[str, str]:
    return {"x-request-id": name}


def whole(http: httpx.Client, name: str, rng: random.Random) -> Seen:
    body = chat(max_tokens=rng.randint(1, 40))
    return "whole", http.post("/v1/chat/completions", json=body, headers=headers(name)).status_code


def refused(http: httpx.Client, name: str, rng: random.Random) -> Seen:
    body = chat() | {"messages": [{"role": "user", "content": REMOTE}]}
    return "whole", http.post("/v1/chat/completions", json=body, headers=headers(name)).status_code


def _stream(
    http: httpx.Client, name: str, rng: random.Random, after: int, act: Callable[[], bool]
) -> Seen:
    """Read a stream; after so many lines `act`, and leave if that says so."""
    body = chat(stream=True, max_tokens=rng.randint(20, 60))
    path = "/v1/chat/completions"
    with http.stream("POST", path, json=body, headers=headers(name)) as answer:
        if answer.status_code != 200:
            answer.read()
            return "whole", answer.status_code
        last, count = "", 0
        for line in filter(None, answer.iter_lines()):
            last, count = line, count + 1
            if count == after and act():
                return "left", None
        return ("done" if last == "data: [DONE]" else "error"), None


def stream(http: httpx.Client, name: str, rng: random.Random) -> Seen:
    return _stream(http, name, rng, 0, lambda: False)


def leave(http: httpx.Client, name: str, rng: random.Random) -> Seen:
    return _stream(http, name, rng, rng.randint(1, 8), lambda: True)


def cancel(http: httpx.Client, name: str, rng: random.Random) -> Seen:
    def ask() -> bool:
        http.post(f"/api/admin/requests/{name}/cancel")
        return False

    return _stream(http, name, rng, 3, ask)


def leave_unanswered(http: httpx.Client, name: str, rng: random.Random) -> Seen:
    """Gone before the first byte of the answer, as soon as the gateway has taken the request."""

    def known() -> bool:
        listed = http.get("/api/admin/requests", params={"request_id": name}).json()
        return any(r["request_id"] == name for r in listed["in_flight"] + listed["recent"])

    body = json.dumps(chat(max_tokens=60)).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json"
        f"\r\nx-request-id: {name}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((http.base_url.host, http.base_url.port), 20) as own:
        own.sendall(head.encode() + body)
        eventually(known, 30, "taken")
    return "left", None


ACTS = (whole, whole, refused, stream, stream, leave, leave, cancel, leave_unanswered)


@pytest.fixture(scope="module")
def running() -> Any:
    with gateway("--fake-tps 200", **SETTINGS) as made:
        yield made


def kill_now_and_then(running: GatewayProcess, over: threading.Event, rng: random.Random) -> int:
    """Kill the engine a few times while requests are under way."""
    kills = 0
    while kills < 4 and not over.wait(rng.uniform(0.2, 0.6)):
        for engine in running.engines():
            engine.kill()
            kills += 1
    return kills


def test_n_requests_make_n_records(running: GatewayProcess) -> None:
    rng = random.Random(20261126)
    over = threading.Event()
    with running.client() as http, concurrent.futures.ThreadPoolExecutor(10) as pool:
        http.post("/v1/chat/completions", json=chat(max_tokens=1), headers=headers("first"))
        killer = pool.submit(kill_now_and_then, running, over, random.Random(1))
        asked = {}
        for number in range(N):
            act, name = rng.choice(ACTS), f"ledger-{number}"
            asked[name] = pool.submit(act, http, name, random.Random(number))
        seen = {name: future.result(120) for name, future in asked.items()}
        over.set()
        assert killer.result(30) > 0
        eventually(lambda: at_rest(http), 30, "at rest")
        listed = http.get("/api/admin/requests", params={"limit": 1000}).json()
        figures = http.get("/metrics").text

    assert listed["in_flight"] == []
    records = {r["request_id"]: r for r in listed["recent"]}
    assert Counter(r["request_id"] for r in listed["recent"]) == Counter(["first", *seen])
    for name, (how, status) in seen.items():
        agrees(records[name], how, status)
    outcomes = Counter(r["outcome"] for r in listed["recent"])
    assert set(outcomes) == {"completed", "failed", "cancelled", "rejected"}, outcomes
    counted = [line for line in figures.splitlines() if line.startswith("gateway_requests_total{")]
    assert sum(float(line.rpartition(" ")[2]) for line in counted) == N + 1


def agrees(record: dict[str, Any], how: str, status: int | None) -> None:
    """A record and what its client saw."""
    outcome = record["outcome"]
    if how == "whole" and status == 200:
        assert (outcome, record["status"]) == ("completed", 200), record
        assert record["completion_tokens"], record
        assert not record["approximate"], record
    elif how == "whole":
        assert record["status"] == status, record
        assert outcome == ("rejected" if status in (400, 429) else "failed"), record
        assert record["error"], record
    elif how == "done":
        assert outcome == "completed", record
        assert record["completion_tokens"], record
    elif how == "error":
        assert outcome in {"failed", "cancelled"}, record
        assert (record["cancelled_by"] == "operator") == (outcome == "cancelled"), record
    else:
        assert outcome in {"completed", "failed", "cancelled", "rejected"}, record
        assert record["cancelled_by"] == ("client" if outcome == "cancelled" else None), record


def test_counts_without_usage_are_marked(running: GatewayProcess) -> None:
    """A stream says its usage only when it is asked to; what was seen is counted then."""
    usage: dict[str, Any] = {"stream_options": {"include_usage": True}}
    with running.client() as http:
        for name, more in (("seen", {}), ("said", usage)):
            body = chat(stream=True, max_tokens=20, **more)
            answer = http.post("/v1/chat/completions", json=body, headers=headers(name))
            assert answer.text.rstrip().endswith("[DONE]"), answer.text
        http.post("/tokenize", json={"model": "qwen", "prompt": "a b"}, headers=headers("none"))

        def record(name: str) -> dict[str, Any]:
            asked = {"request_id": name}
            found = eventually(
                lambda: http.get("/api/admin/requests", params=asked).json()["recent"]
            )
            return dict(found[0])

        seen, said, none = record("seen"), record("said"), record("none")
        assert (seen["approximate"], seen["prompt_tokens"]) == (True, None)
        assert 20 <= seen["completion_tokens"] <= 24
        assert (said["approximate"], said["completion_tokens"]) == (False, 20)
        assert (none["approximate"], none["completion_tokens"]) == (False, None)


@pytest.mark.parametrize("keep", ["true", "false"])
def test_content_is_kept_only_when_it_is_allowed(keep: str) -> None:
    with gateway(KEEP_CONTENT=keep) as running, running.client() as http:
        picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 99}}
        for stream in (True, False):
            parts = [{"type": "text", "text": "a private question"}, picture]
            body = chat(stream=stream) | {"messages": [{"role": "user", "content": parts}]}
            http.post("/v1/chat/completions", json=body)
        eventually(lambda: at_rest(http))
        listed = http.get("/api/admin/requests").json()["recent"]
        assert len(listed) == 2
        assert "private" not in running.output()
        for record in listed:
            if keep == "false":
                assert record["content"] is None
                continue
            assert "a private question" in record["content"]["prompt"]
            assert "AAAA" not in record["content"]["prompt"]
            assert record["content"]["answer"]
        if keep == "true":
            answers = {r["stream"]: r["content"]["answer"] for r in listed}
            said = json.loads(answers[False])["choices"][0]["message"]["content"]
            assert answers[True] == said


def test_labels_of_keys_are_names_or_digests() -> None:
    keys = "alice:sk-alice-0123456789,sk-bare-0123456789"
    settings = {"OPENAI_API_KEYS": keys, "ADMIN_API_KEYS": "ops:sk-ops-0123456789"}
    with gateway(**settings) as running, running.client() as http:
        for key in ("sk-alice-0123456789", "sk-bare-0123456789", "sk-ops-0123456789"):
            sent = {"authorization": f"Bearer {key}"}
            assert http.post("/v1/chat/completions", json=chat(), headers=sent).status_code == 200
        listed = http.get("/api/admin/requests", headers=sent).json()["recent"]
        labels = [record["key"] for record in reversed(listed)]
        assert labels[0] == "alice"
        assert labels[1].startswith("key-")
        assert len(labels[1]) == len("key-") + 8
        assert labels[2] == "ops"
