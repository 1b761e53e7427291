"""Downloads from a fake Hub by the real huggingface_hub: what arrives, and how it is resumed."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from backend.app.hub import patterns
from backend.app.hub.snapshot import FilesState
from tests.fakes.hub.process import FakeHub, fake_hub
from tests.support.hub import CHAT, QUICK, WEIGHTS, Desk, children, run, until
from tests.support.loops import LOOPS, run_clean

SIZE = 3_000_000
PATIENT = msgspec.structs.replace(QUICK, stall_s=60)


@pytest.fixture(scope="module")
def one_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeHub]:
    with fake_hub(tmp_path_factory.mktemp("hub")) as hub:
        yield hub


@pytest.fixture
def hub(one_hub: FakeHub) -> FakeHub:
    one_hub.set(faults=[], forget=True)
    one_hub.add("org/chat", CHAT)
    return one_hub


@pytest.fixture
def desk(hub: FakeHub, tmp_path: Path) -> Desk:
    return Desk(hub, tmp_path / "cache")


def test_a_download_leaves_what_the_model_needs_in_the_hubs_own_layout(desk: Desk) -> None:
    desk.hub.add("org/whole", {**CHAT, "README.md": "no", "original/a.safetensors": 100})

    async def body() -> None:
        files = desk.manager.artifacts(patterns.chat("org/whole"))
        assert not files.has_any()
        assert files.path() is None
        assert files.status().state is FilesState.NONE
        await desk.fetch(files)
        assert files.has_any()
        status = files.status()
        assert status.state is FilesState.COMPLETE
        assert status.bytes == status.total_bytes == SIZE + 14
        path = Path(str(files.path()))
        assert path.parent.name == "snapshots"
        assert sorted(os.listdir(path)) == sorted(CHAT)
        assert not (path / WEIGHTS).readlink().is_absolute()
        original = (desk.hub.root / "org/whole" / WEIGHTS).read_bytes()
        assert (path / WEIGHTS).read_bytes() == original
        assert (path / WEIGHTS).resolve().name == hashlib.sha256(original).hexdigest()
        assert desk.partials("org/whole") == {}

    run(body)


def test_huggingface_hub_itself_finds_the_files_offline(desk: Desk) -> None:
    program = """
