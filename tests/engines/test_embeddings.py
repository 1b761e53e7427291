"""The real vLLM as an embedding engine, through the whole gateway."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator

import openai
import pytest

from tests.engines.conftest import QUIET, REPOSITORY
from tests.engines.make_embedding import WIDTH
from tests.support.engine import ask
from tests.support.gateway import GatewayProcess, chat, demo_gateway, recorded

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

TEXT = "What is the capital of France?"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    directory = tmp_path_factory.mktemp("embedding")
    subprocess.run(
        [sys.executable, "-m", "tests.engines.make_embedding", directory / "model"],
        cwd=REPOSITORY,
        env={**os.environ, **QUIET},
        check=True,
        timeout=180,
    )
    file = directory / "models.toml"
    file.write_text(
        f'[embedder]\nkind = "embedding"\nmodel = "{directory / "model"}"\n'
        'aliases = ["text-embedding-3-small"]\nmax_in_flight = 8\n'
    )
    with demo_gateway(MODELS_FILE=str(file)) as process, process.client() as http:
        http.timeout = 600
        http.post("/api/admin/models/embedder/load", params={"wait": "true"}).raise_for_status()
        yield process


def test_the_sdk_gets_the_vector_that_the_engine_gives(running: GatewayProcess) -> None:
    body = {"model": "embedder", "input": TEXT}
    direct = json.loads(ask(running.engine_socket("embedder"), "/v1/embeddings", body)[1])
    vector = direct["data"][0]["embedding"]
    url = running.url + "/v1"
    with openai.OpenAI(base_url=url, api_key="none", max_retries=0, timeout=120) as sdk:
        # the SDK asks for base64 unless it is told otherwise
        packed = sdk.embeddings.create(model="text-embedding-3-small", input=TEXT)
        plain = sdk.embeddings.create(model="embedder", input=TEXT, encoding_format="float")
        other = sdk.embeddings.create(model="embedder", input=[TEXT, "Something else."])
        ids = sdk.embeddings.create(model="embedder", input=[[1, 2, 3]])
    assert packed.data[0].embedding == pytest.approx(vector, abs=1e-6)
    assert plain.data[0].embedding == vector
    assert len(vector) == WIDTH
    assert math.hypot(*vector) == pytest.approx(1, abs=1e-3)
    assert plain.usage.prompt_tokens == direct["usage"]["prompt_tokens"] > 0
    same, different = (one.embedding for one in other.data)
    assert same == pytest.approx(vector, abs=1e-4)
    assert different != pytest.approx(vector, abs=1e-2)
    assert len(ids.data[0].embedding) == WIDTH


def test_mistakes_are_the_callers(running: GatewayProcess) -> None:
    with running.client() as http:
        wrong = {
            "no input": {"model": "embedder"},
            "too long": {"model": "embedder", "input": "word " * 600},
            "a number": {"model": "embedder", "input": 7},
        }
        for what, body in wrong.items():
            answer = http.post("/v1/embeddings", json=body)
            assert answer.status_code == 400, (what, answer.text)
            assert answer.json()["error"]["type"] == "invalid_request_error", what
        assert http.post("/v1/chat/completions", json=chat() | {"model": "embedder"}).is_error
        usual = http.post("/tokenize", json={"model": "embedder", "prompt": TEXT}).json()
        assert usual["count"] > 3


def test_the_history_has_its_tokens(running: GatewayProcess) -> None:
    with running.client() as http:
        answer = http.post("/v1/embeddings", json={"model": "embedder", "input": TEXT})
        seen = recorded(http, answer)
        assert seen["prompt_tokens"] == answer.json()["usage"]["prompt_tokens"]
        assert not seen["approximate"]
