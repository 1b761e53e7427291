"""However and whenever a stream ends, its engine's place is given back and its record tells how."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from backend.app.api.openai.relay import Call, Relay
from backend.app.config import Settings
from backend.app.errors import Dialect
from backend.app.metrics import Metrics
from backend.app.services.activity import Activity
from tests.support.loops import run_clean, turns

TICKS = 8
"""So many turns of the event loop lie between the last frame and the end of the body."""
DONE = b"data: [DONE]\n\n"
ERROR = b'data: {"error": {"message": "no more memory", "code": 500}}\n\n'


class Engine:
    """A model, its lease, the engine's client and its answer in one."""

    status = 200

    def __init__(self, *frames: bytes) -> None:
        self.frames = list(frames)
        self.leases = 0

    @contextlib.asynccontextmanager
    async def lease(self, affinity: bytes) -> AsyncIterator[Any]:
        self.leases += 1
        try:
            yield SimpleNamespace(client=self, report_unreachable=None)
        finally:
            self.leases -= 1

    async def request(self, *_: Any, **__: Any) -> Engine:
        return self

    async def chunk(self, timeout: float) -> bytes | None:
        if self.frames:
            return self.frames.pop(0)
        await turns(TICKS)
        return None

    def close(self) -> None:
        pass


async def relayed(engine: Engine, leave_after: int | None, cancel_after: int | None = None) -> Any:
    """Its record. The client leaves, an operator cancels, so many turns after the last frame."""
    loop = asyncio.get_running_loop()
    activity = Activity(Metrics(["ready"]))
    record = activity.begin("qwen", "/v1/x", "alice", "req_1", True)
    gateway = SimpleNamespace(settings=Settings(), activity=activity)
    model = cast("Any", engine)
    call = Call(model, "POST", "/v1/x", b"{}", True, Dialect.OPENAI, end_marks=(b"[DONE]",))
    left = asyncio.Event()

    def later(count: int | None, happens: Any) -> None:
        if count == 0:
            happens()
        elif count is not None:
            loop.call_soon(later, count - 1, happens)

    async def receive() -> dict[str, Any]:
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if DONE in message.get("body", b""):
            later(leave_after, left.set)
            later(cancel_after, lambda: activity.cancel("req_1"))

    scope = {"type": "http", "state": {"send_rest": send}}
    with contextlib.suppress(asyncio.CancelledError):
        await Relay(cast("Any", gateway), call, record)(scope, receive, send)
    assert activity.in_flight() == []
    return record


@pytest.mark.parametrize("leave_after", range(TICKS + 6))
def test_a_client_that_leaves_as_the_stream_ends(leave_after: int) -> None:
    async def scenario() -> None:
        engine = Engine(DONE)
        record = await relayed(engine, leave_after)
        assert engine.leases == 0
        assert record.outcome in {"completed", "cancelled"}

    run_clean("asyncio", scenario)


@pytest.mark.parametrize("cancel_after", range(TICKS + 4))
@pytest.mark.parametrize("apart", range(4))
def test_an_operator_and_a_client_at_once(cancel_after: int, apart: int) -> None:
    async def scenario() -> None:
        engine = Engine(DONE)
        await relayed(engine, cancel_after + apart, cancel_after)
        assert engine.leases == 0

    run_clean("asyncio", scenario)


def test_an_error_of_the_engine_s_own_is_no_success(caplog: pytest.LogCaptureFixture) -> None:
    """vLLM tells it as a frame of the stream, and ends that as if all were well."""

    async def scenario() -> None:
        record = await relayed(Engine(b'data: {"choices": []}\n\n', ERROR, DONE), None)
        assert (record.outcome, record.status) == ("failed", 502)

    run_clean("asyncio", scenario)
    assert caplog.messages == [
        "qwen: a stream ends with engine_error: The engine ended the stream with an error."
    ]
