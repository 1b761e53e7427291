"""What the operators' guide promises, promise by promise, on a gateway as a user starts it.

Each test names the passage that it holds the product to. `unit/test_operations_guide_index.py`
lists every passage with its tests, those elsewhere too: of the container and its scripts, of the
dashboard, and of what wants a GPU (`tests/gpu`).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from backend.app.config import Settings
from tests.fakes.hub.process import FakeHub, fake_hub
from tests.support.gateway import ROOT, GatewayProcess, chat, eventually, gateway
from tests.support.hub import CHAT

REPO, GATED, PIPELINE = "org/chat", "org/gated", "org/pipeline"
TOKEN = "hf_goodgoodgood"
FAST = {"QWEN_ENGINE_ARGS": "--fake-load-s 0"}
CONFIG = """
version: 3.1.0
pipeline:
  name: pyannote.audio.pipelines.SpeakerDiarization
  params: {segmentation: $model/segmentation, embedding: $MODEL/embedding, plda: $model/plda}
"""


@pytest.fixture(scope="module")
def one_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeHub]:
    with fake_hub(tmp_path_factory.mktemp("hub")) as hub:
        hub.add(REPO, CHAT)
        hub.add(GATED, CHAT)
        yield hub


@pytest.fixture
def hub(one_hub: FakeHub) -> FakeHub:
    accounts = {TOKEN: {"name": "someone", "repos": [GATED]}}
    one_hub.set(faults=[], forget=True, gated=[GATED], accounts=accounts)
    return one_hub


def status(http: httpx.Client, key: str = "qwen") -> dict[str, Any]:
    model: dict[str, Any] = http.get("/api/admin/status").json()["models"][key]
    return model


def download(http: httpx.Client, key: str = "qwen") -> httpx.Response:
    return http.post(f"/api/admin/models/{key}/download?wait=true")


# ---- Variables d'environnement clés -------------------------------------------------------------


def test_the_defaults_are_those_of_the_guide(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*os.environ]:
        monkeypatch.delenv(name)
    monkeypatch.chdir("/")
    got = Settings()
    assert (got.api_host, got.api_port) == ("0.0.0.0", 8000)
    assert got.huggingface_token is None
    assert got.model_cache_dir == Path("/models")
    assert got.openai_api_keys == ()
    assert got.lazy_load_models is True
    assert got.frontend_dist == Path("/app/frontend")
    assert got.log_level == "info"
    assert got.log_dir / got.log_file_name == Path("/var/log/servertestllm/backend.log")


def test_lazy_loading_is_the_default_and_can_be_turned_off() -> None:
    with gateway(**FAST) as running, running.client() as http:
        assert status(http)["state"] == "idle"
        assert running.engines() == []
        http.post("/v1/chat/completions", json=chat()).raise_for_status()
        assert status(http)["state"] == "ready"
    with gateway(LAZY_LOAD_MODELS="false", **FAST) as running, running.client() as http:
        eventually(lambda: status(http)["state"] == "ready", 30)


def test_the_dashboard_is_served_from_frontend_dist(tmp_path: Path) -> None:
    """And « Tableau de bord vide »: without a build the page names the path and the command."""
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html><title>ours</title>")
    with gateway(FRONTEND_DIST=str(tmp_path), **FAST) as running, running.client() as http:
        assert "<title>ours</title>" in http.get("/").text
    empty = tmp_path / "assets"
    with gateway(FRONTEND_DIST=str(empty), **FAST) as running, running.client() as http:
        page = http.get("/").text
        assert str(empty) in page
        assert "npm run build" in page


@pytest.mark.parametrize(("level", "said"), [("info", False), ("debug", True)])
def test_log_level(level: str, said: bool) -> None:
    with gateway(LOG_LEVEL=level, **FAST) as running, running.client() as http:
        http.get("/v1/models", headers={"x-request-id": "mine"}).raise_for_status()
        http.get("/healthz").raise_for_status()
        running.stop()
        log = (running.directory / "logs" / "backend.log").read_text()
        line = r"DEBUG +backend\.app\.middleware \[mine\] GET '/v1/models' 200 in 0\.\d+ s"
        assert bool(re.search(line, log)) is said


# ---- Gestion du cache Hugging Face --------------------------------------------------------------


def test_downloads_lie_in_the_cache_by_the_hubs_convention(hub: FakeHub) -> None:
    """And « Purger les anciens artefacts »: what is removed by hand shows at the next status."""
    with gateway(QWEN_MODEL=REPO, HF_ENDPOINT=hub.url, **FAST) as running, running.client() as http:
        assert status(http)["state"] == "absent"
        assert status(http)["runtime"]["downloaded"] is False
        download(http).raise_for_status()
        folder = running.directory / "models" / "models--org--chat"
        assert {path.name for path in folder.glob("snapshots/*/*")} == set(CHAT)
        assert status(http)["runtime"]["downloaded"] is True
        shutil.rmtree(folder)
        assert status(http)["state"] == "absent"
        http.post("/v1/chat/completions", json=chat(), timeout=60).raise_for_status()
        assert folder.is_dir(), "the first request fetched it again"


def test_one_file_is_a_partial_model(hub: FakeHub) -> None:
    """`cache_has_artifacts`, as the status shows it; only a whole one is loaded as it is."""
    with gateway(QWEN_MODEL=REPO, HF_ENDPOINT=hub.url, **FAST) as running, running.client() as http:
        assert status(http)["runtime"]["files"] == "none"
        download(http).raise_for_status()
        assert status(http)["runtime"]["files"] == "complete"
        (snapshot,) = (running.directory / "models" / "models--org--chat" / "snapshots").iterdir()
        (snapshot / "model.safetensors").resolve().unlink()
        assert status(http)["runtime"]["files"] == "partial"
        assert status(http)["state"] == "absent"


def test_a_cache_that_was_prepared_needs_no_hub(hub: FakeHub, tmp_path: Path) -> None:
    cache = {"MODEL_CACHE_DIR": str(tmp_path), "QWEN_MODEL": REPO, **FAST}
    with gateway(HF_ENDPOINT=hub.url, **cache) as running, running.client() as http:
        download(http).raise_for_status()
    with gateway(HF_ENDPOINT="http://127.0.0.1:9", **cache) as running, running.client() as http:
        assert status(http)["state"] == "idle"
        http.post("/v1/chat/completions", json=chat()).raise_for_status()


def test_the_token_is_kept_beside_the_models(hub: FakeHub) -> None:
    """« Téléchargement bloqué à 0 % »: no token is an answer at once, and a token mends it."""
    settings = {"QWEN_MODEL": GATED, "HF_ENDPOINT": hub.url, **FAST}
    with gateway(**settings) as running, running.client() as http:
        refused = download(http)
        assert refused.status_code == 503
        message = refused.json()["error"]["message"]
        for words in (GATED, "token", f"{hub.url}/{GATED}"):
            assert words in message
        kept = http.post("/api/admin/huggingface/token", json={"token": TOKEN}).json()
        assert kept["valid"] is True
        assert TOKEN not in json.dumps(kept)
        file = running.directory / "models" / ".hf_token"
        assert TOKEN in file.read_text()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        eventually(lambda: status(http)["state"] == "idle", 30, "the download was tried again")
        assert TOKEN not in running.output()


def test_the_token_of_the_environment(hub: FakeHub) -> None:
    settings = {"QWEN_MODEL": GATED, "HF_ENDPOINT": hub.url, "HUGGINGFACE_TOKEN": TOKEN, **FAST}
    with gateway(**settings) as running, running.client() as http:
        download(http).raise_for_status()
        shown = http.get("/api/admin/huggingface/token").json()
        assert (shown["source"], shown["valid"]) == ("environment", True)


def test_pyannote_checkpoints_are_fetched_and_its_references_resolved(hub: FakeHub) -> None:
    """« Pyannote ne trouve pas ses checkpoints »: a forced download repairs an incomplete cache."""
    names = [f"{part}/weights.bin" for part in ("segmentation", "embedding", "plda")]
    hub.add(PIPELINE, {"config.yaml": CONFIG, **dict.fromkeys(names, 1000)})
    settings = {"PYANNOTE_MODEL": PIPELINE, "HF_ENDPOINT": hub.url}
    with gateway(**settings) as running, running.client() as http:
        download(http, "pyannote").raise_for_status()
        (snapshot,) = (
            running.directory / "models" / "models--org--pipeline" / "snapshots"
        ).iterdir()
        lost = (snapshot / names[0]).resolve()
        lost.unlink()
        assert status(http, "pyannote")["runtime"]["downloaded"] is False
        download(http, "pyannote").raise_for_status()
        assert lost.stat().st_size == 1000
        assert status(http, "pyannote")["runtime"]["downloaded"] is True


# ---- Gestion GPU --------------------------------------------------------------------------------


@pytest.fixture
def eight_gpus() -> Iterator[dict[str, str]]:
    """A driver's `nvidia-smi` for eight H200, first on the PATH; NVML itself is not there."""
    rows = "\n".join(
        f"{i}, GPU-{i:08d}, {i}, 143771, 1024, 142747, 550.90.07, NVIDIA H200, 1, Disabled,"
        f" Disabled, {30 + i}"
        for i in range(8)
    )
    with tempfile.TemporaryDirectory() as name:
        program = Path(name) / "nvidia-smi"
        program.write_text(f"#!/bin/sh\ncat <<END\n{rows}\nEND\n")
        program.chmod(0o755)
        yield {"PATH": f"{name}:{os.environ['PATH']}"}


