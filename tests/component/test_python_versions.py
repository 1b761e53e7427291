"""The gateway itself, on every supported Python that this machine has."""

from __future__ import annotations

import subprocess

import pytest

from tests.support.gateway import chat, gateway
from tests.support.pythons import ROOT, gateway_python, pythons

IMPORT_ALL = """
import importlib, pkgutil
import backend.app
for module in pkgutil.walk_packages(backend.app.__path__, "backend.app."):
    if not module.name.startswith(("backend.app.workers.", "backend.app.__main__")):
        importlib.import_module(module.name)
import backend.app.workers.protocol
"""

versions = pytest.mark.parametrize("version", list(pythons()))


@versions
def test_every_module_can_be_imported(version: str) -> None:
    subprocess.run(
        [gateway_python(version), "-W", "error", "-c", IMPORT_ALL], check=True, cwd=ROOT, timeout=60
    )


@versions
def test_it_serves_a_chat(version: str) -> None:
    with gateway(python=gateway_python(version)) as running, running.client() as client:
        assert client.get("/healthz").status_code == 200
        answer = client.post("/v1/chat/completions", json=chat())
        assert answer.status_code == 200, answer.text
        assert answer.json()["choices"][0]["message"]["content"]
        stream = client.post("/v1/chat/completions", json=chat(stream=True))
        assert stream.text.rstrip().endswith("data: [DONE]")
        assert client.get("/api/admin/status").json()["models"]["qwen"]["state"] == "ready"
        assert running.stop() == 0, running.output()
        assert "Traceback" not in running.output()
