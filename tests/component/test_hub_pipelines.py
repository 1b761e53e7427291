"""Pyannote pipelines: one model, several repositories."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.app.hub import patterns
from backend.app.hub.snapshot import FilesState
from tests.fakes.hub.process import FakeHub, fake_hub
from tests.support.hub import Desk, run

PIPELINE = "pyannote/speaker-diarization-3.1"
CONFIG = """
version: 3.1.0
pipeline:
  name: pyannote.audio.pipelines.SpeakerDiarization
  params:
    clustering: AgglomerativeClustering
    embedding: pyannote/wespeaker-voxceleb-resnet34-LM
    segmentation: pyannote/segmentation-3.0
"""
COMMUNITY = "pyannote/speaker-diarization-community-1"


@pytest.fixture(scope="module")
def one_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeHub]:
    with fake_hub(tmp_path_factory.mktemp("hub")) as hub:
        yield hub


@pytest.fixture
def desk(one_hub: FakeHub, tmp_path: Path) -> Desk:
    one_hub.set(faults=[], forget=True)
    return Desk(one_hub, tmp_path / "cache")


def pipelines(hub: FakeHub) -> None:
    hub.add(PIPELINE, {"config.yaml": CONFIG, "README.md": "no"})
    parts: dict[str, bytes | int | str] = {"config.yaml": "x: 1", "pytorch_model.bin": 2000}
    hub.add("pyannote/segmentation-3.0", parts)
    hub.add("pyannote/wespeaker-voxceleb-resnet34-LM", parts)
    whole: dict[str, bytes | int | str] = {
        "config.yaml": "pipeline: {name: pyannote.audio.pipelines.SpeakerDiarization,"
        " params: {segmentation: $model/segmentation, embedding: $model/embedding,"
        " plda: $model/plda}}",
        "segmentation/pytorch_model.bin": 3000,
        "embedding/pytorch_model.bin": 3000,
        "plda/plda.npz": 400,
        "plda/xvec_transform.npz": 500,
    }
    hub.add(COMMUNITY, whole)


def test_a_pipeline_is_fetched_with_all_that_it_refers_to(desk: Desk) -> None:
    pipelines(desk.hub)

    async def body() -> None:
        files = desk.manager.artifacts(patterns.pyannote(PIPELINE))
        assert set(files.repos) == {PIPELINE, *patterns.PIPELINE_PARTS[PIPELINE]}
        await desk.fetch(files)
        path = files.path()
        assert path == str(desk.repo(PIPELINE).snapshot(str(files.status().commit)))
        assert files.status().bytes == len(CONFIG) + 2 * 2004 + 900
        assert desk.said[-1].total == files.status().total_bytes
        plda = desk.repo(COMMUNITY)
        snapshot = plda.snapshot(str(plda.commit_of(None)))
        assert [p.name for p in sorted(snapshot.rglob("*"))] == [
            "plda",
            "plda.npz",
            "xvec_transform.npz",
        ]
        assert set(desk.manager.needed_by(PIPELINE)) == set(files.repos)
        await desk.manager.delete("pyannote/segmentation-3.0")
        assert files.path() is None, "a part is missing"
        assert files.status().state is FilesState.PARTIAL
        await desk.fetch(files)
        assert files.path() == path

    run(body)


def test_pyannote_would_find_every_part_without_a_network(desk: Desk) -> None:
    """The very calls that pyannote.audio makes, with HF_HUB_CACHE at our cache."""
    pipelines(desk.hub)
    program = f"""
from huggingface_hub import hf_hub_download as get
for repo in ("pyannote/segmentation-3.0", "pyannote/wespeaker-voxceleb-resnet34-LM"):
    get(repo, "pytorch_model.bin", subfolder=None, repo_type="model", revision=None)
for name in ("plda.npz", "xvec_transform.npz"):
    get("{COMMUNITY}", name, subfolder="plda", repo_type="model", revision=None)
"""

    async def body() -> None:
        await desk.fetch(desk.manager.artifacts(patterns.pyannote(PIPELINE)))
        env = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(desk.cache)}
        command = [sys.executable, "-c", program]
        await asyncio.to_thread(subprocess.check_call, command, env=env)

    run(body)


def test_a_pipeline_that_holds_all_of_its_parts(desk: Desk) -> None:
    pipelines(desk.hub)

    async def body() -> None:
        files = desk.manager.artifacts(patterns.pyannote(COMMUNITY))
        await desk.fetch(files)
        assert files.repos == (COMMUNITY,)
        assert files.path() is not None

    run(body)


def test_a_gated_part_is_named_with_its_own_page(desk: Desk) -> None:
    pipelines(desk.hub)
    desk.hub.set(gated=["pyannote/segmentation-3.0"])

    async def body() -> None:
        failure = await desk.failure(desk.manager.artifacts(patterns.pyannote(PIPELINE)))
        assert failure.code == "gated"
        assert failure.url == f"{desk.hub.url}/pyannote/segmentation-3.0"

    try:
        run(body)
    finally:
        desk.hub.set(gated=[])


@pytest.mark.parametrize("config", ["pipeline: 3", "[", "a: 1", "pipeline: {name: x, params: 7}"])
def test_a_config_without_sense(desk: Desk, config: str) -> None:
    desk.hub.add("pyannote/odd", {"config.yaml": config})

    async def body() -> None:
        failure = await desk.failure(desk.manager.artifacts(patterns.pyannote("pyannote/odd")))
        assert failure.code == "bad_repository"
        assert "config.yaml" in failure.message

    run(body)
