"""What is in the cache, told without a network; what is removed, and what is not."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from backend.app.errors import Conflict, InvalidRequest, NotFound
from backend.app.hub import patterns
from backend.app.hub.files import HubFiles
from backend.app.hub.snapshot import FilesState
from backend.app.workers.hub_layout import (
    BadName,
    Entry,
    Manifest,
    RepoDir,
    Want,
    folder_name,
    repo_name,
)
from tests.fakes.hub.process import FakeHub, fake_hub
from tests.support.hub import Desk, children, run, until

COMMIT = "0123456789" * 4
REPO = "org/chat"
FILES = {"config.json": b"{}", "sub/tokenizer.json": b"{}", "model.safetensors": b"w" * 1000}


@pytest.fixture(scope="module")
def one_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeHub]:
    with fake_hub(tmp_path_factory.mktemp("hub")) as hub:
        yield hub


@pytest.fixture
def desk(one_hub: FakeHub, tmp_path: Path) -> Desk:
    one_hub.set(faults=[], forget=True)
    return Desk(one_hub, tmp_path / "cache")


def place(desk: Desk, *, manifest: bool = True, ref: bool = True) -> RepoDir:
    """A repository as a download leaves it, or as another tool does, without our manifest."""
    directory = desk.repo(REPO)
    entries = [Entry(name, len(data), f"etag{n}") for n, (name, data) in enumerate(FILES.items())]
    directory.blobs.mkdir(parents=True)
    for entry in entries:
        directory.blob(entry).write_bytes(FILES[entry.path])
        directory.link(COMMIT, entry)
    if manifest:
        directory.keep(Manifest(REPO, COMMIT, tuple(entries)))
    if ref:
        directory.point(None, COMMIT)
    return directory


def chat(desk: Desk) -> HubFiles:
    return desk.manager.artifacts(patterns.chat(REPO))


def test_names_of_folders_and_back() -> None:
    for repo in ("Qwen/Qwen3-VL-30B-A3B-Instruct", "gpt2", "a/b.c_d-e"):
        assert repo_name(folder_name(repo)) == repo
    for folder in ("datasets--a--b", "models--..--b", "models--a--b--c", "models--", "blobs"):
        assert repo_name(folder) is None


def test_complete_is_every_file_at_its_size_and_nothing_less(desk: Desk) -> None:
    directory = place(desk)
    files = chat(desk)
    assert files.path() == str(directory.snapshot(COMMIT))
    for name in FILES:
        link = directory.snapshot(COMMIT) / name
        target = os.readlink(link)
        link.unlink()
        assert files.path() is None, f"{name} was removed"
        assert files.status().state is FilesState.PARTIAL
        link.symlink_to(target)
        assert files.path() is not None, f"{name} is back"
    blob = (directory.snapshot(COMMIT) / "model.safetensors").resolve()
    blob.unlink()
    assert files.path() is None
    blob.write_bytes(b"w" * 999)
    assert files.path() is None
    assert files.status().bytes == 1003
    assert files.status().total_bytes == 1004
    blob.write_bytes(b"w" * 1000)
    assert chat(desk).path() is not None


def test_all_of_it_gone_or_only_the_ref(desk: Desk) -> None:
    directory = place(desk)
    files = chat(desk)
    assert files.path()
    (directory.root / "refs" / "main").unlink()
    assert files.path() is None
    directory.point(None, COMMIT)
    assert files.path()
    directory.root.rename(directory.root.with_name("elsewhere"))
    assert files.path() is None
    assert not files.has_any()
    assert files.status().state is FilesState.NONE


def test_at_least_one_file_is_not_all(desk: Desk) -> None:
    directory = desk.repo(REPO)
    files = chat(desk)
    directory.partials.mkdir(parents=True)
    (directory.partials / "etag").write_bytes(b"half")
    directory.blobs.mkdir()
    (directory.blobs / "etag.0123.incomplete").write_bytes(b"half")
    assert not files.has_any()
    (directory.blobs / "etag").write_bytes(b"whole")
    assert files.has_any()
    assert files.path() is None


def test_files_that_no_model_needs_do_not_matter(desk: Desk) -> None:
    directory = place(desk)
    manifest = directory.manifest(COMMIT)
    assert manifest is not None
    readme = Entry("README.md", 77, "etag9")
    directory.keep(Manifest(REPO, COMMIT, (*manifest.files, readme)))
    assert chat(desk).path() is not None
    assert desk.files(REPO).path() is None, "whoever wants all of it lacks one"


def test_a_damaged_manifest_is_no_manifest(desk: Desk) -> None:
    directory = place(desk)
    (directory.manifests / f"{COMMIT}.json").write_text("{")
    assert chat(desk).path() is not None, "then it is judged like another tool's"


# ---- caches that other tools made ---------------------------------------------------------------


def test_a_cache_brought_from_elsewhere_is_whole_as_far_as_one_can_see(desk: Desk) -> None:
    directory = place(desk, manifest=False)
    files = chat(desk)
    assert files.path() is not None
    assert files.status().total_bytes is None
    (directory.snapshot(COMMIT) / "model.safetensors").resolve().unlink()
    assert files.path() is None, "a link that leads nowhere"
    assert files.status().state is FilesState.PARTIAL


@pytest.mark.parametrize("flaw", ["weights", "shard", "incomplete"])
def test_a_cache_from_elsewhere_with_a_hole(desk: Desk, flaw: str) -> None:
    directory = place(desk, manifest=False)
    snapshot = directory.snapshot(COMMIT)
    if flaw == "weights":
        (snapshot / "model.safetensors").unlink()
    elif flaw == "incomplete":
        (directory.blobs / "e.12345678.incomplete").write_bytes(b"")
    else:
        index = {"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}
        (snapshot / "model.safetensors.index.json").write_text(json.dumps(index))
    assert chat(desk).path() is None
    assert chat(desk).status().state is FilesState.PARTIAL


def test_what_huggingface_hub_downloaded_is_judged_by_its_own_list(desk: Desk) -> None:
    desk.hub.add(REPO, {name: bytes(data) for name, data in FILES.items()})
    program = "import sys; from huggingface_hub import snapshot_download as s; s(*sys.argv[1:])"
    env = {**os.environ, "HF_ENDPOINT": desk.hub.url, "HF_HUB_CACHE": str(desk.cache)}
    command = [sys.executable, "-c", program, REPO]
    subprocess.run(command, env=env, check=True, capture_output=True)
    files = chat(desk)
    status = files.status()
    assert (status.state, status.bytes, status.total_bytes) == (FilesState.COMPLETE, 1004, 1004)
    path = files.path()

    async def body() -> None:
        desk.hub.set(forget=True)
        await desk.fetch(files)
        assert not desk.hub.seen("/resolve/"), "taken over as it is"
        assert files.path() == path

    run(body)
    (Path(str(path)) / "sub/tokenizer.json").unlink()
    assert files.path() is None


# ---- listing and deleting -----------------------------------------------------------------------


def test_the_inventory_names_what_is_there(desk: Desk) -> None:
    directory = place(desk)
    (desk.cache / "models--other--one" / "blobs").mkdir(parents=True)
    (desk.cache / "models--other--one" / "blobs" / "x").write_bytes(bytes(10_000))
    (desk.cache / "datasets--a--b").mkdir()
    (desk.cache / "notes.txt").write_text("")
    chat(desk)
    chatty, other = desk.manager.inventory()
    assert (chatty.repo, chatty.state, chatty.files) == (REPO, FilesState.COMPLETE, 3)
    assert (chatty.revision, chatty.refs) == (COMMIT, {"main": COMMIT})
    assert chatty.bytes >= 1004
    assert chatty.changed_at == pytest.approx(directory.blobs.stat().st_mtime, abs=5)
    assert (other.repo, other.state, other.revision) == ("other/one", FilesState.NONE, None)
    assert other.bytes >= 10_000


def test_deleting_frees_what_it_says(desk: Desk) -> None:
    directory = place(desk)
    files = chat(desk)
    size = desk.manager.inventory()[0].bytes
    (desk.cache / ".trash-old").mkdir()

    async def body() -> None:
        assert await desk.manager.delete(REPO) == size
        assert not directory.root.exists()
        assert files.path() is None
        assert sorted(os.listdir(desk.cache)) == [".locks"]
        with pytest.raises(NotFound):
            await desk.manager.delete(REPO)

    run(body)


@pytest.mark.parametrize(
    "repo",
    ["../outside", "org/..", "..", "/etc", "org/a/b", "", "org/", ".locks", "org--x/y", "a\\b"],
)
def test_a_name_that_is_none_is_refused(desk: Desk, repo: str) -> None:
    outside = desk.cache.parent / "outside"
    outside.mkdir()

    async def body() -> None:
        with pytest.raises((InvalidRequest, NotFound)):
            await desk.manager.delete(repo)
        assert outside.is_dir()

    run(body)


def test_a_link_out_of_the_cache_is_not_followed(desk: Desk) -> None:
    outside = desk.cache.parent / "precious"
    (outside / "blobs").mkdir(parents=True)
    (desk.cache / "models--org--link").symlink_to(outside)
    directory = place(desk)
    (directory.root / "more").symlink_to(outside)

    async def body() -> None:
        with pytest.raises(Conflict, match="leads out"):
            await desk.manager.delete("org/link")
        await desk.manager.delete(REPO)
        assert (outside / "blobs").is_dir()

    run(body)


def test_what_is_being_downloaded_is_not_deleted(desk: Desk) -> None:
    """Neither when this gateway does it, nor when another process does."""
    desk.hub.add(REPO, {name: bytes(data) for name, data in FILES.items()})

    async def body() -> None:
        desk.hub.fault("/storage/", "stall")
        fetch = asyncio.ensure_future(desk.fetch(chat(desk)))
        await until(lambda: desk.hub.seen("/storage/"), "the download")
        other = Desk(desk.hub, desk.cache)
        for manager in (desk.manager, other.manager):
            with pytest.raises(Conflict, match="download"):
                await manager.delete(REPO)
        fetch.cancel()
        await asyncio.wait({fetch})
        assert children() == []
        await desk.manager.delete(REPO)

    run(body)


def rested(desk: Desk) -> HubFiles:
    """Complete files whose last look still holds: nothing has changed for long."""
    place(desk)
    for base, folders, _ in os.walk(desk.cache):
        for name in (base, *(os.path.join(base, f) for f in folders)):
            os.utime(name, (1_000_000_000, 1_000_000_000))
    files = chat(desk)
    assert files.path() is not None
    return files


def test_looking_is_cheap(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the directories have rested, a look reads none of them again."""
    files = rested(desk)

    def refuse(*_: Any) -> None:
        raise AssertionError("it looked again")

    monkeypatch.setattr("backend.app.hub.files.status_of", refuse)
    assert files.path() is not None


