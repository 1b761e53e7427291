"""compose.yaml, the systemd unit and the Kubernetes example fit the image and the settings."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from backend.app.config import QwenSettings, Settings
from backend.app.setting_names import known
from tests.support.docker import Docker, succeed

ROOT = Path(__file__).resolve().parents[2]
UNIT = ROOT / "deploy" / "servertestllm.service"
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["gateway"]
OBJECTS: dict[str, Any] = {
    document["kind"]: document
    for document in yaml.safe_load_all((ROOT / "deploy" / "kubernetes.yaml").read_text())
}
SETTINGS = {name.upper() for name in Settings.model_fields}
SETTINGS |= {
    f"{prefix}_{name.upper()}"
    for prefix in ("QWEN", "CANARY", "PYANNOTE")
    for name in QwenSettings.model_fields
}
ENGINE_TERM_S = int(Settings.model_fields["engine_term_s"].default)


def _known(names: object) -> None:
    assert isinstance(names, (list, dict, set))
    assert set(names) <= SETTINGS


def _default(value: str) -> str:
    """`${NAME:-30}s` when NAME is not set."""
    return re.sub(r"\$\{\w+:-(.*?)\}", r"\1", value)


@pytest.mark.usefixtures("own_files")
def test_compose_says_what_the_script_says(docker: Docker) -> None:
    argv, _ = succeed(docker)
    line = " ".join(argv)
    assert f"--stop-timeout {_default(COMPOSE['stop_grace_period']).removesuffix('s')} " in line
    assert f"--restart {COMPOSE['restart']} " in line
    assert f"--shm-size {COMPOSE['shm_size'].removesuffix('b')} " in line
    for limit, value in COMPOSE["ulimits"].items():
        assert f"--ulimit {limit}={value} " in line
    assert COMPOSE["cap_drop"] == ["ALL"]
    assert COMPOSE["security_opt"] == ["no-new-privileges"]
    pythons = [f"{model}_PYTHON" for model in ("QWEN", "CANARY", "PYANNOTE")]
    for name in ("MODEL_CACHE_DIR", "LOG_DIR", "API_HOST", "API_PORT", *pythons):
        assert f"-e {name}={COMPOSE['environment'][name]} " in line


def test_compose_passes_secrets_by_name() -> None:
    environment = COMPOSE["environment"]
    others = {name for name in environment if name.lower().endswith("_proxy")} | {"HF_ENDPOINT"}
    _known(set(environment) - others - {"HF_TOKEN"})
    for name in ("HUGGINGFACE_TOKEN", "HF_TOKEN", "OPENAI_API_KEYS", "ADMIN_API_KEYS", *others):
        assert environment[name] is None


@pytest.mark.parametrize("name", known())
def test_every_setting_in_dotenv_reaches_through_compose(name: str) -> None:
    """`environment` goes over `env_file`: there a setting is the container's own, or passed on."""
    assert COMPOSE["env_file"] == [{"path": ".env", "required": False}]
    fixed = {"MODEL_CACHE_DIR", "LOG_DIR", "API_HOST", "API_PORT", "FRONTEND_DIST"}
    environment = COMPOSE["environment"]
    if name in fixed or name.endswith("_PYTHON"):
        assert "$" not in environment[name]
    elif environment.get(name) is not None:
        assert re.fullmatch(rf"\$\{{{name}:-\d+\}}", environment[name])


def test_the_drain_fits_what_each_gives_it() -> None:
    environment = COMPOSE["environment"]
    least = int(_default(environment["DRAIN_S"])) + int(_default(environment["ENGINE_TERM_S"])) + 10
    assert int(_default(COMPOSE["stop_grace_period"]).removesuffix("s")) >= least

    pod = OBJECTS["Deployment"]["spec"]["template"]["spec"]
    container = pod["containers"][0]
    told = {each["name"]: int(each["value"]) for each in container["env"]}
    pause = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    least = pause + told["DRAIN_S"] + told["ENGINE_TERM_S"] + 10
    assert pod["terminationGracePeriodSeconds"] >= least

    stop = re.search(r"^TimeoutStopSec=(\d+)$", UNIT.read_text(), re.MULTILINE)
    assert stop
    default = int(Settings.model_fields["drain_s"].default)
    assert int(stop[1]) >= default + ENGINE_TERM_S + 10


def test_kubernetes_runs_one_gateway_on_one_gpu_node() -> None:
    deployment = OBJECTS["Deployment"]["spec"]
    assert deployment["replicas"] == 1
    # two at once would fight over the node's GPUs
    assert deployment["strategy"] == {"type": "Recreate"}
    pod = deployment["template"]["spec"]
    container = pod["containers"][0]
    _known([variable["name"] for variable in container["env"]])
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "8"
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["startupProbe"]["httpGet"]["path"] == "/healthz"
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounted == {"/models", "/dev/shm"}
    assert {m["name"] for m in container["volumeMounts"]} == {v["name"] for v in pod["volumes"]}


def test_no_secret_is_on_kubectls_command_line() -> None:
    for path in (ROOT / "deploy" / "kubernetes.yaml", ROOT / "doc" / "deployment.md"):
        text = path.read_text()
        assert "--from-env-file=servertestllm.env" in text
        assert "--from-literal" not in text


def test_the_service_leads_to_the_pod() -> None:
    labels = OBJECTS["Deployment"]["spec"]["template"]["metadata"]["labels"]
    service = OBJECTS["Service"]["spec"]
    assert service["selector"].items() <= labels.items()
    container = OBJECTS["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    assert service["ports"][0]["targetPort"] == container["ports"][0]["name"]


def test_the_unit_sets_settings_only() -> None:
    told = re.findall(r"^Environment=(\w+)=", UNIT.read_text(), re.MULTILINE)
    caches = {name for name in told if name.startswith(("XDG_", "TRITON_", "TORCH", "FLASHINFER_"))}
    _known(set(told) - caches)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    text = UNIT.read_text()
    program = "/opt/servertestllm/.venv/bin/python"
    assert program in text
    unit.write_text(text.replace(program, "/bin/true").replace("User=servertestllm", "User=daemon"))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(unit)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not [line for line in done.stderr.splitlines() if "Unknown" in line], done.stderr
