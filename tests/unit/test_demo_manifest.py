"""The manifest of the demo models, and whether what it names is there and hangs together."""

from __future__ import annotations

import base64
import io
import itertools
import json
import re
import tarfile
import wave
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tools.demo_models.expectations import expectations, image_url
from tools.demo_models.manifest import DEMO, Recording, load

MANIFEST = load()
MB = 1_000_000


def size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


@pytest.mark.parametrize(
    ("name", "limit"),
    [("qwen", 6 * MB), ("canary", 5 * MB), ("pyannote-3.1", 20 * MB), ("pyannote-community-1", MB)],
)
def test_models_are_there_and_small(name: str, limit: int) -> None:
    assert 0 < size(MANIFEST.models[name].where) <= limit


def test_demo_is_small_enough_for_a_repository() -> None:
    assert size(DEMO) <= 30 * MB


def test_the_chat_model_is_of_the_architecture_that_the_manifest_names() -> None:
    model = MANIFEST.models["qwen"]
    config = json.loads((model.where / "config.json").read_text("utf-8"))
    assert config["architectures"] == [model.architecture]
    assert config["text_config"]["dtype"] == "bfloat16"


def test_canary_carries_its_aligner_and_no_path_of_the_machine_that_made_it() -> None:
    with tarfile.open(MANIFEST.models["canary"].where / "canary.nemo") as archive:
        names = {Path(name).name for name in archive.getnames()}
        assert {"timestamps_asr_model_config.yaml", "timestamps_asr_model_weights.ckpt"} <= names
        for member in archive:
            if member.name.endswith(".yaml"):
                reader = archive.extractfile(member)
                assert reader is not None
                assert not re.search(rb"[\s'\"]/\w", reader.read()), member.name


@pytest.mark.parametrize("name", ["pyannote-3.1", "pyannote-community-1"])
def test_pipelines_refer_to_files_that_exist(name: str) -> None:
    directory = MANIFEST.models[name].where
    config = (directory / "config.yaml").read_text("utf-8")
    references = re.findall(r"\$model/(\S+)", config)
    assert len(references) == 3
    for reference in references:
        assert any((directory / reference).iterdir())


@pytest.mark.parametrize("recording", MANIFEST.speech.recordings, ids=lambda r: r.file)
def test_recordings_are_there_and_their_turns_are_in_order(recording: Recording) -> None:
    assert recording.where.stat().st_size < MB
    assert set(recording.speakers) <= set(MANIFEST.speech.voices)
    rows = [row.split() for row in recording.rttm.read_text("utf-8").splitlines()]
    assert [row[7] for row in rows] == [turn.speaker for turn in recording.turns]
    spans = [(float(row[3]), float(row[3]) + float(row[4])) for row in rows]
    assert all(before[1] < after[0] for before, after in itertools.pairwise(spans))
    if recording.where.suffix == ".wav":
        with wave.open(str(recording.where)) as file:
            assert file.getframerate() == recording.sample_rate
            assert spans[-1][1] < file.getnframes() / recording.sample_rate


def test_dialogues_have_two_and_three_speakers() -> None:
    assert {len(recording.speakers) for recording in MANIFEST.speech.recordings} == {1, 2, 3}


def test_recordings_come_in_many_formats_and_three_languages() -> None:
    suffixes = {recording.where.suffix for recording in MANIFEST.speech.recordings}
    assert {".wav", ".mp3", ".m4a", ".flac", ".ogg"} <= suffixes
    assert {recording.language for recording in MANIFEST.speech.recordings} == {"en", "fr", "de"}


def test_translations_have_english_on_one_side() -> None:
    for recording in MANIFEST.speech.recordings:
        for target in recording.translations:
            assert target != recording.language
            assert "en" in (target, recording.language)


def test_every_expectation_has_one_answer_and_no_request_has_two() -> None:
    wanted: dict[str, Any] = {}
    for expectation in expectations(MANIFEST.chat):
        assert (expectation.content is None) != (expectation.call is None)
        key = json.dumps(expectation.body, sort_keys=True)
        answer = expectation.content or expectation.call
        assert wanted.setdefault(key, answer) == answer, expectation.name
    assert len(wanted) > 500


def test_image_url_is_a_png_of_that_colour_and_size() -> None:
    url = image_url((1, 160, 255), (7, 5))
    image = Image.open(io.BytesIO(base64.b64decode(url.removeprefix("data:image/png;base64,"))))
    assert image.size == (7, 5)
    assert image.convert("RGB").getcolors() == [(35, (1, 160, 255))]


@pytest.mark.parametrize(
    ("edit", "place"),
    [
        (lambda m: m.pop("speech"), "manifest: missing"),
        (lambda m: m.update(extra=1), "manifest: unknown"),
        (lambda m: m.update(version="1"), "manifest.version: want int"),
        (lambda m: m.update(version=True), "manifest.version: want int"),
        (lambda m: m["chat"]["questions"][1].update(prompts="Hi"), r"questions\[1\].prompts"),
        (lambda m: m["speech"]["recordings"][0].pop("file"), r"recordings\[0\]: missing"),
        (lambda m: m["models"]["qwen"].update(path=3), "models.qwen.path: want str"),
    ],
)
def test_loading_names_the_place_that_is_wrong(edit: Any, place: str, tmp_path: Path) -> None:
    manifest = json.loads((DEMO / "manifest.json").read_text("utf-8"))
    edit(manifest)
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(manifest), "utf-8")
    with pytest.raises(ValueError, match=place):
        load(path)
