from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import openai
import pytest
from openai.types.responses import ResponseErrorEvent
from starlette.types import Receive, Scope, Send

from backend.app import errors
from backend.app.errors import (
    Dialect,
    GatewayError,
    Internal,
    InvalidRequest,
    ModelNotFound,
    headers,
    render,
    render_event,
)
from backend.app.middleware import dialect_of, error_response
from tests.support.asgi_server import serve


def tree(kind: type[GatewayError] = GatewayError) -> Iterator[type[GatewayError]]:
    yield kind
    for below in kind.__subclasses__():
        if below.__module__ == errors.__name__:
            yield from tree(below)


def example(kind: type[GatewayError]) -> GatewayError:
    if kind is ModelNotFound:
        return ModelNotFound("x", ["qwen"])
    return Internal("req_1") if kind is Internal else kind("A message.")


EXAMPLES = [example(kind) for kind in tree()]


@pytest.mark.parametrize("dialect", Dialect)
def test_only_an_operator_is_told_the_detail(dialect: Dialect) -> None:
    whole = "It failed: /opt/x is not there."
    error = errors.ModelFailed("It failed.", detail=whole)
    assert "/opt" not in json.dumps(render(error, dialect, "req_1"))
    assert "/opt" not in render_event(error, dialect, "req_1").decode()
    assert "Quote request id req_1 to the operator." in json.dumps(render(error, dialect, "req_1"))
    assert whole in json.dumps(render(error, dialect, "req_1", operator=True))


def test_a_name_is_not_repeated_at_any_length() -> None:
    assert len(ModelNotFound("x" * 100_000, ["qwen"]).message) < 400


def test_the_docstring_draws_the_tree() -> None:
    drawn = re.findall(r"[├└]── (\w+) +(\d{3})", str(errors.__doc__))
    assert dict(drawn) == {
        kind.__name__: str(kind.status) for kind in tree() if kind is not GatewayError
    }


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_the_openai_envelope_is_complete(error: GatewayError) -> None:
    for dialect in (Dialect.OPENAI, Dialect.RESPONSES):
        body = render(error, dialect, "req_1")
        assert body.keys() == {"error"}
        assert body["error"].keys() == {"message", "type", "param", "code"}
        assert body["error"]["message"] == error.message == str(error)
    assert 400 <= error.status < 600
    assert error.type.endswith("_error")
    assert error.code or type(error) in (GatewayError, InvalidRequest)


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_the_anthropic_envelope_is_complete(error: GatewayError) -> None:
    body = render(error, Dialect.ANTHROPIC, "req_1")
    assert body.keys() == {"type", "error", "request_id"}
    assert body["type"] == "error"
    assert body["error"].keys() == {"type", "message"}
    assert body["error"]["type"] in {
        *("invalid_request_error", "authentication_error", "permission_error", "not_found_error"),
        *("request_too_large", "rate_limit_error", "api_error", "overloaded_error"),
        "timeout_error",
    }
    assert "request_id" not in render(error, Dialect.ANTHROPIC)


def test_fields_of_one_error_are_those_given_to_it() -> None:
    error = InvalidRequest("No.", param="model", code="bad", retry_after=3, permanent=True)
    assert render(error, Dialect.OPENAI)["error"] == {
        "message": "No.",
        "type": "invalid_request_error",
        "param": "model",
        "code": "bad",
    }
    assert headers(error) == {"retry-after": "3", "x-should-retry": "false"}
    assert InvalidRequest("No.").code is None
    assert headers(InvalidRequest("No.")) == {}


@pytest.mark.parametrize(
    ("seconds", "header"),
    [(-1, "1"), (0, "1"), (0.2, "1"), (1.2, "2"), (60, "60"), (120, "120"), (1e9, "120")],
)
def test_retry_after_stays_within_what_an_sdk_waits(seconds: float, header: str) -> None:
    assert headers(errors.Loading("…", retry_after=seconds))["retry-after"] == header


