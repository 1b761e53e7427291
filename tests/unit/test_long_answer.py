"""However the work behind an answer ends, its client is told what it can be told, and the record
is finished."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from backend.app.api.openai.long_answer import SSE_HEADERS, LongAnswer
from backend.app.config import Settings
from backend.app.errors import EngineError, GatewayError, Internal, InvalidRequest, Unavailable
from backend.app.metrics import Metrics
from backend.app.services.activity import Activity, Outcome
from tests.support.loops import run_clean

Work = Callable[["Answer"], Awaitable[None]]


class Answer(LongAnswer):
    def __init__(self, settings: Settings, work: Work, *, streams: bool) -> None:
        self.activity = Activity(Metrics(["ready"]))
        record = self.activity.begin("qwen", "/v1/x", "alice", "req_1", streams)
        super().__init__(settings, record, streams=streams)
        self._work = work

    async def work(self) -> None:
        await self._work(self)

    def finish(self, outcome: Outcome, status: int, error: GatewayError | None = None) -> None:
        self.record.finish(outcome, status, error=error)

    def event(self, error: GatewayError) -> bytes:
        return f"error {error.code}".encode()


class Client:
    """Takes `room` pieces of an answer, then reads no more."""

    def __init__(self, room: int = 99) -> None:
        self.room = room
        self.got: list[Any] = []
        self.full = asyncio.Event()
        self.left = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if len(self.got) == self.room:
            self.full.set()
            await asyncio.Event().wait()
        self.got.append(message.get("body", message["type"]))


async def answered(answer: Answer, client: Client) -> None:
    scope = {"type": "http", "state": {"send_rest": client.send}}
    try:
        await answer(scope, client.receive, client.send)
    finally:
        assert answer.activity.in_flight() == []


async def frames(answer: Answer) -> None:
    await answer.send_start(200, SSE_HEADERS)
    for _ in range(3):
        await answer.send_body(b"frame")
    await answer.send_body(b"", more=False)


async def never(answer: Answer) -> None:
    await asyncio.Event().wait()


def outcome(answer: Answer) -> tuple[Any, ...]:
    return answer.record.outcome, answer.record.status, answer.record.cancelled_by


def test_work_that_ends_by_itself() -> None:
    async def scenario() -> None:
        answer, client = Answer(Settings(), frames, streams=True), Client()
        await answered(answer, client)
        assert client.got == ["http.response.start", b"frame", b"frame", b"frame", b""]
        assert outcome(answer) == ("completed", 200, None)

    run_clean("asyncio", scenario)


def test_work_that_fails() -> None:
    async def fails(answer: Answer) -> None:
        raise EngineError("It died.")

    async def scenario() -> None:
        answer, client = Answer(Settings(), fails, streams=True), Client()
        with pytest.raises(EngineError):
            await answered(answer, client)
        assert (client.got, outcome(answer)) == ([], ("failed", 502, None))

    run_clean("asyncio", scenario)


@pytest.mark.parametrize(
    ("error", "logged"),
    [
        (
            EngineError("It died.", detail="No room in /dev/shm."),
            ["engine_error: No room in /dev/shm."],
        ),
        (Unavailable("Stopped.", code="cancelled"), ["cancelled: Stopped."]),
        (InvalidRequest("messages[0].role is 'a secret'."), ["400"]),
        (InvalidRequest("'a secret' is too long.", code="too_long"), ["too_long"]),
        (Internal("req_1"), []),
    ],
)
def test_a_stream_that_breaks_off_is_in_the_log_without_what_its_client_wrote(
    error: GatewayError, logged: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    async def breaks(answer: Answer) -> None:
        await answer.send_start(200, SSE_HEADERS)
        await answer.send_error(error)

    async def scenario() -> None:
        await answered(Answer(Settings(), breaks, streams=True), Client())

    run_clean("asyncio", scenario)
    assert caplog.messages == [f"qwen: a stream ends with {words}" for words in logged]


def test_a_client_that_leaves() -> None:
    async def scenario() -> None:
        answer, client = Answer(Settings(), never, streams=True), Client()
        client.left.set()
        await answered(answer, client)
        assert outcome(answer) == ("cancelled", 499, "client")

    run_clean("asyncio", scenario)


def test_a_client_that_reads_no_more() -> None:
    async def scenario() -> None:
        answer, client = Answer(Settings(client_write_s=1), frames, streams=True), Client(room=2)
        await answered(answer, client)
        assert client.full.is_set()
        assert outcome(answer) == ("cancelled", 499, "client")

    run_clean("asyncio", scenario)


@pytest.mark.parametrize(("by", "status"), [("operator", 503), ("shutdown", 503)])
def test_work_that_is_stopped_before_it_answers(by: Any, status: int) -> None:
    async def scenario() -> None:
        answer, client = Answer(Settings(), never, streams=True), Client()
        answer.record.cancel(by)
        with pytest.raises(GatewayError):
            await answered(answer, client)
        assert (client.got, outcome(answer)) == ([], ("cancelled", status, by))

    run_clean("asyncio", scenario)


def test_a_stopped_stream_whose_client_reads_no_more() -> None:
    async def scenario() -> None:
        answer, client = Answer(Settings(client_write_s=1), frames, streams=True), Client(room=2)
        answering = asyncio.ensure_future(answered(answer, client))
        await client.full.wait()
        answer.record.cancel("operator")
        await answering
        assert outcome(answer) == ("cancelled", 503, "operator")

    run_clean("asyncio", scenario)


def test_a_stream_that_is_stopped_says_so_in_an_event() -> None:
    async def begins(answer: Answer) -> None:
        await answer.send_start(200, SSE_HEADERS)
        answer.record.cancel("operator")
        await never(answer)

    async def scenario() -> None:
        answer, client = Answer(Settings(), begins, streams=True), Client()
        await answered(answer, client)
        assert client.got == ["http.response.start", b"error cancelled", b""]
        assert outcome(answer) == ("cancelled", 503, "operator")

    run_clean("asyncio", scenario)


def test_a_whole_answer_that_is_stopped_while_it_goes_out_is_broken_off() -> None:
    """There is nothing to say in the middle of a JSON text: the server cuts the connection."""

    async def scenario() -> None:
        answer, client = Answer(Settings(), frames, streams=False), Client(room=2)
        task = asyncio.ensure_future(answered(answer, client))
        await client.full.wait()
        answer.record.cancel("operator")
        with pytest.raises(Unavailable):
            await task
        assert outcome(answer) == ("cancelled", 503, "operator")

    run_clean("asyncio", scenario)
