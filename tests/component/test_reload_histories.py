"""Any history of configurations leaves the gateway as the last good one says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.app import logs
from backend.app.api.deps import Gateway
from backend.app.config import ConfigError, Settings
from backend.app.main import create_app
from backend.app.models.base import BaseModelWrapper
from backend.app.models.spec import ModelSpec
from tests.support.properties import cases

Tables = dict[str, dict[str, Any]]

FIELDS = st.fixed_dictionaries(
    {"kind": st.sampled_from(["chat", "embedding"])},
    optional={
        "aliases": st.lists(st.sampled_from(["x", "y", "z"]), max_size=2, unique=True),
        "max_queue": st.integers(0, 3),
        "idle_unload_s": st.sampled_from([0.0, 60.0]),
        "engine_args": st.sampled_from(["", "--a"]),
        "gpu_ids": st.sampled_from([[], [1]]),
    },
)
HISTORIES = st.lists(
    st.tuples(st.dictionaries(st.sampled_from(["a", "b", "c"]), FIELDS), st.booleans()),
    min_size=1,
    max_size=6,
)
FIRST = {"qwen", "canary", "pyannote"}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("histories")
    (directory / "models.toml").write_text("")
    given = {
        "model_set": "demo",
        "model_cache_dir": directory,
        "log_dir": directory,
        "models_file": directory / "models.toml",
    }
    log_setup = logs.setup(Settings.model_validate(given))
    yield create_app(Settings.model_validate(given), log_setup).state.gateway
    log_setup.close()


def toml(tables: Tables, source: Path) -> str:
    lines = []
    for key, fields in tables.items():
        lines += [f"[{key}]", f'model = "{source}"']
        lines += [f"{name} = {json.dumps(value)}" for name, value in fields.items()]
    return "\n".join(lines)


@cases(60, deep=1000)
@given(history=HISTORIES)
def test_any_history(gateway: Gateway, history: list[tuple[Tables, bool]]) -> None:
    """Nothing is loaded, so all that is configured must be in force at once."""
    asyncio.run(_follow(gateway, [*history, ({}, False)]))


async def _follow(gateway: Gateway, history: list[tuple[Tables, bool]]) -> None:
    registry, file = gateway.registry, gateway.settings.models_file
    assert file is not None
    good: Tables = {}
    for tables, restart in history:
        before = registry.serving
        file.write_text(toml(tables, file.parent))
        try:
            answer = await gateway.reloader.reload(restart=restart, wait_s=10)
        except ConfigError:  # two claim one name
            expected = dict.fromkeys(FIRST | good.keys(), "unchanged")
        else:
            expected = _expected(good, tables)
            assert {c.key: c.change for c in answer} == expected
            good = tables
        served = registry.serving
        assert registry.models.keys() == served.keys() == FIRST | good.keys()
        for key, fields in good.items():
            found = served[key].spec
            wanted = (fields["kind"], *fields.get("aliases", ()))
            assert (found.kind.value, *found.aliases) == wanted
            assert (
                found.max_queue == served[key].admission.max_queue == fields.get("max_queue", 256)
            )
            assert list(served[key].preferred_device_ids) == fields.get("gpu_ids", [])
            assert not served[key].configuration.waiting
            assert all(registry.resolve(name) is served[key] for name in found.names)
        assert len(registry.names()) == sum(len(m.spec.names) for m in served.values())
        for key in before.keys() & served.keys():
            kept = expected[key] in {"changed", "unchanged"}
            assert (before[key] is served[key]) == kept


def _expected(old: Tables, new: Tables) -> dict[str, str]:
    found = dict.fromkeys(FIRST, "unchanged")
    for key in old.keys() | new.keys():
        if key not in new:
            found[key] = "removed"
        elif key not in old:
            found[key] = "added"
        elif old[key]["kind"] != new[key]["kind"]:
            found[key] = "replaced"
        else:
            found[key] = "unchanged" if _full(old[key]) == _full(new[key]) else "changed"
    return found


def _full(fields: dict[str, Any]) -> dict[str, Any]:
    plain = {"aliases": [], "max_queue": 256, "idle_unload_s": 0, "engine_args": "", "gpu_ids": []}
    return plain | fields


def test_repositories_come_and_go_with_their_models(gateway: Gateway) -> None:
    file = gateway.settings.models_file
    assert file is not None
    table = '[e]\nkind = "embedding"\nmodel = "org/one"\n'

    async def follow() -> None:
        for text, repositories in [
            (table, ["org/one"]),
            (table + 'revision = "v2"\n', ["org/one"]),
            (table.replace("one", "two"), ["org/two"]),
            ("", []),
        ]:
            file.write_text(text)
            await gateway.reloader.reload(wait_s=10)
            assert gateway.hub.repositories() == repositories

    asyncio.run(follow())


def test_nothing_changes_when_one_of_the_new_models_cannot_be_made(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = gateway.settings.models_file
    assert file is not None
    make = gateway.reloader._make

    def breaks(spec: ModelSpec) -> BaseModelWrapper:
        if spec.key == "bad":
            raise RuntimeError("no such engine")
        return make(spec)

    def table(key: str, repo: str) -> str:
        return f'[{key}]\nkind = "embedding"\nmodel = "org/{repo}"\n'

    async def follow() -> None:
        file.write_text(table("e", "one"))
        await gateway.reloader.reload(wait_s=10)
        before = gateway.registry.serving
        monkeypatch.setattr(gateway.reloader, "_make", breaks)
        file.write_text(table("e", "two") + table("f", "three") + table("bad", "four"))
        with pytest.raises(RuntimeError, match="no such engine"):
            await gateway.reloader.reload(wait_s=10)
        assert gateway.registry.serving == before
        assert before["e"].configuration.wanted.source == "org/one"
        assert gateway.hub.repositories() == ["org/one"]
        monkeypatch.undo()
        file.write_text("")
        await gateway.reloader.reload(wait_s=10)

    asyncio.run(follow())


@pytest.mark.parametrize("line", ['revision = "../../x"', 'model = "org/x--y"'])
def test_a_name_that_fits_no_path_is_refused_and_harms_nothing(gateway: Gateway, line: str) -> None:
    file = gateway.settings.models_file
    assert file is not None

    async def follow() -> None:
        fields = {"kind": '"embedding"', "model": '"org/one"'}
        fields |= dict([line.split(" = ")])
        file.write_text("[e]\n" + "\n".join(f"{k} = {v}" for k, v in fields.items()))
        with pytest.raises(ConfigError, match=r"models\.toml:\d: \[e\] (revision|model): "):
            await gateway.reloader.reload(wait_s=10)
        assert gateway.registry.serving.keys() == FIRST
        assert gateway.registry.status().keys() == FIRST

    asyncio.run(follow())
