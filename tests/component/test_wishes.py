"""What an operator who waits is told of a wish that another one overtook."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.support.gateway import chat, eventually, gateway

MODEL = "/api/admin/models/qwen"
FAST = {"CRASH_BACKOFF_S": "0.05", "ENGINE_TERM_S": "2"}


def qwen(http: httpx.Client) -> dict[str, Any]:
    found: dict[str, Any] = http.get("/api/admin/status").json()["models"]["qwen"]
    return found


@pytest.fixture(scope="module")
def plain() -> Iterator[httpx.Client]:
    with gateway() as running, running.client() as http:
        yield http


def superseded(answer: httpx.Response) -> bool:
    assert answer.status_code == 409, answer.text
    assert answer.headers["x-should-retry"] == "false"
    return bool(answer.json()["error"]["code"] == "superseded")


@pytest.mark.parametrize("action", ["unload", "cancel"])
def test_a_load_that_is_overtaken_is_no_success(action: str) -> None:
    with (
        gateway("--fake-load-s 60", **FAST) as running,
        running.client() as http,
        ThreadPoolExecutor() as pool,
    ):
        load = pool.submit(http.post, f"{MODEL}/load?wait=true")
        eventually(lambda: qwen(http)["state"] == "loading")
        assert http.post(f"{MODEL}/{action}?wait=true").status_code == 200
        assert superseded(load.result(20))
        assert "is to be unloaded" in load.result().json()["error"]["message"]


def test_a_load_that_still_drains_the_old_layout_can_be_cancelled() -> None:
    with (
        gateway("--fake-tps 20", **FAST) as running,
        running.client() as http,
        ThreadPoolExecutor() as pool,
    ):
        http.post(f"{MODEL}/load?wait=true").raise_for_status()
        request = pool.submit(http.post, "/v1/chat/completions", json=chat(max_tokens=40))
        eventually(lambda: qwen(http)["in_flight"])
        load = pool.submit(http.post, f"{MODEL}/load?wait=true", json={"replicas": 2})
        eventually(lambda: qwen(http)["state"] == "unloading")
        assert http.post(f"{MODEL}/cancel").status_code == 202
        assert superseded(load.result(20))
        assert request.result(20).status_code == 200
        assert qwen(http)["state"] == "idle"


def test_two_who_want_it_unloaded_both_get_what_they_want() -> None:
    with (
        gateway("--fake-load-s 60", **FAST) as running,
        running.client() as http,
        ThreadPoolExecutor() as pool,
    ):
        http.post(f"{MODEL}/load")
        eventually(lambda: qwen(http)["state"] == "loading")
        both = [pool.submit(http.post, f"{MODEL}/unload?wait=true") for _ in range(2)]
        assert [answer.result(20).status_code for answer in both] == [200, 200]


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        ({"content": "{", "headers": {"content-type": "application/json"}}, "no valid JSON"),
        ({"content": "{}"}, "'Content-Type: application/json'"),
        ({"json": [1]}, "Send a JSON object"),
        ({"json": {"replicas": "many"}}, "replicas: write a number"),
        ({"json": {"replica": 1}}, "replica: "),
    ],
)
def test_a_wrong_body_is_told_in_plain_words(
    plain: httpx.Client, sent: dict[str, Any], words: str
) -> None:
    answer = plain.post(f"{MODEL}/load", **sent)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert words in error["message"]
    assert "Value error" not in error["message"]
    assert error["param"] in (None, "replica", "replicas")


def newest_id(plain: httpx.Client) -> int:
    with plain.stream("GET", "/api/admin/events") as events:
        return int(next(events.iter_lines()).removeprefix("id: "))


def test_the_status_leads_into_the_stream(plain: httpx.Client) -> None:
    """What has changed since a status comes after the id that the status names, without a gap."""
    before = newest_id(plain)
    seen = plain.get("/api/admin/status").json()["last_event_id"]
    assert before <= seen <= newest_id(plain)
    plain.post(f"{MODEL}/load", json={"gpu_device_ids": []}).raise_for_status()
    headers = {"last-event-id": str(seen)}
    with plain.stream("GET", "/api/admin/events", headers=headers) as events:
        lines = events.iter_lines()
        assert next(lines) == f"id: {seen + 1}"
        assert next(lines) in {"event: model", "event: machine"}


def test_an_event_id_that_is_none_begins_anew(plain: httpx.Client) -> None:
    headers = {"last-event-id": "of another server"}
    with plain.stream("GET", "/api/admin/events", headers=headers) as events:
        assert "event: snapshot" in next(events.iter_text())