import json, sys
from huggingface_hub import hf_hub_download, snapshot_download, scan_cache_dir
repo, cache = sys.argv[1:]
info = scan_cache_dir(cache)
print(json.dumps([
    snapshot_download(repo, cache_dir=cache),
    hf_hub_download(repo, "config.json", cache_dir=cache),
    [r.repo_id for r in info.repos], [str(w) for w in info.warnings], info.size_on_disk,
]))
"""

    async def body() -> None:
        files = desk.files("org/chat")
        await desk.fetch(files)
        env = {**os.environ, "HF_HUB_OFFLINE": "1"}
        command = [sys.executable, "-c", program, "org/chat", str(desk.cache)]
        printed = await asyncio.to_thread(subprocess.check_output, command, env=env)
        snapshot, config, repos, warnings, size = json.loads(printed)
        assert snapshot == files.path()
        assert Path(config).parent == Path(snapshot)
        assert (repos, warnings, size) == (["org/chat"], [], SIZE + 14)

    run(body)


def test_a_repository_of_another_kind_is_refused_before_anything_is_fetched(desk: Desk) -> None:
    desk.hub.add("org/bin", {"config.json": "{}", "pytorch_model.bin": 1000})

    async def body() -> None:
        failure = await desk.failure(desk.manager.artifacts(patterns.chat("org/bin")))
        assert failure.code == "nothing_to_load"
        assert "*.safetensors" in failure.message
        assert not desk.hub.seen("/resolve/")

    run(body)


@pytest.mark.parametrize("how", ["cancelled", "killed"])
def test_a_download_that_ended_inside_a_file_goes_on_from_there(desk: Desk, how: str) -> None:
    cut = 2_000_000

    async def body() -> None:
        patient = Desk(desk.hub, desk.cache, limits=PATIENT)
        desk.hub.fault(f"/storage/org/chat//{WEIGHTS}", "stall", after=cut)
        files = patient.files("org/chat")
        fetch = asyncio.ensure_future(patient.fetch(files))
        total = SIZE + 14
        await until(lambda: patient.said and patient.said[-1].done >= cut, "the stall")
        shown = patient.said[-1]
        assert (shown.action, shown.total) == ("downloading", total)
        if how == "cancelled":
            fetch.cancel()
            await asyncio.wait({fetch}, timeout=5)  # half of what a child may take to die
            assert fetch.cancelled()
        else:
            children()[0].send_signal(signal.SIGKILL)
            with pytest.raises(Exception, match="ended unexpectedly"):
                await fetch
        assert children() == []
        assert list(desk.partials("org/chat").values()) == [cut]
        status = files.status()
        assert (status.state, status.bytes, status.total_bytes) == (
            FilesState.PARTIAL,
            cut + 14,
            total,
        )
        assert files.path() is None

        desk.hub.set(faults=[], forget=True)
        await desk.fetch(desk.files("org/chat"))
        again = desk.hub.seen("/storage/")
        assert [(s["range"], s["sent"]) for s in again] == [(f"bytes={cut}-", SIZE - cut)]
        assert not desk.hub.seen("tokenizer.json"), "finished files are kept"
        assert files.status().state is FilesState.COMPLETE

    run(body)


def test_what_is_shown_is_what_is_on_the_disk(desk: Desk) -> None:
    """At a stall exactly; on the way never more than the disk holds when one looks."""
    cut = 2_500_000

    async def body() -> None:
        patient = Desk(desk.hub, desk.cache, limits=PATIENT)
        directory = desk.repo("org/chat")

        def on_disk() -> int:
            paths = [*directory.blobs.glob("*"), *directory.partials.glob("*")]
            return sum(path.stat().st_size for path in paths)

        desk.hub.fault(f"/storage/org/chat//{WEIGHTS}", "slow", rate=4e6, after=0)
        ahead: list[int] = []
        files = patient.files("org/chat")
        await files.fetch(lambda t: ahead.append(t.done - on_disk()))
        assert len(ahead) > 2
        assert max(ahead) <= 0

        (directory.snapshot(str(files.status().commit)) / WEIGHTS).resolve().unlink()
        orphan = directory.blobs / "0123.4567.incomplete"
        orphan.write_bytes(bytes(10_000))
        desk.hub.fault(f"/storage/org/chat//{WEIGHTS}", "stall", after=cut)
        fetch = asyncio.ensure_future(patient.fetch(files))
        await until(lambda: patient.said and patient.said[-1].done >= cut, "the stall")
        assert patient.said[-1].done == on_disk() - 10_000, "an orphan is no progress"
        assert patient.said[-1].file == WEIGHTS
        assert patient.said[-1].file_done == cut
        fetch.cancel()
        await asyncio.wait({fetch})

    run(body)


def test_two_at_once_share_one_download(desk: Desk) -> None:
    """Two who want one model here; and two gateways on one cache."""

    async def body() -> None:
        desk.hub.fault("/storage/", "stall", after=1000)
        ours, other = (Desk(desk.hub, desk.cache, limits=PATIENT) for _ in range(2))
        files, theirs = ours.files("org/chat"), other.files("org/chat")
        first = asyncio.ensure_future(files.fetch(lambda t: None))
        second = asyncio.ensure_future(ours.fetch(ours.files("org/chat")))
        await until(lambda: desk.repo("org/chat").partials.is_dir(), "the first to begin")
        third = asyncio.ensure_future(other.fetch(theirs))
        await until(lambda: other.said and other.said[-1].action == "waiting", "the wait")
        assert "another process" in other.said[-1].note
        assert len(children()) == 2, "one for the two here, one for the other gateway"
        first.cancel()
        await asyncio.wait({first})
        assert first.cancelled()
        desk.hub.set(faults=[])
        await asyncio.gather(second, third)
        assert [s["status"] for s in desk.hub.seen("/storage/")] == [200]
        assert theirs.status().state is FilesState.COMPLETE
        assert ours.said

    run(body)


def test_two_who_want_other_files_of_one_repository_each_get_theirs(desk: Desk) -> None:
    desk.hub.add("org/both", CHAT | {"asr.nemo": 40_000})

    async def body() -> None:
        chat = desk.manager.artifacts(patterns.chat("org/both"))
        asr = desk.manager.artifacts(patterns.nemo("org/both"))
        await asyncio.gather(desk.fetch(chat), desk.fetch(asr))
        for files in (chat, asr):
            assert files.path() is not None
            assert files.status().state is FilesState.COMPLETE

    run(body)


def test_a_download_of_a_complete_model_verifies_and_repairs(desk: Desk) -> None:
    async def body() -> None:
        files = desk.files("org/chat")
        await desk.fetch(files)
        weights = Path(str(files.path())) / WEIGHTS
        good = weights.read_bytes()
        desk.hub.set(forget=True)
        await desk.fetch(files)
        assert not desk.hub.seen("/resolve/"), "nothing was wrong"
        assert desk.said[-1].action == "verifying"

        weights.resolve().write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
        assert files.path() is not None, "the right size is all that a look can tell"
        await desk.fetch(files)
        assert weights.read_bytes() == good
        assert [s["sent"] for s in desk.hub.seen("/storage/")] == [SIZE]

    run(body)


def test_files_with_the_same_contents_are_fetched_once(desk: Desk) -> None:
    twins = {f"part-{n}.safetensors": b"same" * 100_000 for n in range(4)}
    desk.hub.add("org/twins", {"config.json": "{}", **twins})

    async def body() -> None:
        files = desk.files("org/twins")
        await desk.fetch(files)
        assert files.status().state is FilesState.COMPLETE
        assert len(desk.hub.seen("/storage/")) == 1

    run(body)


def test_a_new_commit_is_fetched_and_the_old_one_serves_until_then(desk: Desk) -> None:
    async def body() -> None:
        desk.hub.add("org/moves", CHAT)
        files = desk.files("org/moves")
        await desk.fetch(files)
        old = files.path()
        desk.hub.add("org/moves", {"config.json": '{"new": 1}'})
        desk.hub.fault("config.json", "status", status=500)
        assert (await desk.failure(files)).code == "hub_unreachable"
        assert files.path() == old
        desk.hub.set(faults=[], forget=True)
        await desk.fetch(files)
        assert files.path() != old
        assert not desk.hub.seen("/storage/"), "the weights are the same blob"
        pinned = desk.files("org/moves", revision=Path(str(old)).name)
        assert pinned.path() == old

    run(body)


def test_a_tag_is_a_revision_too(desk: Desk) -> None:
    async def body() -> None:
        files = desk.files("org/chat", revision="v1")
        await desk.fetch(files)
        assert files.status().state is FilesState.COMPLETE
        assert desk.files("org/chat").path() is None, "main was not asked for"
        failure = await desk.failure(desk.files("org/chat", revision="v2"))
        assert failure.code == "revision_not_found"
        assert "'v2'" in failure.message

    run(body)


def test_the_token_is_in_no_argument_and_no_environment(hub: FakeHub, tmp_path: Path) -> None:
    token = "hf_secretsecretsecret"
    hub.set(accounts={token: {"name": "someone"}})
    hub.fault(f"/storage/org/chat//{WEIGHTS}", "stall", after=1000)
    desk = Desk(hub, tmp_path / "cache", token=token, limits=PATIENT)

    async def body() -> None:
        fetch = asyncio.ensure_future(desk.fetch(desk.files("org/chat")))
        await until(lambda: hub.seen("/storage/"), "the download")
        child = children()[0]
        for process in (child, *child.parents()[:1]):
            told = [*process.cmdline(), *process.environ().values()]
            assert not [part for part in told if token in part]
        fetch.cancel()
        await asyncio.wait({fetch})
        assert hub.seen("/resolve/")[-1]["authorization"] == f"Bearer {token}"
        assert hub.seen("/storage/")[-1]["authorization"] == "", "not to another origin"

    run(body)


def test_the_download_dies_with_the_gateway(hub: FakeHub, tmp_path: Path) -> None:
    program = """