def test_gpus_are_chosen_at_loading(eight_gpus: dict[str, str]) -> None:
    """`gpu_device_ids` become `preferred_device_ids`, and only the engine's own environment has
    `CUDA_VISIBLE_DEVICES`, so that there is nothing to restore. GPUMonitor shows memory, load and
    temperature; through GPUtil here, and says why not NVML."""
    with gateway(**FAST, **eight_gpus) as running, running.client() as http:
        machine = http.get("/api/admin/status").json()
        assert [gpu["index"] for gpu in machine["gpus"]] == list(range(8))
        gpu = machine["gpus"][3]
        assert (gpu["name"], gpu["load"], gpu["temperature"]) == ("NVIDIA H200", 3.0, 33.0)
        assert (gpu["memory_used"], gpu["memory_total"]) == (1024 << 20, 143_771 << 20)
        assert machine["system"]["gpu_probe"] == "gputil"
        # a tensor-parallel size wants attention heads that can be shared
        config = {"num_attention_heads": 8, "num_key_value_heads": 4}
        (running.directory / "model" / "config.json").write_text(json.dumps(config))
        wanted = {"gpu_device_ids": [1, 2]}
        loaded = http.post("/api/admin/models/qwen/load?wait=true", json=wanted).json()
        assert loaded["preferred_device_ids"] == [1, 2]
        assert loaded["replicas"][0]["gpu_ids"] == [1, 2]
        assert "qwen: placement preference: GPUs [1, 2]" in running.output()
        (engine,) = running.engines()
        assert engine.environ()["CUDA_VISIBLE_DEVICES"] == "1,2"
        assert engine.cmdline()[engine.cmdline().index("--tensor-parallel-size") + 1] == "2"
        assert "CUDA_VISIBLE_DEVICES" not in running.process.environ()
        refused = http.post("/api/admin/models/qwen/load", json={"gpu_device_ids": [8]})
        assert refused.status_code == 400


