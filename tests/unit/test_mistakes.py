"""Refusals of the real vLLM 0.32, and what a caller reads instead."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.app.api.openai import mistakes
from backend.app.api.openai.engine_errors import engine_error
from backend.app.errors import Dialect, InvalidRequest
from backend.app.middleware import dialect_of

REFUSALS = json.loads((Path(__file__).parent / "refusals.json").read_text(encoding="utf-8"))
"""Recorded: `vllm` and `vllm_param` are its answer to `body`, cut at 700 characters."""
OF_PYTHON = ("validation error", "pydantic", "object at", "_io.", "PIL.", "VLLM_", "Param", "'loc'")


def told(refusal: dict[str, Any], body: bytes) -> InvalidRequest:
    said = {"error": {"message": refusal["vllm"], "param": refusal["vllm_param"], "code": 400}}
    dialect = dialect_of(refusal["path"])
    error = engine_error(refusal["status"], json.dumps(said).encode(), body, dialect)
    assert isinstance(error, InvalidRequest)
    return error


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda r: f"{r['path']} {r['message'][:50]}")
def test_a_plain_mistake_is_one_sentence_that_names_the_field(refusal: dict[str, Any]) -> None:
    error = told(refusal, json.dumps(refusal["body"]).encode())
    assert (error.message, error.param) == (refusal["message"], refusal["param"])


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda r: f"{r['path']} {r['message'][:50]}")
def test_nor_is_it_pythons_when_the_body_tells_nothing(refusal: dict[str, Any]) -> None:
    error = told(refusal, b"")
    assert len(error.message) < 300
    assert not [word for word in OF_PYTHON if word in error.message]


def picture(data: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}


def test_which_of_several_pictures_is_broken() -> None:
    body = {"messages": [{"role": "user", "content": [picture("aGk="), picture("a!==")]}]}
    error = mistakes.find_mistake(
        "Non-base64 digit found", json.dumps(body).encode(), Dialect.OPENAI
    )
    assert error is not None
    assert error.param == "messages[0].content[1].image_url.url"


def test_what_cannot_be_told_is_not_guessed() -> None:
    body = {"messages": [{"role": "user", "content": [picture("aGk="), picture("aGk=")]}]}
    sent = json.dumps(body).encode()
    assert mistakes.find_mistake("image file is truncated", sent, Dialect.OPENAI) is None
    said = json.dumps({"error": {"message": "Failed to load image: image file is truncated"}})
    error = engine_error(400, said.encode(), sent)
    assert (error.status, error.code) == (400, "bad_media")


def test_other_refusals_are_not_looked_into() -> None:
    body = b'{"messages": [{"role": "user", "content": 5}]}'
    message = "This model's maximum context length is 2048 tokens."
    assert mistakes.find_mistake(message, body, Dialect.OPENAI) is None


def test_a_very_large_body_is_not_looked_into(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mistakes, "LARGEST", 10)
    body = b'{"messages": [{"role": "user", "content": 5}]}'
    assert mistakes.find_mistake("1 validation error:\n", body, Dialect.OPENAI) is None


KEYS = st.sampled_from(["role", "content", "type", "text", "image_url", "url", "source", "data"])
VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=5) | st.just("data:image/png;base64,iVBORw0K"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)


@given(
    turns=VALUES,
    name=st.sampled_from(["messages", "input"]),
    dialect=st.sampled_from(Dialect),
    message=st.sampled_from(["2 validation errors:\n", "cannot identify", "(5 pixels) exceeds"]),
)
def test_whatever_is_sent_is_looked_at_without_an_accident(
    turns: Any, name: str, dialect: Dialect, message: str
) -> None:
    found = mistakes.find_mistake(message, json.dumps({name: turns}).encode(), dialect)
    assert found is None or (found.param or "").startswith(name)
