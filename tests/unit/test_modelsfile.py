"""MODELS_FILE: each mistake is named with its line, its key and the way out of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from backend.app.config import ConfigError, Settings
from backend.app.models.configured import build_specs
from backend.app.models.spec import Kind, ModelSpec

EMBEDDER = '[embedder]\nkind = "embedding"\nmodel = "org/embedder"\n'
VARIABLES = ("QWEN_", "CANARY_", "PYANNOTE_")


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable of ours, and no `.env`."""
    for name in [name for name in os.environ if name.startswith(VARIABLES)]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def specs(text: str) -> dict[str, ModelSpec]:
    path = Path("models.toml")
    path.write_text(text)
    settings = Settings.model_validate({"models_file": path})
    return {spec.key: spec for spec in build_specs(settings, demo_set=True)}


def complaints(text: str) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        specs(text)
    return str(refused.value).splitlines()[1:]


def test_without_a_file_there_are_the_first_three() -> None:
    assert list(specs("")) == ["qwen", "canary", "pyannote"]
    found = build_specs(Settings.model_validate({}), demo_set=True)
    assert [spec.key for spec in found] == ["qwen", "canary", "pyannote"]


def test_every_kind_can_be_added_with_all_that_can_be_set(tmp_path: Path) -> None:
    found = specs(
        f"""
[small]
kind = "chat"
model = "{tmp_path}"
gpu_ids = [6, 7]
replicas = 2
idle_unload_s = 1800
max_in_flight = 8
max_queue = 16
engine_args = ["--seed", "1 2"]
python = "/bin/false"
aliases = ["gpt-4o-mini"]
max_model_len = 4096

[embedder]
kind = "embedding"
model = "Qwen/Qwen3-Embedding-0.6B"
revision = "main"
engine_args = "--dtype 'float32'"

[canary-de]
kind = "asr"
model = "org/canary"
languages = ["de"]

[pipeline]
kind = "diarization"
model = "org/pipeline"
replicas = "auto"
pin = true
"""
    )
    assert list(found)[3:] == ["small", "embedder", "canary-de", "pipeline"]
    small = found["small"]
    assert small.names == ("small", "gpt-4o-mini")
    assert (small.gpu_ids, small.replicas, small.idle_unload_s) == ((6, 7), 2, 1800)
    assert (small.max_in_flight, small.max_queue, small.max_model_len) == (8, 16, 4096)
    assert small.engine_args == ("--seed", "1 2")
    assert small.python == "/bin/false"
    assert (small.source, small.local, small.demo) == (str(tmp_path), True, False)
    embedder = found["embedder"]
    assert (embedder.kind, embedder.revision) == (Kind.EMBEDDING, "main")
    assert embedder.names == ("embedder", "Qwen/Qwen3-Embedding-0.6B")
    assert embedder.engine_args == ("--dtype", "float32")
    assert found["canary-de"].languages == ("de",)
    assert found["canary"].languages == ("en", "fr")
    pipeline = found["pipeline"]
    assert (pipeline.kind, pipeline.replicas, pipeline.pin) == (Kind.DIARIZATION, "auto", True)


