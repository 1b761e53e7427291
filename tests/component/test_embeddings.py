"""/v1/embeddings through a gateway process in front of a fake engine."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import openai
import pytest

from tests.support.engine import FAKE_MODEL, FAKE_PYTHON, ask
from tests.support.gateway import GatewayProcess, chat, gateway, recorded

FILE = f"""
[embedder]
kind = "embedding"
model = "{FAKE_MODEL}"
python = "{FAKE_PYTHON}"
aliases = ["text-embedding-3-small"]
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    file = tmp_path_factory.mktemp("configuration") / "models.toml"
    file.write_text(FILE)
    with gateway(MODELS_FILE=str(file)) as process:
        yield process


@pytest.fixture(scope="module")
def http(running: GatewayProcess) -> Iterator[httpx.Client]:
    with running.client() as client:
        yield client


@pytest.fixture(scope="module")
def sdk(running: GatewayProcess) -> Iterator[openai.OpenAI]:
    url = running.url + "/v1"
    with openai.OpenAI(base_url=url, api_key="none", max_retries=0) as client:
        yield client


def test_the_sdk_gets_what_the_engine_gives(sdk: openai.OpenAI, running: GatewayProcess) -> None:
    texts = ["hello there", "something else"]
    found = sdk.embeddings.create(model="text-embedding-3-small", input=texts)
    body = {"model": "embedder", "input": texts}
    direct = json.loads(ask(running.engine_socket("embedder"), "/v1/embeddings", body)[1])
    assert [one.embedding for one in found.data] == [one["embedding"] for one in direct["data"]]
    assert found.data[0].embedding != found.data[1].embedding
    assert found.usage.prompt_tokens == 4
    plain = sdk.embeddings.create(
        model="embedder", input=texts[0], encoding_format="float", dimensions=8
    )
    assert len(plain.data[0].embedding) == 8
    ids = sdk.embeddings.create(model="embedder", input=[[1, 2, 3]])
    assert len(ids.data) == 1


def test_requests_are_counted(http: httpx.Client) -> None:
    answer = http.post("/v1/embeddings", json={"model": "embedder", "input": "one two three"})
    seen = recorded(http, answer)
    assert (seen["model"], seen["route"], seen["status"]) == ("embedder", "/v1/embeddings", 200)
    assert (seen["prompt_tokens"], seen["approximate"]) == (3, False)


@pytest.mark.parametrize(
    "path", ["/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages"]
)
def test_routes_that_write_refuse_an_embedding_model(http: httpx.Client, path: str) -> None:
    answer = http.post(path, json=chat() | {"model": "embedder"})
    assert answer.status_code == 400
    message = answer.json()["error"]["message"]
    assert message == "The model 'embedder' is for embedding; this route wants a model for chat."


def test_embeddings_refuse_a_chat_model(sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="is for chat; this route wants a model for e"):
        sdk.embeddings.create(model="qwen", input="x")


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"input": "x"}, 400, "model"),
        ({"input": "x", "model": "nobody"}, 404, "model"),
        ({"model": "embedder"}, 400, None),
    ],
)
def test_mistakes_are_named(
    http: httpx.Client, body: dict[str, str], status: int, param: str | None
) -> None:
    answer = http.post("/v1/embeddings", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param)


def test_both_kinds_tokenize(http: httpx.Client) -> None:
    for model in ("embedder", "qwen"):
        assert http.post("/tokenize", json={"model": model, "prompt": "ab"}).json()["count"] == 2


def test_without_an_embedding_model_the_way_to_one_is_told() -> None:
    with gateway() as process, process.client() as client:
        answer = client.post("/v1/embeddings", json={"model": "embedder", "input": "x"})
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (404, "model_not_found")
        assert error["message"] == "No embedding model is configured: add one to MODELS_FILE."
