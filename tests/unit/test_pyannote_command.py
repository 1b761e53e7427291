"""How the Pyannote worker is started and proven."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from backend.app.config import PyannoteSettings, Settings
from backend.app.engines.launcher import Address
from backend.app.hub.local import LocalFiles
from backend.app.models.placement import Grant
from backend.app.models.pyannote import DEMO_SAME_VOICE, PyannoteDiarizationModel
from backend.app.models.spec import Kind, build_spec
from backend.app.workers.protocol import DiarizeParams, decode_params


def wrapper(tmp_path: Path, engine_args: str = "") -> PyannoteDiarizationModel:
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline" / "config.yaml").touch()
    own = PyannoteSettings.model_validate(
        {"model": str(tmp_path / "pipeline"), "python": "/bin/false", "engine_args": engine_args}
    )
    spec = build_spec("pyannote", Kind.DIARIZATION, own, demo_set=False)
    return PyannoteDiarizationModel(
        spec,
        settings=Settings.model_validate({"model_cache_dir": tmp_path / "cache"}),
        launcher=cast(Any, None),
        artifacts=LocalFiles(spec.source),
        placer=cast(Any, None),
        publish=lambda kind, data: None,
    )


@pytest.mark.parametrize(("gpus", "device"), [((), "cpu"), ((3,), "cuda")])
def test_the_worker_is_started_with_what_it_needs(
    tmp_path: Path, gpus: tuple[int, ...], device: str
) -> None:
    model = wrapper(tmp_path, "--window-s 600 --same-voice 0.4")
    asyncio.run(model.files.look())
    spec = model.engine_spec(0, Grant(gpus, 0.0))
    assert list(spec.argv(Address(socket="/run/s"))) == [
        *("/bin/false", "-m", "backend.app.workers.pyannote"),
        *("--model", str(tmp_path / "pipeline"), "--device", device, "--uds", "/run/s"),
        *("--cache", str(tmp_path / "cache")),
        *("--window-s", "600", "--same-voice", "0.4"),
    ]
    assert spec.env["PYANNOTE_METRICS_ENABLED"] == "0"
    assert spec.env["HF_HUB_OFFLINE"] == "1"
    assert spec.env["CUDA_VISIBLE_DEVICES"] == ",".join(map(str, gpus))


def test_the_demo_model_knows_how_near_its_voices_are(tmp_path: Path) -> None:
    model = wrapper(tmp_path)
    model.spec = replace(model.spec, demo=True)
    assert model.options()[-2:] == ["--same-voice", DEMO_SAME_VOICE]


def test_it_is_proven_by_a_probe(tmp_path: Path) -> None:
    assert decode_params(wrapper(tmp_path).probe_params, DiarizeParams).probe
