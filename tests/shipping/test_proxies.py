"""The gateway behind nginx and Caddy as doc/security.md shows them: nothing is held back, nothing
is cut off, and nobody becomes the operator by coming through a proxy."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support import audio
from tests.support.audio_gateway import audio_gateway
from tests.support.gateway import GatewayProcess, at_rest, chat, eventually, gateway
from tests.support.proxies import NAME, PROXIES, Proxy

SLOW = "--fake-tps 4 --fake-tokens 12"
SSE_S = 20
through = pytest.mark.parametrize("proxy", PROXIES, ids=lambda proxy: str(proxy.__name__))


@contextlib.contextmanager
def behind(proxy: Proxy, upstream: str, directory: Path) -> Iterator[httpx.Client]:
    with (
        proxy(upstream.removeprefix("http://"), directory) as url,
        httpx.Client(
            base_url=url,
            headers={"Host": NAME},
            timeout=SSE_S,
            verify=False,
            trust_env=False,
        ) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def running() -> Iterator[GatewayProcess]:
    with gateway(SLOW, ADMIN_API_KEYS="the-operators-key-0123456789") as process:
        yield process


@pytest.fixture
def operator(running: GatewayProcess) -> Iterator[httpx.Client]:
    """Straight to the gateway, with the key."""
    with running.client(headers={"Authorization": "Bearer the-operators-key-0123456789"}) as client:
        yield client


@through
def test_tokens_come_one_at_a_time(
    proxy: Proxy, running: GatewayProcess, operator: httpx.Client, tmp_path: Path
) -> None:
    with behind(proxy, running.url, tmp_path) as client:
        with client.stream("POST", "/v1/chat/completions", json=chat(stream=True)) as answer:
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("text/event-stream")
            seen_while_running = 0
            for line in answer.iter_lines():
                if line.startswith("data: {") and json.loads(line[6:])["choices"]:
                    # twelve tokens take three seconds: whoever collects them shows none of them
                    # before the request has ended
                    seen_while_running += bool(
                        operator.get("/api/admin/requests").json()["in_flight"]
                    )
            assert line == "" or line == "data: [DONE]"
        assert seen_while_running >= 8
        eventually(lambda: at_rest(operator), what="at rest")


@through
def test_a_reader_who_leaves_is_noticed(
    proxy: Proxy, running: GatewayProcess, operator: httpx.Client, tmp_path: Path
) -> None:
    with behind(proxy, running.url, tmp_path) as client:
        ask = chat(stream=True, max_tokens=200)
        with client.stream("POST", "/v1/chat/completions", json=ask) as answer:
            lines = answer.iter_lines()  # held: one that is dropped closes the connection
            next(lines)
            assert operator.get("/api/admin/requests").json()["in_flight"]
        eventually(lambda: at_rest(operator), 15, "the request ended with its reader")


@through
def test_admin_events_come_as_they_happen(
    proxy: Proxy, running: GatewayProcess, operator: httpx.Client, tmp_path: Path
) -> None:
    with behind(proxy, running.url, tmp_path) as client:
        key = {"Authorization": operator.headers["authorization"]}
        operator.post("/api/admin/models/qwen/unload?wait=true")
        with client.stream("GET", "/api/admin/events", headers=key) as answer:
            assert answer.status_code == 200
            lines = answer.iter_lines()
            assert any(line.startswith("event: snapshot") for line in lines)
            # Only now does something happen, and the stream does not end: an event that a proxy
            # keeps never comes, which is a timeout here.
            operator.post("/api/admin/models/qwen/load")
            assert any('"loading"' in line for line in lines)
            assert any('"ready"' in line for line in lines)


@through
def test_a_large_recording_passes(proxy: Proxy, tmp_path: Path) -> None:
    minutes = 45  # 86 MB, which nginx by itself would refuse from 1 MB on
    silence = audio.riff(audio.fmt(), (b"data", bytes(minutes * 60 * 32_000)))
    with audio_gateway(pyannote=None) as upstream:
        with behind(proxy, upstream.url, tmp_path) as client:
            answer = client.post(
                "/v1/audio/transcriptions",
                data={"model": "canary", "response_format": "verbose_json"},
                files={"file": ("talk.wav", silence, "audio/wav")},
                timeout=120,
            )
        assert answer.status_code == 200, answer.text
        assert answer.json()["duration"] == pytest.approx(minutes * 60)
    # it went to the gateway's spool and not to another one in between
    body = tmp_path / "body"
    assert not body.exists() or not list(body.iterdir())


@through
def test_what_is_too_large_is_refused_by_the_gateway(proxy: Proxy, tmp_path: Path) -> None:
    with (
        audio_gateway(pyannote=None, max_upload_mb=1) as upstream,
        behind(proxy, upstream.url, tmp_path) as client,
    ):
        answer = client.post(
            "/v1/audio/transcriptions",
            data={"model": "canary"},
            files={"file": ("talk.wav", bytes(2 << 20), "audio/wav")},
        )
    assert answer.status_code == 413
    assert "MAX_UPLOAD_MB" in answer.json()["error"]["message"]


@through
def test_nobody_becomes_the_operator_by_coming_through_it(proxy: Proxy, tmp_path: Path) -> None:
    # a gateway on loopback without keys: its admin routes are open to this machine
    with gateway() as process, process.client() as here:
        assert here.get("/api/admin/status").status_code == 200
        with behind(proxy, process.url, tmp_path) as client:
            answer = client.get("/api/admin/status")
    assert answer.status_code == 403, answer.text