def test_cuda_requis() -> None:
    with gateway(MODEL_SET="real", **FAST) as running, running.client() as http:
        refused = http.post("/api/admin/models/qwen/load?wait=true")
        assert refused.status_code == 503
        for words in ("CUDA requis", "nvidia-smi", "--gpus all", "CUDA_VISIBLE_DEVICES"):
            assert words in refused.json()["error"]["message"]


# ---- Journalisation & supervision ---------------------------------------------------------------


def test_what_is_done_is_written_to_stdout_and_to_the_file(hub: FakeHub) -> None:
    """Instantiation, forced downloads, clean shutdown; GPUs that cannot be seen, and why."""
    with gateway(QWEN_MODEL=REPO, HF_ENDPOINT=hub.url, **FAST) as running, running.client() as http:
        download(http).raise_for_status()
        download(http).raise_for_status()
        timeline = status(http)["runtime"]["timeline"]
        assert [a["action"] for a in timeline].count("downloaded") == 2
        eventually(lambda: "nvml" in running.output().lower(), 10, "why there is no GPU")
        assert running.stop() == 0
        printed = running.output()
        file = (running.directory / "logs" / "backend.log").read_text()
        for words in (
            f"qwen: instantiated: chat from {REPO}",
            "canary: instantiated: ",
            "pyannote: instantiated: ",
            "qwen: download requested",
            f"qwen: downloaded: {REPO}",
            "all models are unloaded",
        ):
            assert words in printed
            assert words in file


