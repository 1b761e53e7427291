"""`models` and `download` as a user types them, in front of the fake Hub."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backend.app.commands.download import describe
from backend.app.workers.hub_protocol import Transfer
from tests.fakes.hub.process import FakeHub, fake_hub
from tests.support.gateway import ROOT, eventually
from tests.support.hub import CHAT, WEIGHTS

CHAT_REPO, ASR_REPO, GATED = "org/chat", "org/asr", "org/gated"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeHub]:
    with fake_hub(tmp_path_factory.mktemp("hub")) as running:
        running.add(CHAT_REPO, CHAT)
        running.add(ASR_REPO, {"asr.nemo": 40_000})
        running.add(GATED, {"config.yaml": "pipeline: {name: x}", "pytorch_model.bin": 2_000})
        running.set(gated=[GATED])
        yield running


class Line:
    """The command line with settings of its own."""

    def __init__(self, hub: FakeHub, directory: Path) -> None:
        self.directory = directory
        self.env = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "HOME": str(directory),
            "HF_ENDPOINT": hub.url,
            "MODEL_CACHE_DIR": str(directory / "models"),
            "MODEL_SET": "real",
            "QWEN_MODEL": CHAT_REPO,
            "CANARY_MODEL": ASR_REPO,
            "PYANNOTE_MODEL": GATED,
        }

    def start(self, *args: str, **env: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "backend.app", *args],
            cwd=self.directory,
            env=self.env | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *args: str, **env: str) -> tuple[int, str, str]:
        process = self.start(*args, **env)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    def states(self) -> dict[str, Any]:
        _, out, _ = self("models", "--json")
        return {row["key"]: row["state"] for row in json.loads(out)["models"]}


@pytest.fixture
def line(hub: FakeHub, tmp_path: Path) -> Line:
    hub.set(faults=[])
    return Line(hub, tmp_path)


def test_models_and_what_is_there_of_them(line: Line) -> None:
    code, out, err = line("models")
    assert (code, err) == (1, "")
    rows = [row.split() for row in out.splitlines()[1:]]
    assert [row[:4] for row in rows] == [
        ["qwen", "chat", "none", CHAT_REPO],
        ["canary", "asr", "none", ASR_REPO],
        ["pyannote", "diarization", "none", GATED],
    ]
    code, out, err = line("download", "qwen", "canary")
    assert code == 0, err
    assert f"qwen: {CHAT_REPO} is complete, 2.9 MiB, all of it verified" in out
    assert re.search(r"^qwen: (downloading|verifying) \d+% ", err, re.MULTILINE)
    assert line.states() == {"qwen": "complete", "canary": "complete", "pyannote": "none"}
    assert line("models", "qwen", "canary")[0] == 0
    weights = next((line.directory / "models").rglob(WEIGHTS))
    weights.unlink()
    assert line.states()["qwen"] == "partial"


def test_the_demo_models_are_here(line: Line) -> None:
    names = ("QWEN_MODEL", "CANARY_MODEL", "PYANNOTE_MODEL")
    blank = dict.fromkeys(names, "") | {"MODEL_SET": "demo"}
    code, out, err = line("models", **blank)
    assert (code, err) == (0, "")
    assert out.startswith("demo models: MODEL_SET=demo\n")
    assert out.count(" complete ") == 3
    code, out, _ = line("download", "qwen", **blank)
    assert code == 0
    assert "nothing to download" in out


def test_one_that_fails_stops_no_other(line: Line) -> None:
    code, out, err = line("download", "pyannote", "canary")
    assert code == 1
    assert f"{line.env['HF_ENDPOINT']}/{GATED}" in err, "the licence page"
    assert "canary: org/asr is complete" in out
    assert "Traceback" not in err


def test_a_key_that_there_is_not(line: Line) -> None:
    for command in ("download", "models"):
        code, _, err = line(command, "qwenn")
        assert code == 2
        assert "There is no model 'qwenn'; there are qwen, canary, pyannote." in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_download_that_is_stopped(line: Line, hub: FakeHub, number: signal.Signals) -> None:
    hub.set(faults=[{"match": WEIGHTS, "do": "slow", "rate": 200_000}])
    process = line.start("download", "qwen")
    partial = line.directory / "models"
    eventually(lambda: any(p.stat().st_size for p in partial.rglob("*") if p.is_file()), 30)
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert "Stopped." in err
    assert "Traceback" not in err


def test_progress_in_words() -> None:
    assert describe(Transfer("listing")) == "listing"
    whole = Transfer("downloading", 1 << 20, 4 << 20, file="a", rate=2048.0, eta=3.4, note="again")
    assert describe(whole) == "downloading 25% 1.0 MiB of 4.0 MiB, 2.0 KiB/s, 3 s left, a, again"
