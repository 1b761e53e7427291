"""Every way in which a pipeline names its parts leads to local files, or says what is missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from backend.app.hub.patterns import PIPELINE_PARTS
from backend.app.workers import download_plan
from backend.app.workers.hub_layout import RepoDir
from backend.app.workers.pyannote_config import (
    FALLBACK,
    FILES,
    BadPipeline,
    read,
    references,
    resolve,
)

COMMIT = "0123456789" * 4
OTHER = "9876543210" * 4
SEGMENTATION = "pyannote/segmentation-3.0"
EMBEDDING = "pyannote/wespeaker-voxceleb-resnet34-LM"
PUBLISHED_31 = f"""
version: 3.1.0
pipeline:
  name: pyannote.audio.pipelines.SpeakerDiarization
  params:
    clustering: AgglomerativeClustering
    embedding: {EMBEDDING}
    embedding_batch_size: 32
    segmentation: {SEGMENTATION}
params:
  clustering:
    method: centroid
    threshold: 0.7045654963945799
"""


def config_of(**parts: Any) -> dict[str, Any]:
    name = "pyannote.audio.pipelines.SpeakerDiarization"
    return {"pipeline": {"name": name, "params": {"clustering": "VBxClustering", **parts}}}


def fill(directory: Path, *parts: str) -> Path:
    for part in parts:
        for name in FILES[part]:
            directory.mkdir(parents=True, exist_ok=True)
            (directory / name).touch()
    return directory


def in_cache(cache: Path, repo: str, part: str, folder: str = "", commit: str = COMMIT) -> Path:
    """A snapshot as the hub leaves it; its commit is what `main` stands for."""
    directory = RepoDir(cache, repo)
    fill(directory.snapshot(commit) / folder, part)
    if commit == COMMIT:
        directory.ref(None).parent.mkdir(exist_ok=True)
        directory.ref(None).write_text(commit)
    return directory.snapshot(commit) / folder


def repositories(config: dict[str, Any]) -> set[str]:
    return {reference.repo for reference in references(config).values() if reference.repo}


def own(value: str) -> dict[str, Any]:
    return config_of(**{part: value.format(part=part) for part in FILES})


def found(resolved: dict[str, Any]) -> dict[str, Path]:
    params = resolved["pipeline"]["params"]
    return {part: Path(params[part]["checkpoint"]) for part in FILES}


@pytest.mark.parametrize("value", ["$model/{part}", "$MODEL/{part}", "$Model/{part}", "./{part}"])
def test_a_folder_of_the_pipeline_itself(tmp_path: Path, value: str) -> None:
    for part in FILES:
        fill(tmp_path / part, part)
    resolved = resolve(own(value), tmp_path, tmp_path / "cache")
    assert found(resolved) == {part: tmp_path / part for part in FILES}
    assert repositories(own(value)) == set()


def test_a_folder_of_a_neighbour(tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()
    for part in FILES:
        fill(tmp_path / "first" / part, part)
    config = own("$model/../first/{part}")
    resolved = resolve(config, tmp_path / "second", tmp_path / "cache")
    assert found(resolved) == {part: tmp_path / "first" / part for part in FILES}


def test_files_given_by_path(tmp_path: Path) -> None:
    fill(tmp_path / "parts", "plda", "embedding")
    config = config_of(
        segmentation=str(tmp_path / "parts" / "pytorch_model.bin"),
        embedding=str(tmp_path / "parts"),
        plda={"checkpoint": str(tmp_path), "subfolder": "parts"},
    )
    assert found(resolve(config, tmp_path / "p", tmp_path)) == {
        "segmentation": tmp_path / "parts" / "pytorch_model.bin",
        "embedding": tmp_path / "parts",
        "plda": tmp_path / "parts",
    }


def test_a_published_pipeline_finds_its_companions_in_the_cache(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(PUBLISHED_31)
    wanted = {
        "segmentation": in_cache(tmp_path, SEGMENTATION, "segmentation"),
        "embedding": in_cache(tmp_path, EMBEDDING, "embedding"),
        "plda": in_cache(tmp_path, FALLBACK, "plda", "plda"),
    }
    resolved = resolve(read(tmp_path), tmp_path, tmp_path)
    assert found(resolved) == wanted
    assert resolved["params"]["clustering"]["threshold"] == 0.7045654963945799
    assert resolved["pipeline"]["params"]["embedding_batch_size"] == 32
    assert resolved["pipeline"]["params"]["segmentation"]["strict"] is False


@pytest.mark.parametrize(
    "segmentation",
    [f"{SEGMENTATION}@{OTHER}", {"checkpoint": SEGMENTATION, "revision": OTHER}],
)
def test_a_pinned_revision_is_that_one(tmp_path: Path, segmentation: object) -> None:
    in_cache(tmp_path, SEGMENTATION, "segmentation")
    pinned = in_cache(tmp_path, SEGMENTATION, "segmentation", commit=OTHER)
    fill(tmp_path / "e", "embedding", "plda")
    config = config_of(segmentation=segmentation, embedding="./e", plda="./e")
    assert found(resolve(config, tmp_path, tmp_path))["segmentation"] == pinned


@pytest.mark.parametrize("missing", [SEGMENTATION, EMBEDDING, FALLBACK])
def test_what_is_not_there_is_named(tmp_path: Path, missing: str) -> None:
    (tmp_path / "config.yaml").write_text(PUBLISHED_31)
    places = {SEGMENTATION: ("segmentation", ""), EMBEDDING: ("embedding", "")}
    places[FALLBACK] = ("plda", "plda")
    for repo, (part, folder) in places.items():
        if repo != missing:
            in_cache(tmp_path, repo, part, folder)
    with pytest.raises(BadPipeline, match=f"download {missing}"):
        resolve(read(tmp_path), tmp_path, tmp_path)


def test_an_incomplete_companion_is_named(tmp_path: Path) -> None:
    place = in_cache(tmp_path, FALLBACK, "plda", "plda")
    (place / "plda.npz").unlink()
    fill(tmp_path / "x", "segmentation")
    with pytest.raises(BadPipeline, match=f"plda.npz; download {FALLBACK} again"):
        resolve(config_of(segmentation="./x", embedding="./x"), tmp_path, tmp_path)


def test_an_incomplete_pipeline_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadPipeline, match=r"segmentation: there is no .*pytorch_model\.bin"):
        resolve(own("$model/{part}"), tmp_path, tmp_path)


def test_the_config_is_left_as_it_was(tmp_path: Path) -> None:
    fill(tmp_path / "x", "segmentation", "plda")
    config = {**own("./x"), "device": "cuda"}
    resolved = resolve(config, tmp_path, tmp_path)
    assert config == {**own("./x"), "device": "cuda"}
    assert "device" not in resolved


@pytest.mark.parametrize(
    "content",
    [
        "",
        "pipeline: [",
        "pipeline: SpeakerDiarization",
        "pipeline:\n  name: pyannote.audio.pipelines.VoiceActivityDetection",
        "pipeline:\n  name: pyannote.audio.pipelines.SpeakerDiarization\n  params: [1]",
        "\x00",
    ],
)
def test_no_pipeline_is_no_pipeline(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.yaml").write_text(content)
    with pytest.raises(BadPipeline, match=r"config\.yaml"):
        read(tmp_path)


def test_an_empty_directory_is_no_pipeline(tmp_path: Path) -> None:
    with pytest.raises(BadPipeline, match="holds no config"):
        read(tmp_path)


@pytest.mark.parametrize("value", [3, "segmentation", "a/b/c", {"subfolder": "x"}, ["x"]])
def test_a_reference_without_meaning_is_named(value: object) -> None:
    with pytest.raises(BadPipeline, match="segmentation"):
        repositories(config_of(segmentation=value))


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"segmentation": SEGMENTATION, "embedding": EMBEDDING},
        {"segmentation": f"{SEGMENTATION}@{OTHER}", "embedding": "$model/e", "plda": "$MODEL/p"},
        {"segmentation": {"checkpoint": SEGMENTATION, "subfolder": "x"}, "embedding": "$model/e"},
    ],
)
def test_what_is_looked_for_is_what_is_downloaded(tmp_path: Path, parts: dict[str, Any]) -> None:
    config = config_of(**parts)
    (tmp_path / "config.yaml").write_text(json.dumps(config))
    wanted = download_plan.references(tmp_path / "config.yaml")
    assert repositories(config) == {want.repo for want in wanted}


def test_the_published_pipeline_is_known_before_it_is_here(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(PUBLISHED_31)
    known = PIPELINE_PARTS["pyannote/speaker-diarization-3.1"]
    assert repositories(read(tmp_path)) == set(known)
