"""The documents name everything that exists: settings, routes, metrics."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fastapi import FastAPI

from backend.app import logs
from backend.app.config import (
    CanarySettings,
    ModelSettings,
    PyannoteSettings,
    QwenSettings,
    Settings,
)
from backend.app.main import create_app
from backend.app.metrics import Metrics
from backend.app.models.state import State

DOC = Path(__file__).resolve().parents[1] / "doc"
OPERATIONS = (DOC / "operations.md").read_text()
API = (DOC / "api.md").read_text()


def _variables() -> list[str]:
    common = set(ModelSettings.model_fields)
    names = [name.upper() for name in Settings.model_fields]
    names += [f"*_{name.upper()}" for name in common]
    for prefix, own in (
        ("QWEN", QwenSettings),
        ("CANARY", CanarySettings),
        ("PYANNOTE", PyannoteSettings),
    ):
        names += [f"{prefix}_{name.upper()}" for name in own.model_fields if name not in common]
    return names


@pytest.mark.parametrize("name", _variables())
def test_every_setting_is_documented(name: str) -> None:
    assert f"`{name}`" in OPERATIONS


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    directory = tmp_path_factory.mktemp("docs")
    settings = Settings.model_validate(
        {"model_set": "demo", "model_cache_dir": directory, "log_dir": directory}
    )
    log_setup = logs.setup(settings)
    try:
        return create_app(settings, log_setup)
    finally:
        log_setup.close()


def test_every_route_is_documented(app: FastAPI) -> None:
    paths = app.openapi()["paths"]
    assert len(paths) > 20
    for path in paths:
        plain = path.replace(":path", "")
        assert plain in API, f"{plain} is missing in doc/api.md"


def test_every_operation_has_an_id_and_a_summary(app: FastAPI) -> None:
    operations = [o for methods in app.openapi()["paths"].values() for o in methods.values()]
    ids = [operation["operationId"] for operation in operations]
    assert len(ids) == len(set(ids))
    assert all(operation.get("description") for operation in operations)


def test_every_metric_is_documented() -> None:
    metrics = Metrics(state.value for state in State)
    text = metrics.render()[0].decode()
    names = set(re.findall(r"^# TYPE (gateway_\w+?)(?:_created)? ", text, re.MULTILINE))
    assert len(names) >= 9
    for name in names:
        assert f"`{name}`" in OPERATIONS


@pytest.mark.parametrize("document", sorted(DOC.rglob("*.md")), ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text()):
        assert (document.parent / target).exists(), f"{document.name}: {target}"