@pytest.mark.parametrize("what", ["blob", "link", "nested link", "ref", "manifest and link"])
def test_what_changes_behind_our_back_shows_at_the_next_look(desk: Desk, what: str) -> None:
    files = rested(desk)
    directory = desk.repo(REPO)
    link = directory.snapshot(COMMIT) / "model.safetensors"
    victim = {
        "blob": link.resolve(),
        "link": link,
        "nested link": directory.snapshot(COMMIT) / "sub/tokenizer.json",
        "ref": directory.root / "refs" / "main",
        "manifest and link": directory.manifests / f"{COMMIT}.json",
    }[what]
    victim.unlink()
    if what == "manifest and link":
        assert files.path() is not None, "judged like another tool's"
        link.unlink()
    assert files.path() is None


def test_a_new_list_of_files_counts_at_once(desk: Desk) -> None:
    files = rested(desk)
    directory = desk.repo(REPO)
    manifest = directory.manifest(COMMIT)
    assert manifest is not None
    directory.keep(Manifest(REPO, COMMIT, (*manifest.files, Entry("more.json", 1, "etag9"))))
    assert files.path() is None


def test_a_change_of_size_in_place_shows_in_the_end(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = rested(desk)
    blob = (desk.repo(REPO).snapshot(COMMIT) / "model.safetensors").resolve()
    blob.write_bytes(b"short")
    monkeypatch.setattr("backend.app.hub.files.RECHECK_S", 0)
    assert files.path() is None


def test_what_cannot_be_looked_at_is_not_there_and_breaks_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = place(desk)
    manifest = directory.manifest(COMMIT)
    assert manifest is not None
    directory.keep(
        Manifest(REPO, COMMIT, (*manifest.files, Entry("sub/../../out.json", 2, "etag7")))
    )
    assert chat(desk).path() is None, "a list that names a file outside"
    directory.keep(manifest)
    files = chat(desk)
    with monkeypatch.context() as broken:

        def refuses(*_: object) -> None:
            raise PermissionError(13, "Permission denied")

        broken.setattr("backend.app.hub.files.status_of", refuses)
        assert files.path() is None
    assert chat(desk).path() is not None


@pytest.mark.parametrize(
    ("repo", "revision"), [("org/x--y", None), ("a/../b", None), ("o/n", "/a"), ("o/n", "../x")]
)
def test_nobody_can_want_what_fits_no_path(repo: str, revision: str | None) -> None:
    with pytest.raises(BadName):
        Want(repo, revision)
    line = msgspec.json.encode({"repo": repo, "revision": revision})
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(line, type=Want)
