"""What models need: estimated, then learned; a file that is no use is ignored."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from backend.app.config import CanarySettings
from backend.app.models.needs import (
    ACTIVATION_BYTES,
    FILE_NAME,
    UNKNOWN_WEIGHTS,
    Needs,
    weight_bytes,
)
from backend.app.models.placement import GIB, RESERVE_BYTES
from backend.app.models.spec import Kind, ModelSpec, build_spec


def spec(path: Path, **own: object) -> ModelSpec:
    given = CanarySettings.model_validate({"model": str(path)} | own)
    return build_spec("canary", Kind.ASR, given, demo_set=False)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "canary.nemo"
    with path.open("wb") as file:
        file.truncate(6 * GIB)
    return path


def need(needs: Needs, of: ModelSpec, path: Path | None, *, elastic: bool = False) -> int:
    return needs.of(of, str(path) if path else None, least_cache=0, elastic=elastic)


def test_a_first_load_is_estimated_by_its_weights(model: Path) -> None:
    assert weight_bytes(str(model)) == weight_bytes(str(model.parent)) == 6 * GIB
    estimate = need(Needs(), spec(model), model)
    assert estimate == int(6 * GIB * 1.05) + RESERVE_BYTES + ACTIVATION_BYTES
    assert need(Needs(), spec(model), model, elastic=True) == estimate - RESERVE_BYTES
    unknown = need(Needs(), spec(model), None)
    assert unknown == int(UNKNOWN_WEIGHTS * 1.05) + RESERVE_BYTES + ACTIVATION_BYTES


def test_later_ones_by_what_was_taken_also_by_another_process(model: Path, tmp_path: Path) -> None:
    Needs(tmp_path).learn(spec(model), fixed=4 * GIB, peak=5 * GIB)
    needs = Needs(tmp_path)
    assert need(needs, spec(model), model) == 4 * GIB + ACTIVATION_BYTES
    needs.learn(spec(model), fixed=4 * GIB, peak=20 * GIB)
    needs.learn(spec(model), fixed=4 * GIB, peak=5 * GIB)
    assert need(needs, spec(model), model) == 20 * GIB, "the most it was ever seen to take"
    assert need(needs, spec(model), model, elastic=True) == 4 * GIB + ACTIVATION_BYTES


def test_another_configuration_is_estimated_anew(model: Path) -> None:
    needs = Needs()
    first = need(needs, spec(model), model)
    needs.learn(spec(model), fixed=GIB, peak=GIB)
    assert need(needs, spec(model), model) != first
    for other in ({"engine_args": "--x"}, {"max_in_flight": 3}, {"revision": "abc"}):
        assert need(needs, spec(model, **other), model) == first
    assert need(needs, replace(spec(model), key="other"), model) == first


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"{}",
        b'{"models": []}',
        b'{"models": {"canary": {}}}',
        b'{"models": {"canary": {"of": "x", "fixed": "1", "peak": 1}}}',
        b'{"models": {"canary": {"of": "x", "fixed": -1, "peak": 1}}}',
        b'{"models": {"canary": 7}}',
    ],
)
def test_a_broken_file_is_ignored_with_a_word(
    model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)
    needs = Needs(tmp_path)
    assert "is ignored, estimates are used" in caplog.text
    assert need(needs, spec(model), model) == need(Needs(), spec(model), model)
    needs.learn(spec(model), fixed=GIB, peak=GIB)
    assert json.loads((tmp_path / FILE_NAME).read_text())["models"]["canary"]["fixed"] == GIB


def test_a_directory_that_cannot_be_written_costs_the_memory_only(
    model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    needs = Needs(tmp_path / "canary.nemo")  # a file, so nothing can be made below it
    needs.learn(spec(model), fixed=GIB, peak=GIB)
    assert "cannot be kept" in caplog.text
    assert need(needs, spec(model), model) == GIB + ACTIVATION_BYTES
