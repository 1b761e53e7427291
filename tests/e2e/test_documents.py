"""What the documents tell a reader to type, typed."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.component.test_hub_pipelines import PIPELINE, pipelines
from tests.fakes.hub.process import fake_hub
from tests.support.documents import Block, blocks, documents, targets
from tests.support.engine import FAKE_PYTHON
from tests.support.gateway import ROOT, GatewayProcess
from tests.support.hub import CHAT

CHAT_REPO, SPEECH_REPO = "Qwen/Qwen3-VL-30B-A3B-Instruct", "nvidia/canary-1b-v2"
NOT_HERE = {
    r"git clone": "the repository's address is the reader's",
    r"(\S+=\S+ )*make ": "it installs, or takes minutes; what it would do is asked of it below",
    r"docker ": "no Docker here; see tests/shipping, with its client and an engine that records",
    r"(sudo|kubectl) ": "no systemd, no Kubernetes; see tests/shipping/test_deploy.py",
    r"\.venv/bin/python -m tools\.": "a bench or a training takes minutes",
    r"(?s)nvidia-smi|curl .*gpu_device_ids": "no GPU here; tests/unit/test_placement.py has eight",
    r"curl -N .*/events": "it never ends; tests/unit/test_events.py reads it",
}
"""Beginnings of commands that cannot run in a test, and why."""
REAL = re.compile(r"/v1/|/tokenize|/api/audio|/api/diarization|openai")
"""Whatever asks a model something is asked of the real engines."""
ADDRESS = "localhost:8000"
TOKEN = "hf_reader"
UNUSED = ("old-model", "ancien-modele")
"""Repositories in the cache that documents delete."""
BLOCKS = [b for path in documents() for b in blocks(path) if b.commands]


def reason(command: str) -> str | None:
    """Why a command cannot run here; None when it can."""
    return next((why for what, why in NOT_HERE.items() if re.match(what, command)), None)


def runnable(block: Block) -> list[str]:
    return [command for command in block.commands if reason(command) is None]


def _marked(real: bool) -> pytest.MarkDecorator:
    chosen = [b for b in BLOCKS if runnable(b) and bool(REAL.search(b.text)) is real]
    assert chosen
    return pytest.mark.parametrize("block", chosen, ids=str)


@pytest.fixture(scope="session")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory like that of the project after `make serve`; files may be left in it."""
    directory = tmp_path_factory.mktemp("reader")
    (directory / ".venv").symlink_to(sys.prefix)
    folders = ("demo", "backend", "frontend", "tools", "tests", "deploy")
    for name in (*folders, "pyproject.toml", "build_docker.sh", "run_docker.sh"):
        (directory / name).symlink_to(ROOT / name)
    shims = directory / "shims"
    shims.mkdir()
    curl = shims / "curl"  # the same one; an answer that is an error fails the command
    curl.write_text(f'#!/bin/sh\nexec {shutil.which("curl")} --fail-with-body -sS -m 250 "$@"\n')
    curl.chmod(0o755)
    return directory


