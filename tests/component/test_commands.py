"""`models` and `download` as a user types them, in front of the fake Hub."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backend.app.commands.download import describe
from backend.app.workers.hub_protocol import Transfer
from tests.fakes.hub.process import FakeHub, fake_hub
from tests.support.command_line import CommandLine
from tests.support.gateway import eventually
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


def states(line: CommandLine) -> dict[str, Any]:
    _, out, _ = line("models", "--json")
    return {row["key"]: row["state"] for row in json.loads(out)["models"]}


@pytest.fixture
def line(hub: FakeHub, tmp_path: Path) -> CommandLine:
    hub.set(faults=[])
    return CommandLine(
        tmp_path,
        HF_ENDPOINT=hub.url,
        MODEL_SET="real",
        QWEN_MODEL=CHAT_REPO,
        CANARY_MODEL=ASR_REPO,
        PYANNOTE_MODEL=GATED,
    )


def test_models_and_what_is_there_of_them(line: CommandLine) -> None:
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
    assert states(line) == {"qwen": "complete", "canary": "complete", "pyannote": "none"}
    assert line("models", "qwen", "canary")[0] == 0
    weights = next((line.directory / "models").rglob(WEIGHTS))
    weights.unlink()
    assert states(line)["qwen"] == "partial"


def test_the_demo_models_are_here(line: CommandLine) -> None:
    names = ("QWEN_MODEL", "CANARY_MODEL", "PYANNOTE_MODEL")
    blank = dict.fromkeys(names, "") | {"MODEL_SET": "demo"}
    code, out, err = line("models", **blank)
    assert (code, err) == (0, "")
    assert out.startswith("demo models: MODEL_SET=demo\n")
    assert out.count(" complete ") == 3
    code, out, _ = line("download", "qwen", **blank)
    assert code == 0
    assert "nothing to download" in out


def test_one_that_fails_stops_no_other(line: CommandLine) -> None:
    code, out, err = line("download", "pyannote", "canary")
    assert code == 1
    assert f"{line.env['HF_ENDPOINT']}/{GATED}" in err, "the licence page"
    assert "canary: org/asr is complete" in out
    assert "Traceback" not in err


def test_a_key_that_there_is_not(line: CommandLine) -> None:
    for command in ("download", "models"):
        code, _, err = line(command, "qwenn")
        assert code == 2
        assert "There is no model 'qwenn'; there are qwen, canary, pyannote." in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_download_that_is_stopped(
    line: CommandLine, hub: FakeHub, number: signal.Signals
) -> None:
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
