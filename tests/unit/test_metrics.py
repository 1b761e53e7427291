from __future__ import annotations

from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from backend.app.metrics import Metrics
from backend.app.models.state import State

STATES = tuple(state.value for state in State)


def samples(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    body, content_type = metrics.render()
    assert content_type.startswith("text/plain")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return samples(metrics).get((name, frozenset(labels.items())))


def test_every_figure_of_the_contract_has_its_name_and_labels() -> None:
    metrics = Metrics(STATES)
    metrics.request_started("qwen")
    metrics.request_started("qwen")
    metrics.first_token("qwen", 0.2)
    metrics.request_finished("qwen", "/v1/chat/completions", 200, 1.5)
    metrics.tokens("qwen", 10, 64)
    metrics.audio("canary", 12.5)
    metrics.queue_depth("qwen", 3)
    metrics.engine_restarted("qwen")
    route = {"model": "qwen", "route": "/v1/chat/completions"}
    assert value(metrics, "gateway_requests_total", status="200", **route) == 1
    assert value(metrics, "gateway_requests_in_flight", model="qwen") == 1
    assert value(metrics, "gateway_queue_depth", model="qwen") == 3
    first = "gateway_time_to_first_token_seconds"
    assert value(metrics, f"{first}_count", model="qwen") == 1
    assert value(metrics, f"{first}_bucket", model="qwen", le="0.1") == 0
    assert value(metrics, f"{first}_bucket", model="qwen", le="0.25") == 1
    assert value(metrics, "gateway_request_seconds_sum", **route) == 1.5
    assert value(metrics, "gateway_tokens_total", model="qwen", kind="prompt") == 10
    assert value(metrics, "gateway_tokens_total", model="qwen", kind="completion") == 64
    assert value(metrics, "gateway_audio_seconds_total", model="canary") == 12.5
    assert value(metrics, "gateway_engine_restarts_total", model="qwen") == 1
    assert (value(metrics, "process_resident_memory_bytes") or 0) > 0


def test_a_replica_is_in_one_state_at_a_time() -> None:
    metrics = Metrics(STATES)

    def states() -> dict[str, float]:
        return {
            dict(labels)["state"]: number
            for (name, labels), number in samples(metrics).items()
            if name == "gateway_replica_state"
        }

    for state in State:
        metrics.replica_states("qwen", {"qwen-0": state.value})
        assert states() == {each: float(each == state.value) for each in STATES}
    metrics.replica_states("qwen", {})
    assert states() == {}


def test_two_gateways_in_one_process_do_not_share_figures() -> None:
    before = set(REGISTRY._names_to_collectors)
    one, other = Metrics(STATES), Metrics(STATES)
    one.engine_restarted("qwen")
    assert value(one, "gateway_engine_restarts_total", model="qwen") == 1
    assert value(other, "gateway_engine_restarts_total", model="qwen") is None
    assert set(REGISTRY._names_to_collectors) == before
