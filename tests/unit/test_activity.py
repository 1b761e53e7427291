from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.app.errors import EngineError
from backend.app.metrics import Metrics
from backend.app.services.activity import CONTENT_CHARS, Activity, Outcome, Record

OUTCOMES: tuple[Outcome, ...] = ("completed", "failed", "cancelled", "rejected")


def activity(*, keep_content: bool = False, history: int = 1_000) -> Activity:
    return Activity(Metrics(["ready"]), keep_content=keep_content, history=history)


def begin(activity: Activity, request_id: str = "req_1", model: str = "qwen") -> Record:
    return activity.begin(model, "/v1/chat/completions", "alice", request_id, True)


def figure(activity: Activity, name: str, **labels: str) -> float | None:
    return activity.metrics.registry.get_sample_value(name, labels)


def test_a_request_is_in_flight_and_then_in_the_history() -> None:
    seen = activity()
    record = begin(seen)
    assert seen.in_flight() == [record]
    assert record.snapshot()["outcome"] is None
    record.first_token()
    first = record.first_token_s
    record.first_token()
    assert record.first_token_s == first
    record.finish("completed", 200, prompt_tokens=3, completion_tokens=4, approximate=True)
    assert seen.in_flight() == []
    assert seen.recent() == [record]
    told = json.loads(json.dumps(record.snapshot()))
    wanted = {
        "request_id": "req_1",
        "model": "qwen",
        "route": "/v1/chat/completions",
        "key": "alice",
        "stream": True,
        "outcome": "completed",
        "status": 200,
        "prompt_tokens": 3,
        "completion_tokens": 4,
        "audio_seconds": None,
        "approximate": True,
        "error": None,
        "cancelled_by": None,
        "content": None,
    }
    assert {name: told[name] for name in wanted} == wanted
    assert told["seconds"] >= told["first_token_seconds"] >= 0


@pytest.mark.parametrize(("first", "second"), [*itertools.product(OUTCOMES, OUTCOMES)])
def test_only_the_first_end_counts(first: Outcome, second: Outcome) -> None:
    seen = activity()
    record = begin(seen)
    record.finish(first, 200)
    record.finish(second, 500, error=EngineError("late"), prompt_tokens=7)
    assert (record.outcome, record.status, record.error) == (first, 200, None)
    assert len(seen.recent()) == 1
    labels = {"model": "qwen", "route": "/v1/chat/completions"}
    assert figure(seen, "gateway_requests_total", status="200", **labels) == 1
    assert figure(seen, "gateway_requests_total", status="500", **labels) is None
    assert figure(seen, "gateway_requests_in_flight", model="qwen") == 0


def test_the_end_of_a_request_is_counted() -> None:
    seen = activity()
    begin(seen).finish("completed", 200, prompt_tokens=3, completion_tokens=4)
    begin(seen, model="canary").finish("completed", 200, audio_seconds=2.5)
    assert figure(seen, "gateway_tokens_total", model="qwen", kind="prompt") == 3
    assert figure(seen, "gateway_tokens_total", model="qwen", kind="completion") == 4
    assert figure(seen, "gateway_tokens_total", model="canary", kind="prompt") is None
    assert figure(seen, "gateway_audio_seconds_total", model="canary") == 2.5


def test_an_operator_cancels_and_that_is_what_the_history_says() -> None:
    seen, stopped = activity(), list[str]()
    one, twin, other = begin(seen, "same"), begin(seen, "same"), begin(seen, "other")
    for record in (one, twin, other):
        record.on_cancel(lambda record=record: stopped.append(str(record.number)))  # type: ignore[misc]
    assert seen.cancel("same")
    assert seen.cancel("same")
    assert stopped == ["0", "1"]
    one.finish("failed", 502, error=EngineError("cut off"))
    twin.finish("cancelled", 499)
    assert [(r.outcome, r.cancelled_by) for r in (one, twin)] == [("cancelled", "operator")] * 2
    assert not seen.cancel("same")
    assert not seen.cancel("unknown")
    other.finish("completed", 200)
    assert other.cancelled_by is None


def test_a_cancel_that_comes_before_there_is_anything_to_stop_is_not_lost() -> None:
    seen, stopped = activity(), list[str]()
    record = begin(seen)
    assert seen.cancel("req_1")
    record.on_cancel(lambda: stopped.append("now"))
    assert stopped == ["now"]


def test_a_request_that_completed_all_the_same_is_completed() -> None:
    seen = activity()
    record = begin(seen)
    seen.cancel("req_1")
    record.finish("completed", 200)
    assert record.outcome == "completed"


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(400, "rejected"), (429, "rejected"), (500, "failed"), (502, "failed"), (503, "failed")],
)
def test_what_was_refused_is_rejected_and_not_failed(status: int, outcome: Outcome) -> None:
    record = begin(activity())
    record.finish("failed", status)
    assert record.outcome == outcome


def test_a_client_that_leaves_is_named() -> None:
    record = begin(activity())
    record.finish("cancelled", 499)
    assert record.cancelled_by == "client"


def test_content_is_kept_only_when_the_settings_allow_and_bounded() -> None:
    silent = begin(activity())
    silent.keep(prompt="a secret")
    assert "a secret" not in json.dumps(silent.snapshot())
    kept = begin(activity(keep_content=True))
    kept.keep(prompt="hello", answer="x" * (CONTENT_CHARS + 1))
    kept.keep(answer="y" * (CONTENT_CHARS + 1))
    assert kept.snapshot()["content"] == {"prompt": "hello", "answer": "y" * CONTENT_CHARS}


def test_the_history_is_bounded_newest_first_and_filtered() -> None:
    seen = activity(history=10)
    for number in range(25):
        model = "qwen" if number % 2 else "canary"
        begin(seen, f"req_{number}", model).finish(OUTCOMES[number % 4], 200)
    assert [record.request_id for record in seen.recent(3)] == ["req_24", "req_23", "req_22"]
    assert len(seen.recent(1_000)) == 10
    assert {record.model for record in seen.recent(model="qwen")} == {"qwen"}
    assert {record.outcome for record in seen.recent(outcome="failed")} == {"failed"}
    assert [record.request_id for record in seen.recent(request_id="req_20")] == ["req_20"]
    assert seen.recent(key_label="bob") == []
    assert len(seen.recent(key_label="alice", model="canary", outcome="completed")) == 3


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from((*OUTCOMES, "cancel"))), max_size=80))
def test_in_flight_and_history_add_up(steps: list[tuple[int, str]]) -> None:
    seen = activity()
    records = [begin(seen, f"req_{number}") for number in range(10)]
    for number, step in steps:
        if step == "cancel":
            seen.cancel(f"req_{number}")
        else:
            records[number].finish(next(o for o in OUTCOMES if o == step), 200)
        ended, running = seen.recent(), seen.in_flight()
        assert len(ended) + len(running) == 10
        assert all(record.outcome is not None for record in ended)
        assert all(record.outcome is None for record in running)
        assert figure(seen, "gateway_requests_in_flight", model="qwen") == len(running)
