"""The doctor as a user calls it, and its checks on machines made for them."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from backend.app.commands import doctor
from backend.app.commands.doctor import hub as hub_checks
from backend.app.commands.doctor import libraries, machine, network, storage
from backend.app.commands.doctor.patient import Patient
from backend.app.commands.doctor.report import Level, Line, language_of, ok
from backend.app.config import Settings
from backend.app.gpu.probe import Gpu, Reading
from backend.app.models.configured import build_specs
from backend.app.models.modelset import ModelSet
from backend.app.services.dependency_inspector import Imported
from backend.app.words import same
from backend.app.workers.dependencies import NO_GPU
from tests.component.test_hub_pipelines import PIPELINE, pipelines
from tests.fakes.hub.process import FakeHub, fake_hub
from tests.support.command_line import CommandLine
from tests.support.gateway import eventually, gateway
from tests.support.hub import CHAT, WEIGHTS

PYTHONS = ("QWEN_PYTHON", "CANARY_PYTHON", "PYANNOTE_PYTHON")
TOKEN = "hf_goodgoodgood"
H200 = (Gpu(0, "GPU-0", "NVIDIA H200", 1 << 37, 0), Gpu(1, "GPU-1", "NVIDIA H200", 1 << 37, 0))
NONE = Reading("none", (), ("NVML: libnvidia-ml.so.1 not found", "GPUtil: nvidia-smi not found"))
DGX = Reading("nvml", H200, driver="550.90.07", cuda="12.4")


def patient(
    root: Path, reading: Reading = NONE, *, env: dict[str, str] | None = None, **settings: Any
) -> Patient:
    values = {"model_cache_dir": root / "models", "log_dir": root / "logs", "model_set": "demo"}
    made = Settings.model_validate(values | settings)
    specs = tuple(build_specs(made, made.model_set == "demo"))
    chosen = ModelSet(made.model_set == "demo", same(""))
    return Patient(made, specs, chosen, reading, {"PATH": "/nowhere"} | (env or {}), root)


def told(lines: list[Line]) -> list[tuple[Level, str]]:
    for line in lines:
        assert (line.remedy is None) == (line.level is Level.OK), line
        assert all(line.said)
    return [(line.level, line.said.en) for line in lines]


def only(lines: list[Line]) -> Line:
    told(lines)
    (line,) = lines
    return line


# ---- as a user calls it ---------------------------------------------------------------------


def test_a_laptop_is_healthy(tmp_path: Path) -> None:
    line = CommandLine(tmp_path, MODEL_SET="demo", API_HOST="127.0.0.1", API_PORT="0")
    code, out, err = line("doctor", "--quick", LANG="en_US.UTF-8")
    assert (code, err) == (0, "")
    assert "OK    libraries      torch " in out
    assert "is free" in out
    assert ": 0 failed, " in out.splitlines()[-1]
    assert not (tmp_path / "models").exists(), "it changes nothing"
    assert not (tmp_path / "logs").exists()


def test_in_french_and_for_programs(tmp_path: Path) -> None:
    line = CommandLine(tmp_path, MODEL_SET="demo", API_HOST="127.0.0.1", API_PORT="0")
    code, out, _ = line("doctor", "--quick", "--json", LC_ALL="fr_FR.UTF-8")
    found = json.loads(out)
    assert (code, found["ok"]) == (0, True)
    said = {check["topic"]: check for check in found["checks"]}
    assert said["port"]["message"] == "127.0.0.1:0 est libre"
    assert said["settings"]["message"] == "modèles de démonstration : MODEL_SET=demo"
    assert said["dashboard"]["level"] in {"OK", "WARN"}
    assert set(doctor.CHECKS) - {"certificate"} <= set(said)


def test_wrong_settings_are_a_line_of_the_report(tmp_path: Path) -> None:
    code, out, _ = CommandLine(tmp_path)("doctor", API_PORT="many")
    assert code == 1
    assert "FAIL  settings" in out
    assert "API_PORT='many'" in out


def test_beside_a_running_gateway_its_port_is_no_failure(tmp_path: Path) -> None:
    with gateway() as running:
        port = running.url.rpartition(":")[2]
        line = CommandLine(tmp_path, MODEL_SET="demo", API_HOST="127.0.0.1", API_PORT=port)
        code, out, _ = line("doctor", "--quick")
        assert code == 0, out
        assert f"127.0.0.1:{port}: a gateway listens" in out


@pytest.mark.skipif(os.getuid() != 0 or not shutil.which("setpriv"), reason="becomes another user")
def test_as_an_ordinary_user(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    os.chown(home, 65534, 65534)
    for directory in (tmp_path, *tmp_path.parents[:2]):
        directory.chmod(directory.stat().st_mode | stat.S_IXOTH)
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o700)
    (home / "logs").mkdir()
    os.chown(home / "logs", 65534, 65534)
    (home / "logs" / "backend.log").touch(mode=0o600)
    line = CommandLine(home, MODEL_SET="demo", API_PORT="0", API_HOST="127.0.0.1")
    line.env |= {"MODEL_CACHE_DIR": str(locked / "models"), "LOG_DIR": str(home / "logs")}
    become = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    asked = subprocess.run(
        [*become, sys.executable, "-m", "backend.app", "doctor", "--quick"],
        cwd=home,
        env=line.env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert asked.returncode == 1, asked.stderr
    assert f"MODEL_CACHE_DIR: {locked}/models cannot be written" in asked.stdout
    assert "chown 65534" in asked.stdout
    assert f"not readable and writable for uid 65534: {home}/logs/backend.log" in asked.stdout


# ---- GPUs and container ---------------------------------------------------------------------


def test_gpus_that_are_fine(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/nvidia-uvm").touch()
    line = only(machine.gpus(patient(tmp_path, DGX)))
    assert told([line]) == [(Level.OK, "2 × NVIDIA H200, driver 550.90.07 (CUDA 12.4), nvml")]


def test_cuda_without_its_device(tmp_path: Path) -> None:
    lines = told(machine.gpus(patient(tmp_path, DGX)))
    assert lines[1] == (
        Level.FAIL,
        "/dev/nvidia-uvm is missing: nvidia-smi works, CUDA does not",
    )


def test_a_lost_gpu_and_a_poor_probe(tmp_path: Path) -> None:
    problems = ("NVML: GPU 5: GPU is lost", "NVML: Driver/library version mismatch")
    lines = machine.gpus(patient(tmp_path, Reading("gputil", H200, problems)))
    assert [level for level, _ in told(lines)][1:3] == [Level.FAIL, Level.WARN]
    assert "xid" in str(lines[1].remedy)


@pytest.mark.parametrize(
    ("files", "problem", "remedy"),
    [
        ([], "", "No NVIDIA driver is loaded here"),
        (["proc/driver/nvidia/version", ".dockerenv"], "", "`--gpus all`"),
        (["proc/driver/nvidia/version", ".dockerenv", "dev/nvidia0"], "", "DRIVER_CAPABILITIES"),
        (["proc/driver/nvidia/version", "dev/nvidia0"], "", "wants a reboot"),
        ([], "CUDA_VISIBLE_DEVICES= hides all 8 GPUs", "Unset CUDA_VISIBLE_DEVICES"),
    ],
)
def test_why_no_gpu_is_visible(tmp_path: Path, files: list[str], problem: str, remedy: str) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    reading = Reading("none", (), (problem or "NVML: libnvidia-ml.so.1 not found",))
    line = only(machine.gpus(patient(tmp_path, reading)))
    assert line.level is Level.WARN
    assert line.remedy is not None
    assert remedy in line.remedy.en
    real = only(machine.gpus(patient(tmp_path, reading, model_set="real")))
    assert real.level is Level.FAIL
    assert "CUDA requis" in real.said.en


def test_a_host_whose_containers_would_see_no_gpu(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    env = {"PATH": str(tools)}
    assert only(machine.container(patient(tmp_path, DGX, env=env))).level is Level.OK
    (tools / "docker").write_text("#!/bin/sh\n")
    (tools / "docker").chmod(0o755)
    line = only(machine.container(patient(tmp_path, DGX, env=env)))
    assert line.level is Level.WARN
    assert "nvidia-container-toolkit" in line.said.fr
    shutil.copy(tools / "docker", tools / "nvidia-ctk")
    assert only(machine.container(patient(tmp_path, DGX, env=env))).level is Level.OK


# ---- directories, port, certificate, dashboard -------------------------------------------------


def test_a_directory_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("")
    lines = storage.directories(patient(tmp_path))
    assert told(lines)[0][0] is Level.FAIL
    assert "is not a directory" in lines[0].said.en


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        free = 30 << 30

    monkeypatch.setattr(storage.shutil, "disk_usage", lambda path: Usage)  # type: ignore[attr-defined]
    assert only(storage.disk(patient(tmp_path))).level is Level.OK
    line = only(storage.disk(patient(tmp_path, model_set="real")))
    assert (line.level, line.said.en.partition(", ")[2]) == (
        Level.WARN,
        "and 80.0 GiB are wanted",
    )
    monkeypatch.setenv("QWEN_MODEL", "org/small")
    assert only(storage.disk(patient(tmp_path, model_set="real"))).level is Level.OK
    monkeypatch.delenv("QWEN_MODEL")
    Usage.free = 1 << 30
    assert only(storage.disk(patient(tmp_path))).level is Level.WARN


def test_what_is_here_in_part_must_fit(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = CommandLine(tmp_path, HF_ENDPOINT=hub.url, QWEN_MODEL="org/chat", MODEL_SET="demo")
    assert line("download", "qwen")[0] == 0
    monkeypatch.setenv("QWEN_MODEL", "org/chat")
    assert only(storage.disk(patient(tmp_path))).level is Level.OK
    next((tmp_path / "models").rglob(WEIGHTS)).resolve().unlink()

    class Usage:
        free = 2_000_000

    monkeypatch.setattr(storage.shutil, "disk_usage", lambda path: Usage)  # type: ignore[attr-defined]
    assert only(storage.disk(patient(tmp_path))).level is Level.FAIL
    weights = [text for _, text in told(storage.models(patient(tmp_path))) if "qwen" in text]
    assert weights == ["qwen: org/chat is not complete (14 bytes are here)"]


def test_a_port_that_somebody_else_uses(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        taken.settimeout(20)
        number = taken.getsockname()[1]
        settings = {"api_host": "127.0.0.1", "api_port": number}

        async def body() -> list[Line]:
            asked = asyncio.ensure_future(network.port(patient(tmp_path, **settings)))
            connection, _ = await asyncio.to_thread(taken.accept)
            connection.close()
            return await asked

        line = only(asyncio.run(body()))
    assert (line.level, line.said.en) == (
        Level.FAIL,
        f"127.0.0.1:{number}: Address already in use",
    )


def test_a_certificate_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("no")
    assert network.certificate(patient(tmp_path)) == []
    line = only(network.certificate(patient(tmp_path, ssl_certfile=tmp_path / "cert.pem")))
    assert line.level is Level.FAIL


def test_access_and_dashboard(tmp_path: Path) -> None:
    closed = patient(tmp_path, api_host="127.0.0.1", frontend_dist=tmp_path)
    assert [level for level, _ in told(network.access(closed))] == [Level.OK]
    assert only(network.dashboard(closed)).level is Level.WARN
    (tmp_path / "index.html").touch()
    assert only(network.dashboard(closed)).level is Level.OK
    opened = patient(tmp_path, api_host="0.0.0.0", admin_auth="off")
    assert [level for level, _ in told(network.access(opened))] == [Level.WARN, Level.WARN]


# ---- the Hub --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def one_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeHub]:
    with fake_hub(tmp_path_factory.mktemp("hub")) as running:
        running.add("org/chat", CHAT)
        running.add("org/asr", {"asr.nemo": 4_000})
        pipelines(running)
        yield running


@pytest.fixture
def hub(one_hub: FakeHub) -> FakeHub:
    accounts = {TOKEN: {"name": "someone", "repos": [PIPELINE]}, "hf_other1": {"name": "other"}}
    one_hub.set(faults=[], forget=True, gated=[PIPELINE], accounts=accounts)
    return one_hub


def ask_hub(tmp_path: Path, url: str, token: str | None, **env: str) -> list[Line]:
    names = ("qwen", "canary", "pyannote")
    models = dict(zip(names, ("org/chat", "org/asr", PIPELINE), strict=True))
    with pytest.MonkeyPatch.context() as patch:
        for name, repo in models.items():
            patch.setenv(f"{name.upper()}_MODEL", repo)
        asked = patient(
            tmp_path, model_set="real", env={"HF_ENDPOINT": url}, HUGGINGFACE_TOKEN=token
        )
    lines = asyncio.run(hub_checks.hub(asked))
    told(lines)
    return lines


def test_a_good_token(hub: FakeHub, tmp_path: Path) -> None:
    lines = ask_hub(tmp_path, hub.url, TOKEN)
    assert [(line.level, line.topic) for line in lines] == [
        (Level.OK, "hub"),
        (Level.OK, "token"),
        (Level.OK, "licence"),
    ]
    assert lines[1].said.en == "of someone (environment)"
    assert not any(TOKEN in str(line) for line in lines)
    assert not (tmp_path / "models").exists(), "nothing is kept"


@pytest.mark.parametrize(
    ("token", "level", "said"),
    [
        (None, Level.FAIL, "there is no Hugging Face token"),
        ("hf_unknown1", Level.FAIL, "the Hub does not know this token (environment)"),
        ("hf_other1", Level.OK, "of other (environment)"),
    ],
)
def test_a_licence_that_is_not_accepted(
    hub: FakeHub, tmp_path: Path, token: str | None, level: Level, said: str
) -> None:
    lines = ask_hub(tmp_path, hub.url, token)
    assert (lines[1].level, lines[1].said.en) == (level, said)
    gate = lines[2]
    assert (gate.level, gate.topic) == (Level.FAIL, "licence")
    assert gate.remedy is not None
    assert f"{hub.url}/{PIPELINE}" in gate.remedy.fr


def test_a_hub_that_does_not_answer(tmp_path: Path) -> None:
    line = only(ask_hub(tmp_path, "http://user:secret@127.0.0.1:9", None))
    assert (line.level, line.said.en) == (Level.FAIL, "http://127.0.0.1:9 does not answer")


def test_without_models_from_the_hub_it_is_not_asked(tmp_path: Path) -> None:
    asked = patient(tmp_path, env={"HF_ENDPOINT": "http://127.0.0.1:9"})
    assert only(asyncio.run(hub_checks.hub(asked))).level is Level.OK


# ---- libraries ------------------------------------------------------------------------------


def test_libraries_that_do_not_fit_this_machine(tmp_path: Path) -> None:
    env = {"PATH": os.environ["PATH"]}
    lines = asyncio.run(libraries.libraries(patient(tmp_path, DGX, env=env)))
    levels = {line.said.en.partition(" ")[0]: line.level for line in lines}
    told(lines)
    assert levels["pyannote.audio"] is Level.OK
    assert Level.FAIL in levels.values(), "the CPU stack, or CUDA 13 wheels on driver 550"


def test_an_environment_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "python").write_text("#!/gone\n")
    (tmp_path / "python").chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QWEN_PYTHON", str(tmp_path / "python"))
        asked = patient(tmp_path, env={"PATH": os.environ["PATH"]})
    line = asyncio.run(libraries.libraries(asked))[0]
    assert line.level is Level.FAIL
    assert "No such file" in line.said.en


def test_what_does_not_load_is_a_failure_unless_it_is_spare(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(python: str, name: str, env: object) -> Imported:
        return Imported(name == "torch", "undefined symbol")

    monkeypatch.setattr(libraries, "import_in", broken)

    async def body() -> list[Line]:
        asked = patient(tmp_path, env={"PATH": os.environ["PATH"]})
        return [line async for line in libraries.imports(asked)]

    levels = {
        line.said.en.partition(" ")[0].rstrip(":"): line.level for line in asyncio.run(body())
    }
    assert levels["torch"] is Level.OK
    assert levels["torchcodec"] is Level.WARN
    assert levels["vllm"] is levels["nemo_toolkit"] is Level.FAIL


@pytest.mark.parametrize(
    ("cause", "remedy"),
    [("Error 802: system not yet initialized", "nvidia-fabricmanager"), ("too old", "driver")],
)
def test_gpus_that_torch_cannot_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cause: str, remedy: str
) -> None:
    async def imported(python: str, name: str, env: object) -> Imported:
        return Imported(True, f"{NO_GPU}: {cause}" if name == "torch" else "fine")

    monkeypatch.setattr(libraries, "import_in", imported)

    async def body(reading: Reading) -> Line:
        asked = patient(tmp_path, reading, env={"PATH": os.environ["PATH"]})
        (first, *_) = [line async for line in libraries.imports(asked)]
        return first

    line = asyncio.run(body(DGX))
    assert line.level is Level.FAIL
    assert line.remedy is not None
    assert remedy in line.remedy.en
    assert asyncio.run(body(NONE)).level is Level.OK


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_it_leaves_nothing_running(tmp_path: Path, number: signal.Signals) -> None:
    python = tmp_path / "python"
    marks = tmp_path / "asked"
    python.write_text(
        f'#!/bin/sh\n[ "$3" = torch ] && echo $$ > {marks} && exec sleep 1000\n'
        f'exec {sys.executable} "$@"\n'
    )
    python.chmod(0o755)
    line = CommandLine(tmp_path, MODEL_SET="demo", API_HOST="127.0.0.1", API_PORT="0")
    process = line.start("doctor", **dict.fromkeys(PYTHONS, str(python)))
    child = int(eventually(lambda: marks.exists() and marks.read_text(), 60))
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (128 + number, "")
    assert not psutil.pid_exists(child)


@pytest.mark.engine
def test_the_real_libraries_load(tmp_path: Path) -> None:
    line = CommandLine(tmp_path, MODEL_SET="demo", API_HOST="127.0.0.1", API_PORT="0")
    code, out, _ = line("doctor")
    assert code == 0, out
    for name in ("torch", "torchaudio", "torchvision", "torchcodec", "vllm", "nemo_toolkit"):
        assert f"OK    imports        {name}: " in out


# ---- the report -----------------------------------------------------------------------------


def test_a_check_that_hangs_or_breaks_is_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "CHECK_S", 0.1)

    async def hangs(asked: Patient) -> list[Line]:
        await asyncio.Event().wait()
        return []

    def breaks(asked: Patient) -> list[Line]:
        raise ZeroDivisionError("oops")

    def works(asked: Patient) -> list[Line]:
        return [ok("x", same("fine"))]

    async def body() -> list[Line]:
        asked = patient(tmp_path)
        return [(await doctor._check("x", call, asked))[0] for call in (hangs, breaks, works)]

    lines = asyncio.run(body())
    assert [line.level for line in lines] == [Level.FAIL, Level.FAIL, Level.OK]
    assert lines[1].said.en == "ZeroDivisionError: oops"


@pytest.mark.parametrize(
    ("env", "language"),
    [
        ({}, "en"),
        ({"LANG": "fr_FR.UTF-8"}, "fr"),
        ({"LANG": "fr_FR.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LANG": "de_DE", "LC_MESSAGES": "FR_CA"}, "fr"),
        ({"LANG": "fr", "LC_ALL": ""}, "fr"),
    ],
)
def test_the_language_of_the_terminal(env: dict[str, str], language: str) -> None:
    assert language_of(env) == language


def test_a_mistyped_name_is_a_warning(tmp_path: Path) -> None:
    line = CommandLine(tmp_path, MODEL_SET="demo", API_HOST="127.0.0.1", API_PORT="0")
    code, out, _ = line("doctor", "--quick", QWEN_MAX_INFLIGHT="4")
    assert code == 0
    assert "QWEN_MAX_INFLIGHT is no setting and has no effect: QWEN_MAX_IN_FLIGHT?" in out
