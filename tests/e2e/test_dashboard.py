"""The dashboard: its checks, its types against the gateway's, and real use in Chromium.

The tests in the browser are in `dashboard/*.test.mjs`; each file is one test here.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.support.gateway import demo_gateway, gateway

ROOT = Path(__file__).resolve().parents[2]
FRONTEND = ROOT / "frontend"
BROWSED = sorted(path.name for path in (Path(__file__).parent / "dashboard").glob("*.test.mjs"))

pytestmark = pytest.mark.timeout(600)


def run(*command: str, cwd: Path = FRONTEND, **env: str) -> str:
    """The output of a command that succeeds."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env=os.environ | {"NO_COLOR": "1"} | env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:]
    return done.stdout


@pytest.fixture(scope="module")
def packages() -> None:
    """What the lockfile names, unless it is there already."""
    installed = FRONTEND / "node_modules" / ".package-lock.json"
    lock = FRONTEND / "package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        run("npm", "ci", "--no-audit", "--no-fund")


@pytest.fixture(scope="module")
def build(packages: None) -> None:
    """A fresh build; it fails when the first visit loads more than its budget."""
    assert "initial JS" in run("npm", "run", "build")


def test_it_is_typed(packages: None) -> None:
    run("npm", "run", "typecheck")


def test_its_units(packages: None) -> None:
    run("npm", "test")


def test_its_types_are_those_of_the_gateway(packages: None) -> None:
    """To renew them, see doc/frontend.md."""
    with gateway() as running, running.client() as http, tempfile.TemporaryDirectory() as name:
        document, types = Path(name) / "openapi.json", Path(name) / "schema.ts"
        document.write_text(json.dumps(http.get("/openapi.json").json()))
        run("node_modules/.bin/openapi-typescript", str(document), "-o", str(types))
        committed = (FRONTEND / "src" / "api" / "schema.gen.ts").read_text()
        assert types.read_text() == committed, "run `npm run types` in frontend/"


def test_the_lockfile_names_no_address() -> None:
    lock = json.loads((FRONTEND / "package-lock.json").read_text())
    assert not [name for name, package in lock["packages"].items() if "resolved" in package]


def test_features_do_not_know_each_other() -> None:
    features = FRONTEND / "src" / "features"
    for feature in features.iterdir():
        others = [other.name for other in features.iterdir() if other != feature]
        for path in feature.rglob("*.ts*"):
            text = path.read_text()
            assert not [other for other in others if f'"../{other}' in text], path


@pytest.mark.parametrize("path", BROWSED)
def test_in_the_browser(path: str, build: None) -> None:
    run("node", "--test", "--test-reporter=spec", f"tests/e2e/dashboard/{path}", cwd=ROOT)


@pytest.mark.engine
def test_with_the_demo_models(build: None) -> None:
    with demo_gateway(FRONTEND_DIST=str(FRONTEND / "dist")) as running:
        script = "tests/e2e/dashboard/demo.mjs"
        run("node", "--test", "--test-reporter=spec", script, cwd=ROOT, DASHBOARD_URL=running.url)