# ---- Sécurité -----------------------------------------------------------------------------------


def test_keys_for_v1() -> None:
    """« API /v1 renvoie 401/403 »: the answer says which key is wanted and how it is sent."""
    with gateway(OPENAI_API_KEYS="sk-one,sk-two", **FAST) as running, running.client() as http:
        for key in (None, "sk-three"):
            headers = {"authorization": f"Bearer {key}"} if key else {}
            refused = http.get("/v1/models", headers=headers)
            assert refused.status_code == 401
            assert "Authorization: Bearer" in refused.json()["error"]["message"]
        for key in ("sk-one", "sk-two"):
            headers = {"authorization": f"Bearer {key}"}
            assert http.get("/v1/models", headers=headers).status_code == 200


def test_a_key_without_the_right() -> None:
    """« API /v1 renvoie 401/403 »: 403 is for a key of the API where the operator's is wanted."""
    keys = {"OPENAI_API_KEYS": "sk-one", "ADMIN_API_KEYS": "admin-key-0123456789"}
    with gateway(**keys, **FAST) as running, running.client() as http:
        headers = {"authorization": "Bearer sk-one"}
        refused = http.get("/api/admin/status", headers=headers)
        assert refused.status_code == 403
        assert "ADMIN_API_KEYS" in refused.json()["error"]["message"]
        assert http.get("/v1/models", headers=headers).status_code == 200


@pytest.mark.parametrize("path", ["/v1/audio/transcriptions", "/api/audio/transcribe"])
def test_audio_is_multipart_only(demoless: GatewayProcess, path: str) -> None:
    with demoless.client() as http:
        refused = http.post(path, json={"model": "canary", "file": "x"})
        assert refused.status_code == 415
        assert "multipart/form-data" in refused.json()["error"]["message"]


@pytest.fixture(scope="module")
def demoless() -> Iterator[GatewayProcess]:
    with gateway(**FAST) as running:
        yield running


# ---- Stratégie de mise à jour -------------------------------------------------------------------


def test_the_modules_compile_on_a_machine_without_gpu(tmp_path: Path) -> None:
    copy = tmp_path / "app"
    shutil.copytree(ROOT / "backend" / "app", copy, ignore=shutil.ignore_patterns("__pycache__"))
    compiled = subprocess.run(
        [sys.executable, "-m", "compileall", "-q", str(copy)], timeout=120, check=False
    )
    assert compiled.returncode == 0