def test_the_environment_wins_over_the_file_for_the_first_three(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = '[qwen]\nreplicas = 2\nmax_queue = 7\nmodel = "org/a"\naliases = ["x"]\n'
    monkeypatch.setenv("QWEN_REPLICAS", "3")
    monkeypatch.setenv("QWEN_ALIASES", "")  # blank is not set
    monkeypatch.setenv("EMBEDDER_REPLICAS", "5")
    found = specs(text + EMBEDDER)
    qwen = found["qwen"]
    assert (qwen.replicas, qwen.max_queue, qwen.source, qwen.aliases) == (3, 7, "org/a", ("x",))
    assert found["embedder"].replicas == 1
    assert found["canary"].demo


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("[qwen]\nmax_in_fligth = 3", 2, "[qwen] max_in_fligth: there is no such setting;"
         " did you mean max_in_flight?"),
        ("[qwen]\n\n# x\nzzzz = 3", 4, "known: aliases, engine_args,"),
        ("[qwen]\nlanguages = ['en']", 2, "a model for chat has no such setting; remove it"),
        ("[a]\nmodel = 'org/a'", 1, "[a] kind: it is missing: write kind ="),
        ("[a]\nmodel = 'org/a'\nkind = 'embeddings'", 3, "did you mean embedding?"),
        ("[a]\nkind = 7\nmodel = 'o/a'", 2, "7: use one of chat, embedding, asr, diarization"),
        ("[canary]\nkind = 'chat'", 2, "canary is for asr: leave kind out"),
        ("[a]\nkind = 'asr'", 1, '[a] model: it is missing: write model = "owner/name"'),
        ("[a]\nkind = 'asr'\nmodel = ''", 3, "it is missing"),
        ("[a]\nkind = 'asr'\nmodel = 'name'", 3, "name: write a Hub repository as owner/name"),
        ("[a]\nkind = 'asr'\nmodel = 'o/x--y'", 3, "o/x--y: write a Hub repository as owner/name"),
        ("[a]\nkind = 'asr'\nmodel = 'o/a'\nrevision = '/main'", 4, "/main: write a commit"),
        ("[qwen]\ngpu_ids = [0, 1, 0]", 2, "0,1,0: the same GPU is named twice"),
        ("[qwen]\npython = '/no/python'", 2, "/no/python: there is no such program"),
        ("[a]\nkind = 'asr'\nmodel = '/none'", 3, "/none: there is no such path"),
        ("[a]\nkind = 'asr'\nmodel = 'o/a'\ngpu_ids = [\n0,\n'b',\n]", 4, "write gpu_ids = [0, 1]"),
        ("[qwen]\nreplicas = 0", 2, "0: write a number from 1 to 64, or auto"),
        ("[qwen]\nengine_args = \"--a 'b\"", 2, "it cannot be split: No closing quotation"),
        ("[qwen]\nidle_unload_s = 'soon'", 2, "write idle_unload_s = 3600"),
        ("x = 1", 1, "write the settings of a model below a line [x]"),
        ("\n[[a]]\nkind = 'asr'", 2, "write the settings of a model below a line [a]"),
        ("['a/b']\nkind = 'asr'", 1, "at most 32 letters, digits, - and _"),
        ("[qwen]\naliases = ['canary']", 2, "the name 'canary' is claimed by the models qwen and"),
        (EMBEDDER + "aliases = ['qwen']", 4, "'qwen' is claimed by the models qwen and embedder"),
    ],
)  # fmt: skip
def test_each_mistake_is_named_with_its_line(text: str, line: int, words: str) -> None:
    found = complaints(text)
    assert len(found) == 1
    assert found[0].startswith(f"models.toml:{line}: ")
    assert words in found[0]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[qwen]\nmodel = org", 2),
        ("[qwen]\n[qwen]", 2),
        ("[qwen]\na = 1\na = 2", 3),
        ("[qwen]\naliases = [\n'a',\n\n", 3),
    ],
)
def test_what_is_no_toml_is_named_with_its_line(text: str, line: int) -> None:
    with pytest.raises(ConfigError) as refused:
        specs(text)
    assert str(refused.value).startswith(f"models.toml:{line}: this is no TOML: ")


def test_all_mistakes_are_told_at_once_in_the_order_of_their_lines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CANARY_MODEL", "nothing")
    found = complaints("[a]\nkind = 'chat'\nmodel = 'x'\n[qwen]\nreplica = 1\nmax_queue = -1\n")
    assert [text.split(": ")[0] for text in found[:3]] == [f"models.toml:{n}" for n in (3, 5, 6)]
    assert found[3].startswith("CANARY_MODEL=nothing: ")  # where it was set


def test_a_wrong_kind_hides_no_other_mistake() -> None:
    found = complaints("[a]\nkind = 'chta'\nreplica = 1\nmax_queue = -1\nlanguages = ['en']\n")
    assert [text.split(": ")[0] for text in found] == [f"models.toml:{n}" for n in (1, 2, 3, 4)]
    assert "did you mean chat?" in found[1]
    assert "did you mean replicas?" in found[2]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for path, words in [(tmp_path / "none.toml", "No such file"), (tmp_path, "directory")]:
        settings = Settings.model_validate({"models_file": path})
        with pytest.raises(ConfigError, match=rf"MODELS_FILE={path} cannot be read: .*{words}"):
            build_specs(settings, demo_set=True)
    (tmp_path / "latin").write_bytes(b"# caf\xe9\n")
    with pytest.raises(ConfigError, match="is not UTF-8: byte 5"):
        build_specs(Settings.model_validate({"models_file": tmp_path / "latin"}), demo_set=True)


def test_two_models_of_one_repository_are_told_apart_by_their_keys() -> None:
    twice = EMBEDDER + EMBEDDER.replace("[embedder]", "[second]") + 'revision = "v2"\n'
    assert {"embedder", "second"} < set(specs(twice))


def test_the_example_in_the_operations_guide_is_right() -> None:
    guide = (Path(__file__).parents[2] / "doc" / "operations.md").read_text()
    example = guide.partition("```toml\n")[2].partition("```")[0]
    found = specs(example)
    assert list(found)[3:] == ["small", "embedder", "canary-de", "meetings"]
    assert {spec.kind for spec in found.values()} == set(Kind)
