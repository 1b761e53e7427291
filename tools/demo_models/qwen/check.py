"""Asks a real vLLM, over its Unix socket, everything that the manifest promises."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from tools.demo_models.expectations import Expectation, expectations
from tools.demo_models.manifest import Chat

READY_S = 300.0
ENVIRONMENT = {
    "VLLM_PLUGINS": "",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
}
FLAGS = (
    *("--served-model-name", "qwen"),
    *("--max-model-len", "2048", "--max-num-seqs", "32", "--max-num-batched-tokens", "2048"),
    *("--kv-cache-memory-bytes", "256M", "--enforce-eager"),
    # With the cache, one new image in two requests at once is a 500 now and then (vLLM 0.32).
    *("--mm-processor-cache-gb", "0"),
    *("--distributed-executor-backend", "uni"),
    *("--enable-auto-tool-choice", "--tool-call-parser", "hermes"),
)


def check(chat: Chat, model: Path) -> list[str]:
    """One line for each answer that is not what the manifest says, streamed or not."""
    with serve(model) as client, ThreadPoolExecutor(16) as pool:
        asked = [(e, stream) for e in expectations(chat) for stream in (False, True)]
        misses = list(pool.map(lambda item: _miss(client, *item), asked))
    print(f"qwen: {len(asked)} answers, {sum(m is not None for m in misses)} wrong", flush=True)
    return [miss for miss in misses if miss is not None]


@contextlib.contextmanager
def serve(model: Path) -> Iterator[httpx.Client]:
    """A vLLM that serves `model` for as long as the context lasts."""
    with tempfile.TemporaryDirectory(prefix="demo-") as directory:
        socket, log = Path(directory, "vllm.sock"), Path(directory, "vllm.log")
        command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
        command += ["--model", str(model), "--uds", str(socket), *FLAGS]
        with log.open("wb") as sink:
            process = subprocess.Popen(
                command,
                env=os.environ | ENVIRONMENT,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        client = httpx.Client(
            transport=httpx.HTTPTransport(uds=str(socket)), base_url="http://vllm", timeout=120
        )
        try:
            _wait(process, client, log)
            yield client
        finally:
            client.close()
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait(process: subprocess.Popen[bytes], client: httpx.Client, log: Path) -> None:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with contextlib.suppress(httpx.TransportError):
            if client.get("/health").status_code == 200:
                return
        time.sleep(0.2)
    tail = log.read_text("utf-8", "replace")[-3000:]
    raise RuntimeError(f"vLLM did not become ready:\n{tail}")


def _miss(client: httpx.Client, wanted: Expectation, stream: bool) -> str | None:
    body = {"model": "qwen", "stream": stream, **wanted.body}
    content, calls = (_streamed if stream else _whole)(client, body)
    got = [(name, json.loads(arguments)) for name, arguments in calls]
    if wanted.call is not None:
        right = got == [wanted.call]
    else:
        right = content == wanted.content and not got
    if right:
        return None
    how = "streamed " if stream else ""
    return f"{how}{wanted.name}: got {content!r} {got}, want {wanted.content or wanted.call!r}"


def _whole(client: httpx.Client, body: dict[str, Any]) -> tuple[str | None, list[tuple[str, str]]]:
    answer = client.post("/v1/chat/completions", json=body).raise_for_status().json()
    message = answer["choices"][0]["message"]
    calls = [call["function"] for call in message.get("tool_calls") or []]
    return message["content"], [(call["name"], call["arguments"]) for call in calls]


def _streamed(client: httpx.Client, body: dict[str, Any]) -> tuple[str, list[tuple[str, str]]]:
    content, calls = "", list[tuple[str, str]]()
    with client.stream("POST", "/v1/chat/completions", json=body) as response:
        response.raise_for_status()
        for line in response.iter_lines():
            if not line.startswith("data: {"):
                continue
            for choice in json.loads(line.removeprefix("data: "))["choices"]:
                content += choice["delta"].get("content") or ""
                for call in choice["delta"].get("tool_calls") or []:
                    function = call["function"]
                    if function.get("name"):
                        calls.append((function["name"], ""))
                    name, arguments = calls[-1]
                    calls[-1] = name, arguments + (function.get("arguments") or "")
    return content, calls
