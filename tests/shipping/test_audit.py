"""make audit: what it makes of the answers, and that no answer is not taken for an all-clear."""

from __future__ import annotations

import json

import pytest

from tools import audit

CLEAN = {"name": "av", "version": "15.1", "vulns": []}
BAD = {"name": "x", "version": "1", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2"]}]}
SKIPPED = {"name": "y", "skip_reason": "Dependency not found on PyPI: y (3)"}


def pip(*packages: object) -> audit.Finding:
    return audit.of_pip_audit("r.txt", json.dumps({"dependencies": packages, "fixes": []}))


def npm(**packages: object) -> audit.Finding:
    meta = {"dependencies": {"total": 9}}
    return audit.of_npm(json.dumps({"vulnerabilities": packages, "metadata": meta}))


def test_all_clear(capsys: pytest.CaptureFixture[str]) -> None:
    assert audit.report([pip(CLEAN), npm()]) == 0
    assert "r.txt: 1 checked, 0 vulnerable" in capsys.readouterr().out


def test_a_vulnerability_names_package_and_cure(capsys: pytest.CaptureFixture[str]) -> None:
    assert audit.report([pip(CLEAN, BAD, SKIPPED), npm()]) == 1
    assert "x 1: PYSEC-1, fixed in 2" in capsys.readouterr().out
    found = npm(vite={"name": "vite", "range": "<8", "severity": "high"})
    assert audit.report([found]) == 1
    assert "vite <8: high" in capsys.readouterr().out


def test_a_package_that_was_skipped_is_no_all_clear(capsys: pytest.CaptureFixture[str]) -> None:
    assert audit.report([pip(CLEAN, SKIPPED), npm()]) == 3
    assert "NOT CHECKED: 1, for example: Dependency not found" in capsys.readouterr().out


@pytest.mark.parametrize("answer", ["", "no JSON", "[]", '{"error": {"summary": "405"}}', "null"])
def test_offline_is_no_all_clear(answer: str, capsys: pytest.CaptureFixture[str]) -> None:
    for finding in (audit.of_pip_audit("r.txt", answer), audit.of_npm(answer)):
        assert audit.report([finding]) == 3
    assert "is the package index reachable" in capsys.readouterr().out
