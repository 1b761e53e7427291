"""Prometheus figures of the gateway itself. An engine's own are passed through elsewhere.

`model` is always a key of ours and `route` a route's template, never what a client typed: each
distinct value is a time series that lives as long as the process.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

_TTFT_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_REQUEST_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600)


class Metrics:
    """One registry per gateway, nothing global. `states` are those a replica can be in."""

    def __init__(self, states: Iterable[str]) -> None:
        self._states = tuple(states)
        self._known: dict[str, frozenset[str]] = {}
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        self._requests = Counter(
            "gateway_requests",
            "Requests answered, by the status that was sent.",
            ["model", "route", "status"],
            registry=registry,
        )
        self._in_flight = Gauge(
            "gateway_requests_in_flight", "Requests being worked on.", ["model"], registry=registry
        )
        self._queue = Gauge(
            "gateway_queue_depth", "Requests waiting for a place.", ["model"], registry=registry
        )
        self._first_token = Histogram(
            "gateway_time_to_first_token_seconds",
            "From the request's arrival to the first byte of its answer.",
            ["model"],
            buckets=_TTFT_BUCKETS_S,
            registry=registry,
        )
        self._seconds = Histogram(
            "gateway_request_seconds",
            "From a request's arrival to the end of its answer.",
            ["model", "route"],
            buckets=_REQUEST_BUCKETS_S,
            registry=registry,
        )
        self._tokens = Counter(
            "gateway_tokens", "Tokens read and written.", ["model", "kind"], registry=registry
        )
        self._audio = Counter(
            "gateway_audio_seconds", "Seconds of audio heard.", ["model"], registry=registry
        )
        self._replicas = Gauge(
            "gateway_replica_state",
            "1 for the state a replica is in, 0 for the others.",
            ["model", "replica", "state"],
            registry=registry,
        )
        self._restarts = Counter(
            "gateway_engine_restarts", "Engines restarted.", ["model"], registry=registry
        )

    def request_started(self, model: str) -> None:
        self._in_flight.labels(model).inc()

    def request_finished(self, model: str, route: str, status: int, seconds: float) -> None:
        """Once for each `request_started`."""
        self._in_flight.labels(model).dec()
        self._requests.labels(model, route, str(status)).inc()
        self._seconds.labels(model, route).observe(seconds)

    def first_token(self, model: str, seconds: float) -> None:
        self._first_token.labels(model).observe(seconds)

    def tokens(self, model: str, prompt: int, completion: int) -> None:
        self._tokens.labels(model, "prompt").inc(prompt)
        self._tokens.labels(model, "completion").inc(completion)

    def audio(self, model: str, seconds: float) -> None:
        self._audio.labels(model).inc(seconds)

    def queue_depth(self, model: str, waiting: int) -> None:
        self._queue.labels(model).set(waiting)

    def replica_states(self, model: str, states: Mapping[str, str]) -> None:
        """What each replica of a model is doing now. Those that are gone are forgotten."""
        for replica in self._known.get(model, frozenset()) - states.keys():
            for each in self._states:
                self._replicas.remove(model, replica, each)
        for replica, state in states.items():
            for each in self._states:
                self._replicas.labels(model, replica, each).set(each == state)
        self._known[model] = frozenset(states)

    def forget(self, model: str) -> None:
        """A model is gone: what it is doing is no figure any more. What it did stays counted."""
        self.replica_states(model, {})
        del self._known[model]
        with contextlib.suppress(KeyError):
            self._queue.remove(model)

    def engine_restarted(self, model: str) -> None:
        self._restarts.labels(model).inc()

    def render(self) -> tuple[bytes, str]:
        """The exposition and its content type."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST
