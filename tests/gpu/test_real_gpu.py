"""What only a real device can show: placement, the engines on it, and its memory coming back."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from backend.app.gpu.probe import Gpu, read_gpus
from tests.support.command_line import CommandLine
from tests.support.gateway import ROOT, GatewayProcess, chat, eventually

pytestmark = [pytest.mark.gpu, pytest.mark.engine, pytest.mark.timeout(900)]

CONTEXT_BYTES = 200 << 20
"""What may differ between two readings of an idle device."""


def load(http: httpx.Client, key: str) -> dict[str, Any]:
    answer = http.post(f"/api/admin/models/{key}/load?wait=true", timeout=600)
    assert answer.status_code == 200, answer.text
    loaded: dict[str, Any] = answer.json()
    return loaded


def test_the_probe_says_what_nvidia_smi_says(gpus: tuple[Gpu, ...]) -> None:
    query = "--query-gpu=index,uuid,name,memory.total"
    asked = subprocess.run(
        ["nvidia-smi", query, "--format=csv,noheader,nounits"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    rows = [[cell.strip() for cell in line.split(",")] for line in asked.stdout.splitlines()]
    assert [(str(g.index), g.uuid, g.name) for g in gpus] == [(r[0], r[1], r[2]) for r in rows]
    for gpu, row in zip(gpus, rows, strict=True):
        assert abs(gpu.memory_total / (1 << 20) - float(row[3])) <= 1024
        assert gpu.temperature is not None
        assert gpu.power is not None


def test_chat_on_the_chosen_gpu_and_its_memory_comes_back(
    on_gpu: GatewayProcess, gpus: tuple[Gpu, ...]
) -> None:
    first = gpus[0].index
    with on_gpu.client() as http:
        before = read_gpus(None).gpus[0].memory_used
        loaded = load(http, "qwen")
        assert loaded["replicas"][0]["gpu_ids"] == [first]
        memory = loaded["replicas"][0]["memory"]
        assert memory["used"] > CONTEXT_BYTES
        assert memory["over_grant"] == ""
        assert "--tensor-parallel-size" in loaded["replicas"][0]["argv"]
        mask = {p.environ().get("CUDA_VISIBLE_DEVICES") for p in on_gpu.engines()}
        assert mask == {str(first)}
        question = chat("What is the capital of France?", temperature=0)
        answer = http.post("/v1/chat/completions", json=question, timeout=300).json()
        assert answer["choices"][0]["message"]["content"] == "The capital of France is Paris."
        held = read_gpus(None).gpus[0].memory_used - before
        assert held > CONTEXT_BYTES, "the engine is on the GPU"
        left = http.post("/api/admin/models/qwen/unload?wait=true", timeout=120).json()
        assert left["state"] == "idle"
        assert left["receipt"]["missing_bytes"] == 0
        assert abs(left["receipt"]["freed_bytes"] - held) <= CONTEXT_BYTES

        def back() -> bool:
            return read_gpus(None).gpus[0].memory_used <= before + CONTEXT_BYTES

        eventually(back, 30, "the device's memory to come back")


@pytest.mark.parametrize(
    ("key", "route", "fields"),
    [
        ("canary", "/v1/audio/transcriptions", {"model": "canary", "language": "en"}),
        ("pyannote", "/v1/audio/diarizations", {"model": "pyannote"}),
    ],
)
def test_audio_on_the_chosen_gpu(
    on_gpu: GatewayProcess, gpus: tuple[Gpu, ...], key: str, route: str, fields: dict[str, str]
) -> None:
    with on_gpu.client() as http:
        before = read_gpus(None).gpus[0].memory_used
        assert load(http, key)["replicas"][0]["gpu_ids"] == [gpus[0].index]
        assert read_gpus(None).gpus[0].memory_used > before, "the engine is on the GPU"
        recording = ROOT / "demo" / "audio" / "fox.wav"
        with recording.open("rb") as file:
            answer = http.post(route, data=fields, files={"file": file}, timeout=300)
        assert answer.status_code == 200, answer.text
        assert answer.json().get("text") or answer.json()["segments"]


def test_the_doctor_finds_nothing_wrong_with_gpus_and_libraries(
    gpus: tuple[Gpu, ...], tmp_path: Path
) -> None:
    line = CommandLine(tmp_path, MODEL_SET="demo", API_HOST="127.0.0.1", API_PORT="0")
    _, out, _ = line("doctor", "--json")
    looked_at = [
        c for c in json.loads(out)["checks"] if c["topic"] in ("gpu", "imports", "libraries")
    ]
    assert [c for c in looked_at if c["level"] == "FAIL"] == []
    assert any(f"computed on {len(gpus)} GPU(s)" in c["message"] for c in looked_at)
