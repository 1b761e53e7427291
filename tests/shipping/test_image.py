"""What the Dockerfile promises, as far as it can be held without an engine that builds it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from backend.app.config import SCRUBBED, Settings
from tests.support.dockerfile import environment, read
from tests.support.gateway import gateway

ROOT = Path(__file__).resolve().parents[2]
ARGUMENTS, STAGES = read(ROOT / "Dockerfile")
IMAGE = STAGES["gateway"]
DOCKER_STOP_S = 10


def test_the_stages_and_their_bases() -> None:
    assert ARGUMENTS["NODE_VERSION"] == "20"
    assert ARGUMENTS["CUDA_STACK"] == "12"
    assert ARGUMENTS["CUDA12_IMAGE"] == "nvidia/cuda:12.4.1-cudnn-devel-ubuntu22.04"
    assert re.fullmatch(r"nvidia/cuda:13\..*-cudnn-devel-ubuntu24\.04", ARGUMENTS["CUDA13_IMAGE"])
    assert STAGES["frontend"].base.startswith("node:${NODE_VERSION}-")
    assert IMAGE.base == "cuda${CUDA_STACK}"
    for stack in ("12", "13"):
        assert STAGES[f"cuda{stack}"].base == f"${{CUDA{stack}_IMAGE}}"
        # the classic builder runs every stage: the one that is not wanted must do nothing
        assert not STAGES[f"cuda{stack}"].instructions


@pytest.mark.parametrize(("stack", "ubuntus"), [("12", "3.10"), ("13", "3.12")])
def test_the_stack_names_the_python_of_its_base(stack: str, ubuntus: str) -> None:
    first = (ROOT / "requirements" / f"cuda{stack}.txt").read_text().splitlines()[0]
    assert first.startswith("# python:")
    assert any(f"{python}.".startswith(f"{ubuntus}.") for python in first.split())
    assert f"Python {ubuntus}" in (ROOT / "Dockerfile").read_text()


def test_steps_are_the_scripts_that_make_runs() -> None:
    makefile = (ROOT / "Makefile").read_text()
    steps = [step for stage in STAGES.values() for step in stage.all("RUN")]
    scripts = {name for step in steps for name in re.findall(r"tools/setup/\w+", step)}
    assert scripts == {"tools/setup/system", "tools/setup/venv", "tools/setup/frontend"}
    assert all(script in makefile for script in scripts)


def test_no_step_needs_buildkit() -> None:
    for stage in STAGES.values():
        for instruction in stage.instructions:
            assert "--mount" not in instruction.value
            assert "--chmod" not in instruction.value
            assert "<<" not in instruction.value


def test_a_change_of_code_rebuilds_nothing_heavy() -> None:
    packages = IMAGE.place("RUN", "tools/setup/venv")
    before = [i.value for i in IMAGE.instructions[:packages] if i.name == "COPY"]
    assert all(re.match(r"(tools/setup/(system|venv)|requirements/\S+) ", f"{c} ") for c in before)
    assert packages < IMAGE.place("COPY", "backend")
    front = STAGES["frontend"]
    assert front.place("RUN", "packages") < front.place("COPY", "frontend frontend")
    # nothing that differs from build to build comes before what is heavy
    assert IMAGE.place("ARG", "REVISION") > IMAGE.place("COPY", "backend")


def test_apt_utils_come_first() -> None:
    step = next(run for run in IMAGE.all("RUN") if "apt-utils" in run)
    assert step.index("system apt-utils") < step.index("python3")


def test_every_file_that_is_copied_is_here_and_is_let_in() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignored[1] == "*"
    let_in = [line[1:] for line in ignored if line.startswith("!")]
    for stage in STAGES.values():
        for value in stage.all("COPY"):
            if value.startswith("--from"):
                continue
            *sources, _ = value.split()
            for source in sources:
                path = source.replace("${CUDA_STACK}", "12")
                assert (ROOT / path).exists(), path
                assert any(path == known or path.startswith(known + "/") for known in let_in), path


def test_no_secret_goes_in() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "**/.env*" in ignored
    words = {*SCRUBBED, "PASSWORD", "SECRET"}
    for stage in STAGES.values():
        for instruction in stage.instructions:
            if instruction.name in {"ARG", "ENV", "RUN", "LABEL"}:
                assert not any(word in instruction.value for word in words)


def test_how_it_runs() -> None:
    assert IMAGE.all("EXPOSE") == ["8000"]
    assert IMAGE.all("STOPSIGNAL") == ["SIGTERM"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", IMAGE.all("USER")[0])  # known not to be root
    assert "/app/deploy/healthcheck" in IMAGE.all("HEALTHCHECK")[0]
    assert '"-m", "backend.app"]' in IMAGE.all("ENTRYPOINT")[0]
    assert IMAGE.all("CMD") == ['["serve"]']
    label = IMAGE.all("LABEL")[0]
    for name in ("title", "description", "version", "revision"):
        assert f"org.opencontainers.image.{name}=" in label


def test_its_settings_are_settings() -> None:
    told = environment(IMAGE)
    ours = {name.upper() for name in Settings.model_fields} & told.keys()
    settings = Settings.model_validate({name.lower(): told[name] for name in ours})
    assert settings.model_set == "real"
    assert str(settings.model_cache_dir) == "/models"
    assert str(settings.frontend_dist) == "/app/frontend"
    assert (settings.api_host, settings.api_port) == ("0.0.0.0", 8000)
    # from SIGTERM to the end, in what `docker stop` gives a plain `docker run`
    assert settings.drain_s + settings.engine_term_s + 2 <= DOCKER_STOP_S
    # what a plain container shortens, the others set to what it is elsewhere
    assert {"DRAIN_S", "ENGINE_TERM_S"} <= told.keys()


def test_what_engines_compile_is_kept_beside_the_models() -> None:
    told = environment(IMAGE)
    for name in (
        *("XDG_CACHE_HOME", "VLLM_CACHE_ROOT", "TORCHINDUCTOR_CACHE_DIR"),
        *("TRITON_CACHE_DIR", "CUDA_CACHE_PATH", "NUMBA_CACHE_DIR"),
    ):
        assert told[name].startswith("/models/.cache"), name
    assert told["FLASHINFER_WORKSPACE_BASE"] == "/models"  # it adds .cache/flashinfer itself


def test_engines_are_told_where_their_caches_are() -> None:
    caches = {"TRITON_CACHE_DIR": "/models/.cache/triton", "VLLM_CACHE_ROOT": "/models/.cache/vllm"}
    with gateway(**caches) as running, running.client() as client:
        client.post("/api/admin/models/qwen/load?wait=true").raise_for_status()
        (engine,) = running.engines()
        inherited = engine.environ()
        assert {name: inherited[name] for name in caches} == caches


def test_the_health_check_asks_the_gateway(tmp_path: Path) -> None:
    def asked(port: str) -> int:
        done = subprocess.run(
            [str(ROOT / "deploy" / "healthcheck")],
            env={"PATH": "/usr/bin:/bin", "API_PORT": port},
            capture_output=True,
            timeout=20,
            check=False,
        )
        return done.returncode

    with gateway() as running:
        port = running.url.rpartition(":")[2]
        assert asked(port) == 0
    assert asked(port) != 0


@pytest.mark.parametrize(
    ("told", "dotenv", "scheme"),
    [
        ("", "", "http"),
        ("/cert.pem", "", "https"),
        ("", "SSL_CERTFILE=/cert.pem", "https"),
        ("", "export ssl_certfile = '/cert.pem'", "https"),
        ("", "# SSL_CERTFILE=/cert.pem\nSSL_CERTFILE=", "http"),
    ],
)
def test_the_health_check_speaks_what_the_gateway_speaks(
    tmp_path: Path, told: str, dotenv: str, scheme: str
) -> None:
    (tmp_path / ".env").write_text(dotenv + "\n")
    curl = tmp_path / "curl"
    curl.write_text('#!/bin/sh\necho "$@"\n')
    curl.chmod(0o755)
    done = subprocess.run(
        [str(ROOT / "deploy" / "healthcheck")],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "SSL_CERTFILE": told},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.stdout.split()[-1] == f"{scheme}://localhost:8000/healthz"


def test_what_is_copied_is_enough_to_start(tmp_path: Path) -> None:
    """The image's own /app, without the rest of the checkout."""
    copied = subprocess.run(
        ["git", "archive", "HEAD", "backend"], cwd=ROOT, capture_output=True, check=True, timeout=30
    )
    subprocess.run(["tar", "x"], cwd=tmp_path, input=copied.stdout, check=True, timeout=30)
    done = subprocess.run(
        [sys.executable, "-m", "backend.app", "--version"],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