def test_what_is_permanent_tells_the_sdk_not_to_retry() -> None:
    assert headers(errors.Conflict("no"))["x-should-retry"] == "false"
    assert "x-should-retry" not in headers(errors.Loading("soon"))
    assert headers(errors.Unauthorized("who?")) == {"www-authenticate": "Bearer"}


def test_an_unknown_model_names_those_that_are_served() -> None:
    assert "Models served: canary, qwen." in ModelNotFound("x", ["canary", "qwen"]).message
    assert "Models served: none." in ModelNotFound("x", []).message
    assert ModelNotFound("x", []).param == "model"


def test_an_internal_error_tells_the_request_id_and_nothing_else() -> None:
    assert "req_1" in Internal("req_1").message
    assert Internal().message == "The gateway met an unexpected error."


def event(frame: bytes) -> tuple[str | None, dict[str, Any]]:
    """Exactly one SSE frame: its event name and data."""
    assert frame.endswith(b"\n\n")
    lines = frame.decode().removesuffix("\n\n").split("\n")
    name = lines.pop(0).removeprefix("event: ") if lines[0].startswith("event: ") else None
    assert len(lines) == 1
    data: dict[str, Any] = json.loads(lines[0].removeprefix("data: "))
    return name, data


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_an_error_event_is_one_frame_in_the_dialect_of_the_stream(error: GatewayError) -> None:
    error.message += "\nsecond line « é »"
    name, data = event(render_event(error, Dialect.OPENAI, "req_1"))
    assert (name, data) == (None, render(error, Dialect.OPENAI, "req_1"))
    name, data = event(render_event(error, Dialect.ANTHROPIC, "req_1"))
    assert (name, data) == ("error", render(error, Dialect.ANTHROPIC, "req_1"))
    name, data = event(render_event(error, Dialect.RESPONSES, "req_1"))
    assert name == "error"
    parsed = ResponseErrorEvent.model_validate(data)
    assert (parsed.type, parsed.message, parsed.code) == ("error", error.message, error.code)


class Failing:
    """Answers everything with an error, or with a stream that ends in one."""

    def __init__(self, error: GatewayError, *, stream: bool = False) -> None:
        self.error = error
        self.stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self.stream:
            await error_response(send, self.error, scope)
            return
        fields = [(b"content-type", b"text/event-stream")]
        body = render_event(self.error, dialect_of(scope["path"]))
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        await send({"type": "http.response.body", "body": body})


@contextmanager
def sdk(app: Failing) -> Iterator[openai.OpenAI]:
    with serve(app) as port:
        url = f"http://127.0.0.1:{port}/v1"
        with openai.OpenAI(api_key="x", base_url=url, max_retries=0) as client:
            yield client


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (InvalidRequest("A message."), openai.BadRequestError),
        (errors.Unauthorized("A message."), openai.AuthenticationError),
        (errors.Forbidden("A message."), openai.PermissionDeniedError),
        (errors.NotFound("A message."), openai.NotFoundError),
        (errors.Conflict("A message."), openai.ConflictError),
        (errors.QueueFull("A message."), openai.RateLimitError),
        (errors.EngineError("A message."), openai.InternalServerError),
    ],
)
def test_the_openai_sdk_raises_its_own_exception(
    error: GatewayError, raised: type[openai.APIStatusError]
) -> None:
    with sdk(Failing(error)) as client, pytest.raises(raised, match=r"A message\.") as caught:
        client.models.list()
    assert (caught.value.code, caught.value.type) == (error.code, error.type)


def test_the_openai_sdk_understands_an_error_event() -> None:
    with sdk(Failing(errors.EngineError("The engine died."), stream=True)) as client:
        stream = client.chat.completions.create(model="x", messages=[], stream=True)
        with pytest.raises(openai.APIError, match="The engine died"):
            list(stream)
        (event,) = client.responses.create(model="x", input="x", stream=True)
        assert isinstance(event, ResponseErrorEvent)
        assert event.message == "The engine died."
