"""The documents name everything that exists, in both languages, and their links lead somewhere."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest
from fastapi import FastAPI
from pydantic import BaseModel

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
from tests.support.documents import ROOT, anchors, blocks, documents, links

DOC = ROOT / "doc"
OPERATIONS = {
    "en": (DOC / "operations.md").read_text(),
    "fr": (DOC / "fr/operations.md").read_text(),
}
ROUTES = {"en": (DOC / "api.md").read_text(), "fr": OPERATIONS["fr"]}
each_language = pytest.mark.parametrize("language", ["en", "fr"])


def _defaults() -> dict[str, object]:
    """By variable; what every model has is named `*_…`."""
    groups: dict[str, type[BaseModel]] = {
        "": Settings,
        "*_": ModelSettings,
        "QWEN_": QwenSettings,
        "CANARY_": CanarySettings,
        "PYANNOTE_": PyannoteSettings,
    }
    return {
        prefix + name.upper(): field.default
        for prefix, group in groups.items()
        for name, field in group.model_fields.items()
        if prefix in ("", "*_") or name not in ModelSettings.model_fields
    }


@each_language
@pytest.mark.parametrize("name", _defaults())
def test_every_setting_is_documented(name: str, language: str) -> None:
    assert f"`{name}`" in OPERATIONS[language]


def _written(default: object) -> str | None:
    """As a table shows it; None where words say what is done."""
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, tuple):
        return ",".join(map(str, default)) or None
    return str(default) if default not in (None, "") else None


@each_language
def test_every_default_is_the_one_in_force(language: str) -> None:
    defaults, checked = _defaults(), 0
    for line in OPERATIONS[language].split("\n## ")[2].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("| `") or len(cells) != 3:
            continue
        names = [name for name in re.findall(r"`([A-Z*_]+)`", cells[0]) if name in defaults]
        wanted = [text for name in names if (text := _written(defaults[name])) is not None]
        shown = re.findall(r"`([^`]+)`", cells[2])
        assert [text for text in shown if text in wanted] == wanted, line
        checked += len(wanted)
    assert checked > 40


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


@each_language
def test_every_route_is_documented(app: FastAPI, language: str) -> None:
    paths = app.openapi()["paths"]
    assert len(paths) > 20
    missing = [p for p in (x.replace(":path", "") for x in paths) if p not in ROUTES[language]]
    assert not missing, "to be added to doc/api.md and to the table in doc/fr/operations.md"


def test_every_operation_has_an_id_and_a_summary(app: FastAPI) -> None:
    operations = [o for methods in app.openapi()["paths"].values() for o in methods.values()]
    ids = [operation["operationId"] for operation in operations]
    assert len(ids) == len(set(ids))
    assert all(operation.get("description") for operation in operations)


def test_every_operation_tells_its_errors(app: FastAPI) -> None:
    document = app.openapi()
    for path, methods in document["paths"].items():
        name = "AnthropicError" if path.startswith("/v1/messages") else "Error"
        envelope = {"$ref": f"#/components/schemas/{name}"}
        for operation in methods.values():
            told = operation["responses"]
            assert "422" not in told, f"{path}: never answered"
            if path == "/healthz":
                continue
            assert "default" in told, path
            for status in set(told) - {"200", "202"}:
                if (path, status) != ("/readyz", "503"):
                    assert told[status]["content"]["application/json"]["schema"] == envelope, path


@each_language
def test_every_metric_is_documented(language: str) -> None:
    metrics = Metrics(state.value for state in State)
    text = metrics.render()[0].decode()
    names = set(re.findall(r"^# TYPE (gateway_\w+?)(?:_created)? ", text, re.MULTILINE))
    assert len(names) >= 9
    for name in names:
        assert f"`{name}`" in OPERATIONS[language]


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    for link in links(document):
        if re.match(r"[a-z]+:", link):
            continue  # another site: not ours to ask in a test
        target, _, anchor = link.partition("#")
        place = (document.parent / target).resolve() if target else document
        assert place.exists(), f"{link}: there is no such file"
        assert place.is_relative_to(ROOT), f"{link} leads out of the project"
        if anchor:
            assert anchor in anchors(place), f"{link}: there is no such heading"


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_the_files_that_it_names_are_there(document: Path) -> None:
    """`base.py`, `models/base.py`, `workers/canary*.py`: seen from anywhere in the project."""
    named = re.findall(r"`([\w./*-]+\.(?:py|mjs|tsx?|conf|service))`", document.read_text())
    assert [name for name in named if not any(path.match(name) for path in _files())] == []


@cache
def _files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, check=True)
    return [Path(name) for name in listed.stdout.decode().splitlines()]


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_readers_variables_are_few(document: Path) -> None:
    """Beside these a command uses only what it sets itself; tests/e2e/test_documents.py runs it."""
    known = {"ADMIN_KEY", "API_KEY", "HUGGINGFACE_TOKEN", "MODEL_CACHE_DIR", "PWD", "HOME"}
    for block in (b for b in blocks(document) if b.language == "bash"):
        used = set(re.findall(r"\$\{?([A-Za-z_]\w*)", block.text))
        own = set(re.findall(r"\b([A-Za-z_]\w*)=", block.text))
        assert used - own <= known, block


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_name_the_environment_that_make_builds(document: Path) -> None:
    """A newcomer's `python` has nothing installed; only in the container it is the right one."""
    text = document.read_text()
    bare = r"(?<!/)\bpython3? -m\s+(?:backend\.app(?!\.)|tools|pytest)"
    typed = [text[: found.start()] for found in re.finditer(bare, text)]
    assert all(before.endswith("docker exec servertestllm ") for before in typed)


def test_each_language_has_the_same_documents() -> None:
    for path in (DOC / "fr").glob("*.md"):
        assert (DOC / path.name).is_file()
        english = (DOC / path.name).read_text()
        assert f"(fr/{path.name})" in english, f"{path.name} does not lead to its translation"
        assert f"(../{path.name})" in path.read_text()


def test_each_language_has_the_same_symptoms_and_commands() -> None:
    def named(section: str) -> set[str]:
        text = OPERATIONS["en"].split(f"\n{section}\n")[1].split("\n##")[0]
        rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| ")]
        return {name for row in rows for name in re.findall(r"`([\w-]+)`", row)}

    symptoms, commands = named("## Symptoms"), named("## The command line")
    assert len(symptoms) > 3
    assert len(commands) > 2
    assert {name for name in symptoms | commands if name not in OPERATIONS["fr"]} == set()


def test_every_room_of_the_backend_has_a_line() -> None:
    app = ROOT / "backend" / "app"
    rooms = {f"{p.parent.name}/" for p in app.glob("*/__init__.py")}
    rooms |= {p.name for p in app.glob("*.py") if not p.name.startswith("__")}
    rooms = rooms - {"api/"} | {"api/openai/", "api/admin/"}
    for text in ((DOC / "backend.md").read_text(), (DOC / "fr/backend.md").read_text()):
        assert [room for room in sorted(rooms) if f"`{room}`" not in text] == []
