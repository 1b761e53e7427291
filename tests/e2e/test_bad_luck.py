"""What goes wrong on a bad day, against a whole gateway with fake engines."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import psutil
import pytest

from tests.support.engine import stats
from tests.support.gateway import (
    ROOT,
    GatewayProcess,
    at_rest,
    chat,
    eventually,
    gateway,
    recorded,
)

FAST = {"CRASH_BACKOFF_S": "0.05", "ENGINE_TERM_S": "2", "DRAIN_S": "5"}


def victim_is_gone(victim: psutil.Process) -> Callable[[], bool]:
    return lambda: not victim.is_running() or victim.status() == psutil.STATUS_ZOMBIE


def stream_lines(client: httpx.Client, **more: Any) -> list[str]:
    with client.stream("POST", "/v1/chat/completions", json=chat(stream=True, **more)) as answer:
        return [line for line in answer.iter_lines() if line]


def test_an_engine_killed_in_mid_stream_ends_it_with_an_error_event() -> None:
    with gateway("--fake-tps 20", **FAST) as running, running.client() as http:
        http.post("/v1/chat/completions", json=chat(max_tokens=1))
        victim = running.engines()[0]
        lines: list[str] = []
        body = chat(stream=True, max_tokens=2000)
        with http.stream("POST", "/v1/chat/completions", json=body) as answer:
            for line in answer.iter_lines():
                lines.append(line)
                if len(lines) == 6:
                    victim.kill()
        error = json.loads([line for line in lines if line][-1].removeprefix("data: "))["error"]
        assert error["code"] == "engine_error"
        told = re.compile(f".*{answer.headers['x-request-id']}.*a stream ends with engine_error.*")
        eventually(lambda: told.search(running.output()))
        assert running.output().count("a stream ends with") == 1
        # the next one is served by a new engine, without anybody asking for it
        eventually(victim_is_gone(victim))
        answer = http.post("/v1/chat/completions", json=chat(max_tokens=3))
        assert answer.status_code == 200, answer.text + running.output()
        assert running.engines()[0].pid != victim.pid
        eventually(lambda: at_rest(http))


def test_the_sdk_sees_a_broken_stream_as_an_error() -> None:
    flags = "--fake-tps 50 --fake-unclosed-stream"
    with gateway(flags, **FAST) as running:
        sdk = openai.OpenAI(base_url=running.url + "/v1", api_key="x", max_retries=0)
        with pytest.raises(openai.APIError, match="before it was complete"):
            for _ in sdk.chat.completions.create(**chat(max_tokens=3), stream=True):
                pass


@pytest.mark.parametrize("route", ["/v1/messages", "/v1/responses"])
def test_other_dialects_get_their_own_error_event(route: str) -> None:
    with gateway("--fake-tps 20", **FAST) as running, running.client() as http:
        http.post("/v1/chat/completions", json=chat(max_tokens=1))
        body = chat(stream=True, max_tokens=2000, input="hello")
        body["max_output_tokens"] = 2000
        seen: list[str] = []
        with http.stream("POST", route, json=body) as answer:
            for line in answer.iter_lines():
                seen.append(line)
                if len(seen) == 12:
                    running.engines()[0].kill()
        tail = [line for line in seen if line][-2:]
        assert tail[0] == "event: error"
        payload = json.loads(tail[1].removeprefix("data: "))
        assert payload["type"] == "error"
        if route == "/v1/messages":
            assert payload["error"]["type"] == "api_error"
        else:
            assert payload["code"] == "engine_error"


def test_a_frame_that_is_cut_never_reaches_a_client() -> None:
    flags = "--fake-crash-after-requests 1 --fake-half-frame --fake-tps 50"
    with gateway(flags, **FAST) as running:
        sdk = openai.OpenAI(base_url=running.url + "/v1", api_key="x", max_retries=0)
        seen: list[object] = []
        stream = sdk.chat.completions.create(**chat(max_tokens=20), stream=True)
        with pytest.raises(openai.APIError, match="The engine"):
            seen.extend(stream)
        assert len(seen) >= 10


def test_the_error_event_of_responses_goes_on_counting() -> None:
    with gateway("--fake-crash-after-requests 1", **FAST) as running, running.client() as http:
        body = {"model": "qwen", "input": "hello", "stream": True, "max_output_tokens": 20}
        with http.stream("POST", "/v1/responses", json=body) as answer:
            lines = [line for line in answer.iter_lines() if line.startswith("data: ")]
        numbers = [json.loads(line.removeprefix("data: "))["sequence_number"] for line in lines]
        assert numbers == list(range(len(lines)))
        assert json.loads(lines[-1].removeprefix("data: "))["type"] == "error"


def test_a_stalled_engine_says_so_to_whom_it_kept_waiting() -> None:
    settings = FAST | {"ENGINE_STALL_S": "0.5", "ENGINE_PROBE_TIMEOUT_S": "0.5"}
    with gateway("--fake-stop-mid-stream 1", **settings) as running, running.client() as http:
        lines = stream_lines(http, max_tokens=50)
        error = json.loads(lines[-1].removeprefix("data: "))["error"]
        assert error["message"].startswith("The engine stalled and is replaced.")
        assert error["code"] == "engine_error"


def test_no_request_waits_for_a_place_for_ever() -> None:
    settings = FAST | {"QWEN_MAX_IN_FLIGHT": "1", "REQUEST_IDLE_S": "0.5"}
    with gateway("--fake-tps 20", **settings) as running, running.client() as http:
        http.post("/v1/chat/completions", json=chat(max_tokens=1))
        body = chat(stream=True, max_tokens=2000)
        with http.stream("POST", "/v1/chat/completions", json=body) as first:
            lines = first.iter_lines()  # kept: its end would close the stream
            next(lines)
            refused = http.post("/v1/chat/completions", json=chat())
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) >= 1
        assert "within 0.5 s" in refused.json()["error"]["message"]
        eventually(lambda: at_rest(http))


@pytest.mark.parametrize(
    ("variable", "value", "code"),
    [
        ("QWEN_MODEL", "empty", "files_missing"),
        ("QWEN_PYTHON", "python", "not_started"),
    ],
)
def test_places_of_the_machine_are_for_the_operator(
    tmp_path: Path, variable: str, value: str, code: str
) -> None:
    keys = {"OPENAI_API_KEYS": "sk-user", "ADMIN_API_KEYS": "sk-admin"}
    (tmp_path / "empty").mkdir()
    (tmp_path / "python").write_text("#!/of/another/machine")
    (tmp_path / "python").chmod(0o700)
    place = str(tmp_path / value)
    user, admin = {"x-api-key": "sk-user"}, {"x-api-key": "sk-admin"}
    with gateway(**FAST, **keys, **{variable: place}) as running, running.client() as http:
        for stream in (False, True):
            told = http.post("/v1/chat/completions", json=chat(stream=stream), headers=user)
            error = told.json()["error"]
            assert (told.status_code, error["code"]) == (503, code)
            assert str(tmp_path) not in told.text
            assert told.headers["x-request-id"] in error["message"]
        for path, body in (
            ("/v1/chat/completions", chat()),
            ("/api/admin/models/qwen/load?wait=true", {}),
        ):
            assert place in http.post(path, json=body, headers=admin).json()["error"]["message"]
        status = http.get("/api/admin/status", headers=admin).json()
        assert place in status["models"]["qwen"]["runtime"]["last_error"]["reason"]
        record = http.get("/api/admin/requests", headers=admin).json()["recent"][-1]
        assert place in record["error"]


def test_a_failing_load_keeps_its_status_for_streams_too() -> None:
    with gateway("--fake-exit-at-start 9", **FAST) as running, running.client() as http:
        answer = http.post("/v1/chat/completions", json=chat(stream=True))
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "engine_crashed"
        assert int(answer.headers["retry-after"]) <= 120
        ready = http.get("/readyz")
        assert ready.status_code == 503
        assert ready.json()["reasons"] == {"qwen": "engine_crashed"}
        assert http.get("/healthz").status_code == 200
        status = http.get("/api/admin/status").json()["models"]["qwen"]
        assert status["state"] == "failed"
        assert status["runtime"]["last_error"]["exit_code"] == 9
        assert http.get("/api/admin/models/qwen/logs").json()


def test_a_stream_held_open_while_the_model_loads() -> None:
    settings = FAST | {"SSE_COMMIT_S": "0.2", "SSE_KEEPALIVE_S": "0.2"}
    with gateway("--fake-load-s 1", **settings) as running, running.client() as http:
        with http.stream("POST", "/v1/chat/completions", json=chat(stream=True)) as answer:
            lines = [line for line in answer.iter_lines() if line]
        assert answer.status_code == 200
        assert sum(line.startswith(":") for line in lines) >= 2
        assert lines[-1] == "data: [DONE]"


def test_a_failure_after_the_headers_is_an_error_event() -> None:
    settings = FAST | {"SSE_COMMIT_S": "0.1", "ENGINE_START_S": "1"}
    with gateway("--fake-never-ready", **settings) as running, running.client() as http:
        lines = stream_lines(http)
        assert json.loads(lines[-1].removeprefix("data: "))["error"]["code"] == "start_timeout"


def test_sigterm_under_load_lets_answers_finish() -> None:
    with gateway("--fake-tps 20", **FAST) as running, running.client() as http:
        http.post("/v1/chat/completions", json=chat(max_tokens=1))
        with concurrent.futures.ThreadPoolExecutor(9) as pool:
            answers = [pool.submit(stream_lines, http, max_tokens=30) for _ in range(8)]
            eventually(lambda: stats(running.engine_socket())["running"] == 8)
            running.process.send_signal(signal.SIGTERM)
            eventually(lambda: http.get("/readyz").status_code == 503, 3)
            late = http.post("/v1/chat/completions", json=chat())
            assert late.status_code == 503
            assert late.json()["error"]["code"] == "draining"
            assert all(a.result(20)[-1] == "data: [DONE]" for a in answers)
        assert running.stop() == 0


def test_an_open_event_stream_does_not_hold_up_the_end() -> None:
    with gateway(**FAST) as running, running.client() as http:
        with http.stream("GET", "/api/admin/events") as events:
            lines = events.iter_lines()
            assert next(line for line in lines if line.startswith("event:")) == "event: snapshot"
            running.process.send_signal(signal.SIGTERM)
            for _ in lines:
                pass
        assert running.process.wait(10) == 0


def test_a_second_signal_does_not_wait() -> None:
    settings = FAST | {"DRAIN_S": "60"}
    with (
        gateway("--fake-tps 1 --fake-ignore-term", **settings) as running,
        running.client() as http,
    ):
        http.post("/v1/chat/completions", json=chat(max_tokens=1))
        thread = threading.Thread(target=_ignore_errors, args=(http,))
        thread.start()
        eventually(lambda: stats(running.engine_socket())["running"] == 1)
        running.process.send_signal(signal.SIGINT)
        eventually(lambda: http.get("/readyz").status_code == 503, 3)
        running.stop(signal.SIGINT, timeout=15)
        thread.join(10)


def test_a_second_signal_does_not_wait_for_engines_that_take_their_time() -> None:
    settings = FAST | {"ENGINE_TERM_S": "60"}
    with gateway("--fake-ignore-term", **settings) as running, running.client() as http:
        http.post("/v1/chat/completions", json=chat(max_tokens=1)).raise_for_status()
        running.process.send_signal(signal.SIGINT)
        eventually(lambda: ": unloading" in running.output(), 10)
        assert running.stop(signal.SIGINT, timeout=15) == 0
        assert "Traceback" not in running.output()


def test_who_waits_for_a_model_at_the_end_is_told_so() -> None:
    """Nobody waits DRAIN_S for a model that nobody will wait for."""
    settings = {"DRAIN_S": "60", "CRASH_BACKOFF_S": "0"}
    with gateway("--fake-load-s 60", **settings) as running, running.client() as http:
        answers: list[httpx.Response] = []

        def ask() -> None:
            answers.append(http.post("/v1/chat/completions", json=chat()))

        thread = threading.Thread(target=ask)
        thread.start()
        eventually(running.engines, 10)
        assert running.stop(signal.SIGINT, timeout=15) == 0
        thread.join(10)
        assert [answer.status_code for answer in answers] == [503]
        assert "shutting down" in answers[0].json()["error"]["message"]


def _ignore_errors(http: httpx.Client) -> None:
    with contextlib.suppress(httpx.HTTPError):
        stream_lines(http, max_tokens=100)


@pytest.mark.parametrize(
    ("flags", "state"),
    [
        ("--fake-load-s 60 --fake-ignore-term", "loading"),
        ("--fake-ignore-term --fake-spawn-orphan", "ready"),
        ("--fake-tps 1 --fake-ignore-term --fake-spawn-orphan", "busy"),
        ("--fake-ignore-term --fake-slow-term-s 60", "unloading"),
    ],
)
def test_sigkill_leaves_no_orphan(flags: str, state: str) -> None:
    settings = FAST | {"ENGINE_TERM_S": "60"}
    with gateway(flags, **settings) as running, running.client() as http:
        http.post("/api/admin/models/qwen/load")
        eventually(lambda: running.engines())
        if state != "loading":
            http.post("/api/admin/models/qwen/load", params={"wait": "true"})
        if state == "busy":
            threading.Thread(target=_ignore_errors, args=(http,), daemon=True).start()
            eventually(lambda: stats(running.engine_socket())["running"] == 1)
        if state == "unloading":
            http.post("/api/admin/models/qwen/unload")
        family = running.children()
        assert family
        running.process.kill()
        _, alive = psutil.wait_procs(family, timeout=5)
        assert not alive


def test_clients_that_leave_at_random_leave_nothing_behind() -> None:
    random.seed(7)
    settings = FAST | {"QWEN_MAX_IN_FLIGHT": "32"}
    with gateway("--fake-tps 40", **settings) as running, running.client() as http:
        http.post("/v1/chat/completions", json=chat(max_tokens=1))
        with concurrent.futures.ThreadPoolExecutor(40) as pool:
            for _ in pool.map(lambda n: _leave(running, n), range(200)):
                pass
        eventually(lambda: at_rest(http))
        engine = running.engine_socket()
        eventually(lambda: stats(engine)["running"] == 0)
        assert stats(engine)["aborted"] > 0
        assert http.post("/v1/chat/completions", json=chat()).status_code == 200


def _leave(running: GatewayProcess, number: int) -> None:
    """Send a request, streaming or not, and hang up after a while, or in the middle of sending."""
    body = json.dumps(chat(stream=bool(number % 2), max_tokens=60)).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    request = head + b"content-length: %d\r\n\r\n" % len(body) + body
    host, port = running.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(request if number % 5 else request[: random.randrange(len(request))])
        connection.settimeout(random.random() * 0.5 + 0.001)
        with contextlib.suppress(TimeoutError):
            while connection.recv(65536):
                pass


@contextlib.contextmanager
def reader_of_nothing(running: GatewayProcess) -> Iterator[int]:
    """A client that asks for 80 MB and takes none of it; its port."""
    body = json.dumps(chat(stream=True, max_tokens=400_000)).encode()
    host, port = running.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n"
            b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
        )
        eventually(lambda: stats(running.engine_socket())["running"] == 1)
        yield connection.getsockname()[1]


def clients_of(running: GatewayProcess) -> set[int]:
    return {c.raddr.port for c in running.process.net_connections() if c.raddr}


def test_a_slow_reader_costs_no_memory_and_is_dropped() -> None:
    settings = FAST | {"CLIENT_WRITE_S": "2"}
    with gateway(**settings) as running, running.client() as http:
        http.post("/v1/chat/completions", json=chat(max_tokens=1))
        before = running.process.memory_info().rss
        with reader_of_nothing(running) as port:
            # unread, the engine is made to wait and then let go, and the connection ends
            eventually(lambda: stats(running.engine_socket())["running"] == 0, 20)
            eventually(lambda: port not in clients_of(running), 20)
        assert running.process.memory_info().rss - before < 24 << 20
        eventually(lambda: at_rest(http))


def test_a_slow_reader_does_not_hold_up_the_end() -> None:
    with gateway(**FAST | {"DRAIN_S": "1"}) as running, running.client() as http:
        http.post("/v1/chat/completions", json=chat(max_tokens=1)).raise_for_status()
        with reader_of_nothing(running):
            running.process.send_signal(signal.SIGTERM)
            assert running.process.wait(30) == 0


def test_one_of_two_replicas_is_killed() -> None:
    settings = FAST | {"QWEN_REPLICAS": "2", "CRASH_BACKOFF_S": "2"}
    with gateway(**settings) as running, running.client() as http:
        http.post("/api/admin/models/qwen/load", params={"wait": "true"}).raise_for_status()
        assert len(running.engines()) == 2
        running.engines()[0].kill()
        eventually(lambda: len(running.engines()) == 1)
        for number in range(20):
            answer = http.post("/v1/chat/completions", json=chat(f"number {number}"))
            assert answer.status_code == 200
        eventually(lambda: len(running.engines()) == 2, 10)


def test_a_port_in_use_is_said_at_once(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, output = _serve(tmp_path, API_PORT=str(taken.getsockname()[1]))
    assert code == 2
    assert "API_PORT" in output
    assert "Traceback" not in output


def test_an_unwritable_cache_directory_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, output = _serve(tmp_path, MODEL_CACHE_DIR=str(tmp_path / "file" / "models"))
    assert code == 2
    assert "MODEL_CACHE_DIR" in output


def test_an_unwritable_log_directory_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, output = _serve(tmp_path, LOG_DIR=str(tmp_path / "file" / "logs"))
    assert code == 2
    assert "LOG_DIR" in output


def test_a_broken_env_file_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("API_PORT=eight\nQWEN_REPLICAS=-1\n")
    code, output = _serve(tmp_path)
    assert code == 2
    assert "API_PORT" in output
    assert "QWEN_REPLICAS" in output


def test_a_model_path_that_is_not_there(tmp_path: Path) -> None:
    code, output = _serve(tmp_path, QWEN_MODEL="/nowhere/model")
    assert code == 2
    assert "QWEN_MODEL" in output


def _serve(directory: Path, **settings: str) -> tuple[int, str]:
    defaults = {
        "PYTHONPATH": str(ROOT),
        "PATH": os.environ["PATH"],
        "API_HOST": "127.0.0.1",
        "MODEL_CACHE_DIR": str(directory),
        "LOG_DIR": str(directory),
    }
    if not (directory / ".env").exists():
        defaults["API_PORT"] = "0"
    ended = subprocess.run(
        [sys.executable, "-m", "backend.app", "serve"],
        cwd=directory,
        env=defaults | settings,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return ended.returncode, ended.stdout + ended.stderr


@pytest.mark.parametrize("source", [{}, {"QWEN_MODEL": "org/absent"}], ids=["here", "absent"])
def test_real_models_without_a_gpu_fail_at_once(source: dict[str, str]) -> None:
    """One that is not here yet too: nothing is downloaded that nothing can run."""
    hub = {"HF_ENDPOINT": "http://127.0.0.1:9"}
    settings = FAST | hub | source | {"MODEL_SET": "real", "CUDA_VISIBLE_DEVICES": ""}
    with gateway(**settings) as running, running.client() as http:
        began = time.monotonic()
        answer = http.post("/v1/chat/completions", json=chat())
        assert answer.status_code == 503
        error = answer.json()["error"]
        assert error["code"] == "cuda_required"
        for words in ("CUDA requis", "nvidia-smi", "--gpus all", "CUDA_VISIBLE_DEVICES"):
            assert words in error["message"]
        assert answer.headers["x-should-retry"] == "false"
        assert not running.engines()
        assert time.monotonic() - began < 30


def test_the_gateway_imports_no_engine() -> None:
    """By what the interpreter itself says it imported, while it answered."""
    settings = FAST | {"PYTHONPROFILEIMPORTTIME": "1"}
    with gateway(**settings) as running, running.client() as http:
        http.post("/v1/chat/completions", json=chat())
        maps = Path(f"/proc/{running.process.pid}/maps").read_text()
        assert "libtorch" not in maps
    imported = set(re.findall(r"^import time:.*\| +(\w+)", running.output(), re.MULTILINE))
    assert {"fastapi", "httptools"} <= imported
    assert not imported & {"torch", "vllm", "nemo", "pyannote", "transformers", "torchaudio"}


def test_what_outlasts_the_drain_is_told_so() -> None:
    settings = FAST | {"DRAIN_S": "0.5"}
    with gateway("--fake-tps 5", **settings) as running, running.client() as http:
        http.post("/v1/chat/completions", json=chat(max_tokens=1))
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            streamed = pool.submit(stream_lines, http, max_tokens=300)
            whole = pool.submit(
                http.post, "/v1/chat/completions", json=chat(max_tokens=300, tag="whole")
            )
            eventually(lambda: stats(running.engine_socket())["running"] == 2)
            running.process.send_signal(signal.SIGTERM)
            last = json.loads(streamed.result(20)[-1].removeprefix("data: "))
            assert last["error"]["code"] == "draining"
            assert whole.result(20).status_code == 503
            assert whole.result(20).json()["error"]["code"] == "draining"
        assert running.process.wait(15) == 0


@pytest.mark.parametrize("stream", [True, False])
def test_what_outlasts_an_unload_is_told_so_and_holds_up_no_stop(stream: bool) -> None:
    settings = FAST | {"DRAIN_S": "0.2", "ENGINE_TERM_S": "20"}
    with gateway("--fake-tps 20", **settings) as running, running.client() as http:
        http.post("/v1/chat/completions", json=chat(max_tokens=1)).raise_for_status()
        body = chat(stream=stream, max_tokens=2000)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            answer = pool.submit(http.post, "/v1/chat/completions", json=body)
            eventually(lambda: http.get("/api/admin/requests").json()["in_flight"])
            unloaded = http.post("/api/admin/models/qwen/unload?wait=true")
            told = answer.result(20)
        receipt = unloaded.json()["receipt"]
        assert not receipt["escalated"]
        assert told.status_code == (200 if stream else 503)
        error = json.loads(told.text.strip().rpartition("data: ")[2])["error"]
        assert error["code"] == "model_unloaded"
        assert "DRAIN_S" in error["message"]
        record = recorded(http, told)
        assert (record["outcome"], record["status"]) == ("cancelled", 503)
        assert record["cancelled_by"] == "operator"


def test_two_gateways_on_one_port(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    with gateway(API_PORT=port, **FAST):
        code, output = _serve(tmp_path, API_PORT=port)
    assert code == 2
    assert "API_PORT" in output


def test_an_early_signal_is_no_crash(tmp_path: Path) -> None:
    started = psutil.Popen(
        [sys.executable, "-m", "backend.app", "serve"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], "MODEL_CACHE_DIR": str(tmp_path)},
        stderr=subprocess.PIPE,
    )
    with started.stderr:
        eventually(lambda: "backend.app" in " ".join(started.cmdline()))
        # once Python runs our code, wherever it is in its imports
        eventually(lambda: any("site-packages" in m.path for m in started.memory_maps()))
        started.send_signal(signal.SIGTERM)
        assert started.wait(20) == 0
        assert b"Traceback" not in started.stderr.read()


def test_wishes_for_gpus_that_are_not_there_change_nothing() -> None:
    with gateway(**FAST) as running, running.client() as http:
        http.post("/v1/chat/completions", json=chat())
        engine = running.engines()[0].pid
        refused = http.post("/api/admin/models/qwen/load", json={"gpu_device_ids": [0]})
        assert refused.status_code == 400
        assert refused.json()["error"]["param"] == "gpu_device_ids"
        assert running.engines()[0].pid == engine


def test_keys_in_any_spelling_stay_out_of_engines() -> None:
    settings = FAST | {"openai_api_keys": "sk-lower", "ADMIN_AUTH": "off"}
    with gateway(**settings) as running, running.client() as http:
        assert http.post("/v1/chat/completions", json=chat()).status_code == 401
        key = {"authorization": "Bearer sk-lower"}
        http.post("/v1/chat/completions", json=chat(), headers=key).raise_for_status()
        assert "sk-lower" not in json.dumps(running.engines()[0].environ())


def test_a_deaf_engine_is_found_out_while_idle() -> None:
    settings = FAST | {"ENGINE_PROBE_S": "0.5", "ENGINE_PROBE_TIMEOUT_S": "0.5"}
    with gateway(**settings) as running, running.client() as http:
        http.post("/v1/chat/completions", json=chat())
        first = running.engines()[0]
        first.send_signal(signal.SIGSTOP)
        eventually(lambda: [e.pid for e in running.engines()] not in ([first.pid], []), 15)
        assert http.post("/v1/chat/completions", json=chat()).status_code == 200


def test_loading_all_at_start() -> None:
    with gateway(LAZY_LOAD_MODELS="false", **FAST) as running, running.client() as http:
        eventually(lambda: http.get("/readyz").json()["models"]["qwen"] == "ready")


def test_keys_are_checked_before_the_body() -> None:
    keys = {"OPENAI_API_KEYS": "app:sk-one, sk-two", "ADMIN_API_KEYS": "root-key"}
    with gateway(**FAST, **keys) as running, running.client() as http:
        refused = http.post("/v1/chat/completions", json=chat())
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"] == "Bearer"
        wrong = {"authorization": "Bearer sk-three"}
        # announces a hundred megabytes and sends none: the answer does not wait for them
        host, port = running.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            connection.sendall(
                b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer no\r\n"
                b"content-length: 100000000\r\n\r\n"
            )
            assert b" 401 " in connection.recv(100)
        assert http.get("/v1/models", headers=wrong).status_code == 401
        for key in ("sk-one", "sk-two", "root-key"):
            good = {"authorization": f"Bearer {key}"}
            assert http.post("/v1/chat/completions", json=chat(), headers=good).status_code == 200
            assert http.get("/v1/models", headers={"x-api-key": key}).status_code == 200
        assert http.get("/api/admin/status").status_code == 401
        inference = {"authorization": "Bearer sk-one"}
        forbidden = http.get("/api/admin/status", headers=inference)
        assert forbidden.status_code == 403
        assert "admin" in forbidden.json()["error"]["message"]
        admin = {"authorization": "Bearer root-key"}
        recent = http.get("/api/admin/requests", headers=admin).json()["recent"]
        assert "app" in {r["key"] for r in recent}
        assert "sk-one" not in json.dumps(recent)
        assert "sk-" not in running.output()


def test_a_mistyped_name_is_told_at_the_start() -> None:
    with gateway(API_PROT="1") as running:
        assert (
            "API_PROT is no setting and has no effect; did you mean API_PORT?" in running.output()
        )
