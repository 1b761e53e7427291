"""A disk that does not answer, like a network's that is away: the gateway goes on without it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backend.app.errors import Unavailable
from backend.app.hub import disk as disk_of_models
from backend.app.hub.disk import on_disk
from backend.app.hub.local import LocalFiles
from backend.app.models import on_disk as eyes
from backend.app.models import placer
from backend.app.models.base import BaseModelWrapper
from backend.app.models.state import State
from tests.support.machines import Machine
from tests.support.models import fake_model, fake_models


def run(body: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(body(), 60))


class Disk(LocalFiles):
    """Hangs while `silent` says so."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._answers = threading.Event()
        self._answers.set()
        self.looks = 0

    @contextlib.contextmanager
    def silent(self) -> Iterator[None]:
        self._answers.clear()
        try:
            yield
        finally:
            self._answers.set()

    def has_any(self) -> bool:
        self.looks += 1
        assert self._answers.wait(60)
        return super().has_any()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eyes, "LOOK_S", 0.5)
    monkeypatch.setattr(eyes, "STALE_LOOK_S", 0.05)
    monkeypatch.setattr(eyes, "PATIENT_S", 5)
    monkeypatch.setattr(eyes, "HOLDS_S", 0.2)


async def on(disk: Disk, model: BaseModelWrapper) -> None:
    model.artifacts = disk
    await model.files.look(patient=True)
    assert model.files.files == "complete"


