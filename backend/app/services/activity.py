"""What is being answered and what was: in flight, then a bounded history.

Every request has one `Record`, which ends in exactly one terminal state and tells the metrics.
Prompts and answers are kept only when `KEEP_CONTENT` says so.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Literal

from backend.app.errors import GatewayError, Unloaded
from backend.app.metrics import Metrics
from backend.app.waiting import within

HISTORY = 1_000
CONTENT_CHARS = 8_000
"""Of each piece of kept content; the history is bounded in bytes by this."""

Outcome = Literal["completed", "failed", "cancelled", "rejected"]
CancelledBy = Literal["client", "operator", "shutdown"]


class Record:
    """One request, from its admission to its end. Made by `Activity.begin`."""

    __slots__ = (
        "_activity",
        "_cancel",
        "_started",
        "approximate",
        "audio_seconds",
        "cancelled_by",
        "completion_tokens",
        "content",
        "error",
        "first_token_s",
        "key_label",
        "model",
        "number",
        "outcome",
        "prompt_tokens",
        "request_id",
        "route",
        "seconds",
        "started_at",
        "status",
        "stream",
    )

    def __init__(
        self,
        activity: Activity,
        number: int,
        model: str,
        route: str,
        key_label: str,
        request_id: str,
        stream: bool,
    ) -> None:
        self._activity = activity
        self._cancel: Callable[[], object] | None = None
        self._started = time.monotonic()
        self.number = number
        self.model = model
        self.route = route
        self.key_label = key_label
        self.request_id = request_id
        self.stream = stream
        self.started_at = time.time()
        self.first_token_s: float | None = None
        self.seconds: float | None = None
        self.outcome: Outcome | None = None
        self.status: int | None = None
        self.prompt_tokens: int | None = None
        self.completion_tokens: int | None = None
        self.audio_seconds: float | None = None
        self.approximate = False
        self.error: str | None = None
        self.cancelled_by: CancelledBy | None = None
        self.content: dict[str, str] = {}

    def first_token(self) -> None:
        """The first byte of the answer is here. Later calls do nothing."""
        if self.first_token_s is None:
            self.first_token_s = time.monotonic() - self._started
            self._activity.metrics.first_token(self.model, self.first_token_s)

    def on_cancel(self, callback: Callable[[], object]) -> None:
        """What stops this request; called at once if that was asked for already."""
        self._cancel = callback
        if self.cancelled_by is not None and self.outcome is None:
            callback()

    def cancel(self, by: CancelledBy) -> bool:
        """Stop the request. False when it has ended. `finish` stays with whoever works on it."""
        if self.outcome is not None:
            return False
        if self.cancelled_by is None:
            self.cancelled_by = by
            if self._cancel is not None:
                self._cancel()
        return True

    def keep(self, **content: str) -> None:
        """Remember prompt, answer or transcript, cut to a bound, if the settings allow."""
        if self._activity.keep_content:
            self.content.update({name: text[:CONTENT_CHARS] for name, text in content.items()})

    def finish(
        self,
        outcome: Outcome,
        status: int,
        *,
        prompt_tokens: int | None = None,
        completion_tokens: int | None = None,
        audio_seconds: float | None = None,
        approximate: bool = False,
        error: GatewayError | None = None,
    ) -> None:
        """End it. Only the first call counts, so that every path out of a route may call it.

        A request that was cancelled, or whose engine was stopped on purpose, and then failed of it
        is cancelled, not failed; one that was refused (4xx: its own fault, or no place for it) is
        rejected.
        `approximate`: the tokens were counted from what was seen, for want of a `usage`.
        """
        if self.outcome is not None:
            return
        if isinstance(error, Unloaded) and self.cancelled_by is None:
            self.cancelled_by = error.by
        if outcome == "failed" and self.cancelled_by is not None:
            outcome = "cancelled"
        if outcome == "failed" and 400 <= status < 500:
            outcome = "rejected"
        if outcome == "cancelled" and self.cancelled_by is None:
            self.cancelled_by = "client"
        self.outcome = outcome
        self.status = status
        self.seconds = time.monotonic() - self._started
        self.prompt_tokens = prompt_tokens
        self.completion_tokens = completion_tokens
        self.audio_seconds = audio_seconds
        self.approximate = approximate
        self.error = (error.detail or error.message) if error else None
        self._cancel = None
        self._activity._ended(self)

    def snapshot(self) -> dict[str, Any]:
        """As JSON. Times in seconds, `started_at` in Unix time, `outcome` null while in flight."""
        seconds = time.monotonic() - self._started if self.seconds is None else self.seconds
        return {
            "request_id": self.request_id,
            "model": self.model,
            "route": self.route,
            "key": self.key_label,
            "stream": self.stream,
            "started_at": self.started_at,
            "seconds": round(seconds, 4),
            "first_token_seconds": self.first_token_s and round(self.first_token_s, 4),
            "outcome": self.outcome,
            "status": self.status,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "audio_seconds": self.audio_seconds,
            "approximate": self.approximate,
            "error": self.error,
            "cancelled_by": self.cancelled_by,
            "content": self.content or None,
        }


class Activity:
    """All requests to models. Belongs to one event loop."""

    def __init__(
        self, metrics: Metrics, *, keep_content: bool = False, history: int = HISTORY
    ) -> None:
        self.metrics = metrics
        self.keep_content = keep_content
        self._numbers = itertools.count()
        self._in_flight: dict[int, Record] = {}
        self._quiet = asyncio.Event()
        self._history: deque[Record] = deque(maxlen=history)

    def begin(
        self, model: str, route: str, key_label: str, request_id: str, stream: bool
    ) -> Record:
        """A request for `model` (a key of ours) has come in. Its record must be finished."""
        record = Record(self, next(self._numbers), model, route, key_label, request_id, stream)
        self._in_flight[record.number] = record
        self.metrics.request_started(model)
        return record

    def in_flight(self) -> list[Record]:
        """Oldest first."""
        return list(self._in_flight.values())

    def recent(
        self,
        limit: int = 100,
        *,
        model: str | None = None,
        outcome: Outcome | None = None,
        key_label: str | None = None,
        request_id: str | None = None,
    ) -> list[Record]:
        """Requests that have ended, newest first, of those that match."""
        matching = (
            record
            for record in reversed(self._history)
            if model in (None, record.model)
            and outcome in (None, record.outcome)
            and key_label in (None, record.key_label)
            and request_id in (None, record.request_id)
        )
        return list(itertools.islice(matching, limit))

    async def quiet(self, timeout_s: float) -> bool:
        """Wait until nothing is in flight. False when time ran out."""
        if not self._in_flight:
            return True
        self._quiet = asyncio.Event()
        try:
            await within(timeout_s, self._quiet.wait())
        except asyncio.TimeoutError:
            return False
        return True

    def cancel(self, request_id: str, by: CancelledBy = "operator") -> bool:
        """Stop every request in flight with this id (clients choose ids: two may share one)."""
        asked = [r.cancel(by) for r in self.in_flight() if r.request_id == request_id]
        return any(asked)

    def _ended(self, record: Record) -> None:
        del self._in_flight[record.number]
        if not self._in_flight:
            self._quiet.set()
        self._history.append(record)
        metrics, model = self.metrics, record.model
        assert record.status is not None
        assert record.seconds is not None
        metrics.request_finished(model, record.route, record.status, record.seconds)
        if record.prompt_tokens is not None or record.completion_tokens is not None:
            metrics.tokens(model, record.prompt_tokens or 0, record.completion_tokens or 0)
        if record.audio_seconds is not None:
            metrics.audio(model, record.audio_seconds)