def typed(block: Block, gateway: GatewayProcess, desk: Path, **variables: str) -> str:
    """What it prints. AssertionError when it fails."""
    address = gateway.url.removeprefix("http://")
    text = "".join(runnable(block)).replace(ADDRESS, address)
    shell = ["bash", "-euo", "pipefail", "-c"]
    program = [sys.executable, "-c"] if block.language == "python" else shell
    limited = ["timeout", "--kill-after=5", "250"]  # it ends whatever the program has started
    env = {
        "PATH": f"{desk / 'shims'}:{os.environ['PATH']}",
        "HOME": str(desk),
        "PYTHONPYCACHEPREFIX": str(desk / "bytecode"),
        "no_proxy": "*",
        # no Docker here: its scripts go as far as the command, for a host whose user is not root
        "DRY_RUN": "true",
        "CONTAINER_USER": "1000:1000",
        **variables,
    }
    done = subprocess.run(
        [*limited, *program, text], cwd=desk, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{block}\n{text}\n{done.stdout}\n{done.stderr}"
    return done.stdout


# ---- with the real engines --------------------------------------------------------------------


@pytest.mark.engine
@pytest.mark.timeout(300)
@_marked(real=True)
def test_a_request_that_a_document_shows(block: Block, demo: GatewayProcess, desk: Path) -> None:
    printed = typed(block, demo, desk, ADMIN_KEY="", API_KEY="")
    assert printed
    for said, answer in ANSWERS.items():
        if said in block.text:
            assert answer in printed, block


ANSWERS = {
    "What is the capital of France?": "The capital of France is Paris.",
    "What colour is this image?": "The image is red.",
    "De quelle couleur est cette image ?": "L'image est rouge.",
    "fox.wav": "The quick brown fox jumps over the lazy dog.",
    "transcriptions -F model=canary -F language=fr": "Où se trouve la gare la plus proche ?",
    "audio/translations": "Where is the nearest train station?",
    "rttm": "SPEAKER dialogue-two 1 ",
    "diarized_json": '"speaker":',
}
"""What a document asks and the demo models answer."""


# ---- with a key, in front of a Hub --------------------------------------------------------------


@pytest.fixture(scope="module")
def guarded(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[GatewayProcess, dict[str, str]]]:
    """A gateway that wants a key and has downloaded its models, and its operator's environment."""
    directory = tmp_path_factory.mktemp("guarded")
    cache, key = directory / "models", secrets.token_urlsafe(32)
    cache.mkdir()
    (cache / ".admin_key").write_text(key)
    with fake_hub(directory / "hub") as hub:
        hub.add(CHAT_REPO, CHAT)
        hub.add(SPEECH_REPO, {"canary.nemo": 40_000})
        pipelines(hub)
        hub.set(accounts={TOKEN: {"name": "reader"}})
        settings = {
            "ADMIN_API_KEYS": key,
            "HF_ENDPOINT": hub.url,
            "QWEN_MODEL": CHAT_REPO,
            "QWEN_PYTHON": str(FAKE_PYTHON),
            "CANARY_MODEL": SPEECH_REPO,
            "PYANNOTE_MODEL": PIPELINE,
            "MODEL_CACHE_DIR": str(cache),
            "MODELS_FILE": str(directory / "models.toml"),
        }
        (directory / "models.toml").write_text("[qwen]\nidle_unload_s = 3600\n")
        for unused in UNUSED:
            (cache / f"models--owner--{unused}" / "blobs").mkdir(parents=True)
        running = GatewayProcess(directory, settings)
        try:
            running.wait_listening()
            with running.client(headers={"x-api-key": key}) as client:
                for model in ("qwen", "canary", "pyannote"):
                    path = f"/api/admin/models/{model}/download?wait=true"
                    assert client.post(path).status_code == 200
            own = {"ADMIN_KEY": key, "HUGGINGFACE_TOKEN": TOKEN, "MODEL_SET": "demo"}
            yield running, {**settings, **own, "LOG_DIR": str(directory / "logs")}
        finally:
            assert running.stop(timeout=60) == 0, running.output()


@_marked(real=False)
def test_an_operators_command(
    block: Block, guarded: tuple[GatewayProcess, dict[str, str]], desk: Path
) -> None:
    running, variables = guarded
    typed(block, running, desk, **variables)


# ---- with make ----------------------------------------------------------------------------------


def make(*args: str) -> subprocess.CompletedProcess[str]:
    """In the project itself, without the variables of a `make` that runs this test."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(
        ["make", "--no-print-directory", *args], cwd=ROOT, env=env, capture_output=True, text=True
    )


TARGETS = sorted({t for path in documents() for t in targets(path)})


def test_the_documents_name_every_target_but_the_one_that_deletes() -> None:
    declared = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert declared
    assert {*TARGETS, "clean"} == set(declared[1].split())


@pytest.mark.parametrize("target", TARGETS)
def test_make_knows_what_to_do(target: str) -> None:
    plan = make("--dry-run", "--always-make", target)
    assert plan.returncode == 0, plan.stderr
    for program in re.findall(r"^(?:@?exec )?((?:\./)?tools/\S+)", plan.stdout, re.MULTILINE):
        assert os.access(ROOT / program, os.X_OK), f"{target} calls {program}"
    for module in re.findall(r"python -m (backend\.app|tools\.\w+)", plan.stdout):
        assert (ROOT / module.replace(".", "/") / "__main__.py").is_file(), f"{target}: {module}"


def test_what_is_installed_is_listed() -> None:
    """`make sbom`, where its tool is installed already: a test installs nothing."""
    plan = make("--dry-run", "sbom")
    if "tools/setup/venv" in plan.stdout:
        pytest.skip("the SBOM's tool is not installed; `make sbom` itself would do it")
    done = make("sbom")
    assert done.returncode == 0, done.stderr
    for name in ("python", "frontend"):
        written = json.loads((ROOT / f"build/sbom/{name}.json").read_text())
        assert written["bomFormat"] == "CycloneDX"
        assert written["components"]


def test_what_cannot_run_here_is_all_in_use(capsys: pytest.CaptureFixture[str]) -> None:
    commands = [command for block in BLOCKS for command in block.commands]
    for what in NOT_HERE:
        assert any(re.match(what, command) for command in commands), f"no document says {what}"
    run = [command for command in commands if reason(command) is None]
    with capsys.disabled():
        print(f"\ncommands of the documents: {len(run)} of {len(commands)} are executed")
    assert len(run) > len(commands) / 2