def test_a_model_serves_on_and_is_shown_as_it_was(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def body() -> None:
        async with fake_model(tmp_path) as model:
            disk = Disk(str(tmp_path / "model"))
            await on(disk, model)
            await model.settled(model.load(), 20)
            with disk.silent():
                await model.files.look()
                looks = disk.looks
                for _ in range(5):
                    await model.files.look()
                    async with model.lease():
                        shown = model.snapshot()
                    assert shown["state"] == "ready"
                    assert shown["runtime"]["files"] == "complete"
                    assert shown["runtime"]["files_stale"] is True
                assert disk.looks == looks, "no second look joins the one that hangs"
                await model.settled(model.unload(), 20)
                assert model.state is State.IDLE
                assert caplog.text.count("the disk of its files does not answer") == 1
            assert await model.until(lambda: not model.files.stale, 20)

    with caplog.at_level("WARNING"):
        run(body)


def test_nothing_is_downloaded_because_a_disk_was_silent(tmp_path: Path) -> None:
    """A first look that does not come back says nothing about what is there."""

    async def body() -> None:
        async with fake_model(tmp_path) as model:
            disk = Disk(str(tmp_path / "model"))
            with disk.silent():
                model.artifacts, model.files = disk, eyes.OnDisk(model)
                await model.settled(model.load(), 20)
                assert model.failure is not None
                assert model.failure.code == "disk_silent"
            assert not [a for a in model.runtime.timeline if a.action == "downloading"]
            await model.settled(model.load(), 20)
            assert model.state is State.READY

    run(body)


def test_a_slow_disk_is_waited_for_before_a_load(tmp_path: Path) -> None:
    async def body() -> None:
        async with fake_model(tmp_path) as model:
            disk = Disk(str(tmp_path / "model"))
            with disk.silent():
                model.artifacts, model.files = disk, eyes.OnDisk(model)
                await model.files.look()
                assert model.files.stale
                goal = model.load()
                await model.until(lambda: disk.looks > 0, 20)
            await model.settled(goal, 20)
            assert model.state is State.READY

    run(body)


def test_what_went_while_the_disk_was_away_shows_once_it_is_back(tmp_path: Path) -> None:
    async def body() -> None:
        async with fake_model(tmp_path) as model:
            disk = Disk(str(tmp_path / "model"))
            await on(disk, model)
            with disk.silent():
                await model.files.look()
                (tmp_path / "model" / "config.json").unlink()
                assert model.state is State.IDLE
            assert await model.until(lambda: model.state is State.ABSENT, 20), "without being asked"
            assert model.runtime.timeline[-1].action == "files"
            assert model.runtime.timeline[-1].detail == "none"

    run(body)


def test_another_source_is_looked_at_though_the_first_hangs(tmp_path: Path) -> None:
    """And what was seen of the first one is not taken for it."""

    async def body() -> None:
        async with fake_model(tmp_path) as model:
            first = Disk(str(tmp_path / "model"))
            await on(first, model)
            with first.silent():
                await model.files.look()
                second = tmp_path / "second"
                spec = replace(model.spec, source=str(second))
                model.configuration.take_on(spec, LocalFiles(str(second)))
                await model.settled(model.load(), 20)
                assert model.failure is not None
                assert "second" in model.failure.reason
                (tmp_path / "model").rename(second)
                await model.settled(model.load(), 20)
                assert model.state is State.READY
                assert model.model_path == str(second)

    run(body)


def test_the_disk_of_one_model_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opening a pipe that nobody writes to blocks."""
    monkeypatch.setattr(placer, "OTHERS_S", 0.1)
    machine = Machine(tmp_path, 1)
    small = {"weights": 1 << 30}

    async def body() -> None:
        models = {"qwen": small, "other": small}
        async with fake_models(tmp_path, models, read=machine.read) as registry:
            config = tmp_path / "model" / "config.json"
            config.unlink()
            os.mkfifo(config)
            other = registry.get("other")
            await other.settled(other.load(), 20)
            assert other.state is State.READY

    run(body)


def test_what_changes_during_a_look_is_looked_at_again(tmp_path: Path) -> None:
    async def body() -> None:
        async with fake_model(tmp_path) as model:
            disk = Disk(str(tmp_path / "model"))
            await on(disk, model)
            seeing, looks = eyes.OnDisk(model), disk.looks
            with disk.silent():
                looking = asyncio.ensure_future(seeing.look())
                while disk.looks == looks:  # noqa: ASYNC110 - a thread does it
                    await asyncio.sleep(0)
                seeing.forget()
            await looking
            assert seeing.files == "complete"
            assert seeing.due_s <= 0

    run(body)


def test_a_look_begins_after_it_was_asked_for(tmp_path: Path) -> None:
    """Whoever joined the look that is under way might be told of files that just went."""

    async def body() -> None:
        async with fake_model(tmp_path) as model:
            disk = Disk(str(tmp_path / "model"))
            await on(disk, model)
            with disk.silent():
                first = asyncio.ensure_future(model.files.look())
                await asyncio.sleep(0)
            looks = disk.looks
            await asyncio.gather(first, *(model.files.look() for _ in range(20)))
            assert 1 <= disk.looks - looks <= 6, "one for all who asked, and each new one"

    run(body)


def test_who_needs_the_disk_is_told_that_it_does_not_answer() -> None:
    async def body() -> None:
        answer = threading.Event()
        with pytest.raises(Unavailable, match=r"did not answer within 0\.05 s") as told:
            await on_disk(lambda: answer.wait(60), 0.05)
        answer.set()
        assert (told.value.code, told.value.status) == ("disk_silent", 503)
        with pytest.raises(ValueError, match="invalid literal"):
            await on_disk(lambda: int("x"))
        assert await on_disk(lambda: 7) == 7

    run(body)


def test_a_disk_that_hangs_takes_only_so_many_threads() -> None:
    async def body() -> None:
        answer = threading.Event()
        for _ in range(disk_of_models.MOST_AT_ONCE):
            with pytest.raises(Unavailable, match="within"):
                await on_disk(lambda: answer.wait(60), 0)
        with pytest.raises(Unavailable, match="those who asked before"):
            await on_disk(lambda: answer.wait(60), 0)
        answer.set()
        while True:  # until the first of the threads has ended
            with contextlib.suppress(Unavailable):
                assert await on_disk(lambda: 7) == 7
                return
            await asyncio.sleep(0)

    run(body)


def test_a_disk_that_hangs_holds_up_no_exit() -> None:
    code = """
import asyncio, threading
from backend.app.errors import Unavailable
from backend.app.hub.disk import on_disk

async def body():
    for _ in range(40):  # more than asyncio has threads
        try:
            await on_disk(threading.Event().wait, 0.01)
        except Unavailable:
            pass
    return await asyncio.to_thread(lambda: "and nobody else is kept waiting")

print(asyncio.run(body()))
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert ended.stdout == "and nobody else is kept waiting\n"
    assert ended.stderr == ""
