"""The gateway itself, on every supported Python that this machine has."""

from __future__ import annotations

import subprocess
from pathlib import Path

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

DECODE_ALL = """
import asyncio, sys
from pathlib import Path
from backend.app.audio.decode import Decoder
from backend.app.audio.spool import Spool

async def main(directory, names):
    spool = Spool(Path(directory), 1 << 30)
    decoder = Decoder(spool, max_audio_s=600)
    try:
        for name in names:
            with spool.file() as upload:
                await upload.write(Path(name).read_bytes())
                async with decoder.recording(upload) as recording:
                    assert recording.duration > 1, name
                    assert not recording.warnings, (name, recording.warnings)
    finally:
        await decoder.close()

asyncio.run(main(sys.argv[1], sys.argv[2:]))
"""
RECORDINGS = ("fox.wav", "kaffee.flac", "table.mp3", "rain.ogg", "gare.m4a", "buch.webm")

versions = pytest.mark.parametrize("version", list(pythons()))


@versions
def test_every_module_can_be_imported(version: str) -> None:
    subprocess.run(
        [gateway_python(version), "-W", "error", "-c", IMPORT_ALL], check=True, cwd=ROOT, timeout=60
    )


@versions
def test_it_decodes_recordings(version: str, tmp_path: Path) -> None:
    """PyAV has another version on each Python, and one of them once took other parameters."""
    files = [str(ROOT / "demo" / "audio" / name) for name in RECORDINGS]
    command = [gateway_python(version), "-W", "error", "-c", DECODE_ALL, str(tmp_path), *files]
    subprocess.run(command, check=True, cwd=ROOT, timeout=60)


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
