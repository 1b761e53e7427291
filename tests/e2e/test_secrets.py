"""Keys and tokens that a gateway is given or sent are in nothing that it writes or shows."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.hub.process import FakeHub, fake_hub
from tests.support.engine import FAKE_PYTHON
from tests.support.gateway import GatewayProcess, chat, eventually, gateway
from tests.support.models import fake_model

INFERENCE, BARE, ADMIN = "sk-alice-41d7c0ffee", "sk-bare-99d2facade", "sk-ops-7705badc0de"
FROM_ENV, BY_API = "hf_environmentTOKEN123", "hf_setByTheApiTOKEN456"
UNKNOWN = "sk-somebody-elses-5ca1ab1e"
SECRETS = (INFERENCE, BARE, ADMIN, FROM_ENV, BY_API, UNKNOWN)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeHub]:
    with fake_hub(tmp_path_factory.mktemp("hub")) as running:
        running.set(accounts={BY_API: {"name": "someone"}, FROM_ENV: {"name": "someone"}})
        yield running


def talkative(directory: Path) -> Path:
    """An engine's interpreter that prints secrets, as an argument or a library might."""
    python = directory / "python"
    python.write_text(
        f"#!/bin/sh\necho 'args: --api-key {ADMIN} --token {FROM_ENV}'\nenv\n"
        f'exec {FAKE_PYTHON} "$@"\n'
    )
    python.chmod(0o755)
    return python


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_no_secret_is_written_or_shown(hub: FakeHub, tmp_path: Path, log_format: str) -> None:
    settings = {
        "OPENAI_API_KEYS": f"alice:{INFERENCE},{BARE}",
        "ADMIN_API_KEYS": f"ops:{ADMIN}",
        "HUGGINGFACE_TOKEN": FROM_ENV,
        "HF_ENDPOINT": hub.url,
        "LOG_LEVEL": "debug",
        "LOG_FORMAT": log_format,
        "QWEN_PYTHON": str(talkative(tmp_path)),
        "CANARY_MODEL": "org/missing",
    }
    with gateway(**settings) as running:
        shown = exercise(running)
        running.stop()
        for secret in SECRETS:
            for place, text in shown.items() | written(running).items():
                assert secret not in text, f"{secret} in {place}"
        log = (running.directory / "logs" / "backend.log").read_text()
        assert "listening on" in log
        if log_format == "json":
            lines = [json.loads(line) for line in log.splitlines()]
            assert all(
                {"time", "level", "logger", "message", "request_id"} <= set(x) for x in lines
            )
        engine = (running.directory / "logs" / "engine-qwen-0.log").read_text()
        assert "args: --api-key *** --token ***" in engine
        token = running.directory / "models" / ".hf_token"
        assert token.read_text() == BY_API
        assert stat.S_IMODE(token.stat().st_mode) == 0o600


def exercise(running: GatewayProcess) -> dict[str, str]:
    """Use each secret in every way one would, and some that one would not; what was answered."""
    shown: dict[str, str] = {}

    def bearer(key: str) -> dict[str, str]:
        return {"authorization": f"Bearer {key}"}

    with running.client() as http:
        for key in (INFERENCE, BARE, ADMIN, UNKNOWN):
            for sent in (bearer(key), {"x-api-key": key}):
                answer = http.post("/v1/chat/completions", json=chat(), headers=sent)
                shown[f"chat {key[:6]}"] = answer.text + str(answer.headers)
            http.get("/api/admin/status", headers=bearer(key))
            http.get("/v1/models", params={"api_key": key})
            http.get("/v1/models", headers={"authorization": f"Basic {key}"})
            http.get(f"/v1/models/{key}", headers=bearer(key)).json()
        admin = bearer(ADMIN)
        for token in ({"token": BY_API}, {"token": f"{BY_API} with a space"}, {"tokens": BY_API}):
            answer = http.post("/api/admin/huggingface/token", json=token, headers=admin)
            shown[f"token {answer.status_code}"] = answer.text
        http.post("/api/admin/models/canary/download?wait=true", headers=admin)
        for path in ("status", "requests", "models/qwen/logs", "models/canary/logs", "cache"):
            shown[path] = http.get(f"/api/admin/{path}", headers=admin).text
        shown["logs"] = http.get("/api/admin/logs", params={"limit": 5000}, headers=admin).text
        shown["metrics"] = http.get("/metrics", headers=admin).text
        assert "args: --api-key *** --token ***" in shown["models/qwen/logs"]
        for engine in running.engines():
            environment = "".join(f"{k}={v}\n" for k, v in engine.environ().items())
            shown["an engine's environment"] = environment
            shown["an engine's command line"] = " ".join(engine.cmdline())
    return shown


def written(running: GatewayProcess) -> dict[str, str]:
    logs = (running.directory / "logs").iterdir()
    return {path.name: path.read_text() for path in logs} | {"stdout": running.output()}


def test_each_action_of_an_operator_is_a_line_with_its_request_id() -> None:
    with gateway() as running, running.client() as http:
        asked = [
            ("load", {"replicas": 2}),
            ("load", {}),
            ("unload", None),
            ("download", None),
        ]
        for number, (verb, body) in enumerate(asked):
            answer = http.post(
                f"/api/admin/models/qwen/{verb}?wait=true",
                json=body,
                headers={"x-request-id": f"op-{number}"},
            )
            assert answer.status_code == 200, answer.text
        entries = http.get("/api/admin/logs", params={"contains": "an operator wants"}).json()
        assert [(e["request_id"], e["message"]) for e in entries] == [
            ("op-0", "qwen: an operator wants it loaded on any GPUs, 2 replica(s)"),
            ("op-1", "qwen: an operator wants it loaded on any GPUs, 1 replica(s)"),
            ("op-2", "qwen: an operator wants it unloaded"),
            ("op-3", "qwen: an operator wants it downloaded"),
        ]
        logs = http.get("/api/admin/models/qwen/logs", params={"lines": 3}).json()
        assert set(logs) == {"qwen-0", "qwen-1"}, "engines that have ended can be read too"
        assert all(1 <= len(lines) <= 3 for lines in logs.values())
        assert running.stop() == 0
        output = running.output()
        for line in (
            r"\[-\] qwen: instantiated: chat from ",
            r"\[-\] qwen-0: ready: after \d",
            r"\[-\] qwen: unloaded: in \d",
            r"\[op-3\] qwen: download requested",
            r"SIGTERM: shutting down",
            r"all models are unloaded",
        ):
            assert re.search(line, output), line


def test_another_preference_of_gpus_is_a_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def body() -> None:
        async with fake_model(tmp_path) as model:
            for ids in ([2, 3], [2, 3], []):
                model.load(ids)

    with caplog.at_level(logging.INFO):
        asyncio.run(body())
    said = [r.message for r in caplog.records if "placement preference" in r.message]
    assert said == [
        "qwen: placement preference: GPUs [2, 3]",
        "qwen: placement preference: GPUs any",
    ]


def test_the_log_of_an_engine_is_bounded() -> None:
    with gateway("--fake-tps 0", LOG_MAX_BYTES="10000") as running, running.client() as http:
        log = running.directory / "logs" / "engine-qwen-0.log"
        for _ in range(12):
            http.post("/api/admin/models/qwen/load?wait=true")
            http.post("/api/admin/models/qwen/unload?wait=true")
        eventually(log.exists)
        assert sum(p.stat().st_size for p in log.parent.glob("engine-qwen-0.log*")) <= 20_000