import asyncio, sys
from pathlib import Path
from tests.fakes.hub.process import FakeHub
from tests.support.hub import Desk, children
async def main():
    desk = Desk(FakeHub(Path("."), sys.argv[1], ""), Path(sys.argv[2]))
    fetch = asyncio.ensure_future(desk.fetch(desk.files("org/chat")))
    while not children():
        await asyncio.sleep(0.01)
    print(children()[0].pid, flush=True)
    await fetch
asyncio.run(main())
"""
    hub.fault(f"/storage/org/chat//{WEIGHTS}", "slow", rate=1000.0)
    command = [sys.executable, "-c", program, hub.url, str(tmp_path / "cache")]
    root = str(Path(__file__).resolve().parents[2])
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as gateway:
        assert gateway.stdout
        child = psutil.Process(int(gateway.stdout.readline()))
        gateway.kill()
    gone, alive = psutil.wait_procs([child], timeout=10)
    assert gone
    assert not alive


@pytest.mark.parametrize("loop", LOOPS)
def test_nothing_is_left_behind_on_either_loop(desk: Desk, loop: str) -> None:
    """After an end of its own, after a failure, after a cancellation: no task, no process."""

    async def body() -> None:
        await desk.fetch(desk.files("org/chat"))
        await desk.failure(desk.files("org/none"))
        desk.hub.add("org/slow", CHAT)
        desk.hub.fault("/storage/org/slow", "stall")
        fetch = asyncio.ensure_future(desk.fetch(desk.files("org/slow")))
        await until(lambda: desk.hub.seen("/storage/org/slow"), "the download")
        fetch.cancel()
        await asyncio.wait({fetch})
        assert children() == []

    run_clean(loop, body)


def test_xet_is_left_to_huggingface_hub(hub: FakeHub, tmp_path: Path) -> None:
    desk = Desk(hub, tmp_path / "cache", xet=True)

    async def body() -> None:
        files = desk.files("org/chat")
        await desk.fetch(files)
        assert files.status().state is FilesState.COMPLETE
        assert hub.seen("model.safetensors", "HEAD"), "hf_hub_download asks first"

    run(body)
