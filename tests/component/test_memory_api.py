"""What the admin API says of memory, and what it refuses before anything is taken down."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
from fastapi import FastAPI

from backend.app.api.admin import models, status
from backend.app.auth import Policy
from backend.app.gpu.monitor import GPUMonitor
from backend.app.middleware import stack
from backend.app.models.placement import GIB
from backend.app.models.registry import ModelRegistry
from backend.app.models.state import State
from tests.support.machines import H200, Machine
from tests.support.models import fake_models, settings_for


def client(registry: ModelRegistry, monitor: GPUMonitor, tmp: Path) -> httpx.AsyncClient:
    settings = settings_for(tmp, api_host="127.0.0.1")
    app = FastAPI(middleware=stack(settings, Policy.build(settings)))
    app.state.gateway = SimpleNamespace(
        settings=settings,
        registry=registry,
        monitor=monitor,
        placer=registry.get("qwen").placer,
        model_set="demo",
        model_set_reason="a test",
        draining=False,
        events=SimpleNamespace(last_id=1),
        dependencies=SimpleNamespace(report=lambda reading: []),
    )
    for part in (models, status):
        app.include_router(part.router, prefix="/api/admin")
    transport = httpx.ASGITransport(app)
    return httpx.AsyncClient(transport=transport, base_url="http://localhost/api/admin")


def test_memory_through_the_api(tmp_path: Path) -> None:
    gpus = Machine(tmp_path, pids=True)
    monitor = GPUMonitor(gpus.read, tmp_path)
    gpus.foreign = {3: 100 * GIB, 0: 2 * GIB}
    given: dict[str, Any] = {"qwen": {"weights": 58 * GIB, "pin": True}}

    async def post(http: httpx.AsyncClient, path: str, **body: Any) -> tuple[int, Any]:
        answer = await http.post(f"/models/qwen/{path}", params={"wait": True}, json=body or None)
        return answer.status_code, answer.json()

    async def body() -> None:
        async with (
            fake_models(tmp_path, given, read=gpus.read) as registry,
            client(registry, monitor, tmp_path) as http,
        ):
            qwen = registry.get("qwen")
            code, told = await post(http, "load", gpu_device_ids=[0], replicas="auto")
            assert code == 200
            assert told["pinned"] is True
            (replica,) = told["replicas"]
            assert replica["gpu_ids"] == [0]
            memory = replica["memory"]
            assert memory["used"] <= memory["granted"]
            assert (memory["by"], memory["over_grant"]) == ("process", "")

            await monitor.sample()
            machine = (await http.get("/status")).json()
            first, fourth = machine["gpus"][0], machine["gpus"][3]
            assert [s["model"] for s in first["by_model"]] == ["qwen"]
            assert first["by_model"][0]["bytes"] == memory["used"]
            assert first["memory_other"] == first["memory_used"] - memory["used"]
            assert fourth["by_model"] == []
            assert fourth["memory_other"] == fourth["memory_used"] > 100 * GIB

            for ids, expected, words in (
                ([3], 503, "GPU 3: 39.8 GiB free"),
                ([0, 1, 2], 400, "legal: 1, 2, 4"),
                ([0, 0], 400, "choose different ones"),
            ):
                refused, error = await post(http, "load", gpu_device_ids=ids)
                assert refused == expected, error
                assert words in str(error)
                assert qwen.state is State.READY

            code, told = await post(http, "load", gpu_device_ids=[1, 2], replicas=2)
            assert [r["gpu_ids"] for r in told["replicas"]] == [[1], [2]]
            code, told = await post(http, "unload")
            assert told["receipt"] == {
                "freed_bytes": 2 * int(0.9 * H200),
                "seconds": told["receipt"]["seconds"],
                "escalated": False,
                "missing_bytes": 0,
            }

    asyncio.run(asyncio.wait_for(body(), 60))
