"""Everything a Hub, a network or a disk can do to a download, and what the operator is told."""

from __future__ import annotations

import asyncio
import contextlib
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from backend.app.hub.snapshot import FilesState
from backend.app.workers.hub_layout import Want
from tests.fakes.hub.process import FakeHub, fake_hub
from tests.support.hub import CHAT, QUICK, WEIGHTS, Desk, children, run, until

SIZE = 3_000_000
REPO = "org/chat"
TOKEN = "hf_goodgoodgood"
IN_STORAGE = f"/storage/{REPO}//{WEIGHTS}"


@pytest.fixture(scope="module")
def one_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeHub]:
    with fake_hub(tmp_path_factory.mktemp("hub")) as hub:
        yield hub


@pytest.fixture
def hub(one_hub: FakeHub) -> FakeHub:
    one_hub.set(
        faults=[], forget=True, gated=[], private=[], accounts={}, bare_listing=False, rename={}
    )
    one_hub.add(REPO, CHAT)
    return one_hub


@pytest.fixture
def desk(hub: FakeHub, tmp_path: Path) -> Desk:
    return Desk(hub, tmp_path / "cache")


def complete(desk: Desk) -> None:
    """The download succeeds, and what arrived is what the Hub has."""

    async def body() -> None:
        files = desk.files(REPO)
        await desk.fetch(files)
        assert files.status().state is FilesState.COMPLETE
        got = await asyncio.to_thread((Path(str(files.path())) / WEIGHTS).read_bytes)
        assert got == await asyncio.to_thread((desk.hub.root / REPO / WEIGHTS).read_bytes)
        assert desk.partials(REPO) == {}

    run(body)


def fails(desk: Desk, code: str, *words: str, repo: str = REPO) -> str | None:
    """It fails with this code and says these words; the URL it points to."""
    url: list[str | None] = []

    async def body() -> None:
        files = desk.files(repo)
        failure = await desk.failure(files)
        assert failure.code == code, failure.message
        for word in words:
            assert word in failure.message
        assert "Traceback" not in failure.message
        assert children() == []
        assert files.path() is None
        url.append(failure.url)

    run(body)
    return url[0]


# ---- who may ------------------------------------------------------------------------------------


def test_a_gated_repository_without_a_token(desk: Desk) -> None:
    desk.hub.set(gated=[REPO])
    page = f"{desk.hub.url}/{REPO}"
    assert fails(desk, "gated", REPO, "no Hugging Face token", page) == page


@pytest.mark.parametrize(
    ("account", "words"),
    [
        ({"name": "a"}, ("has no access", "Accept its licence")),
        ({"name": "a", "reads_gated": False, "repos": [REPO]}, ("lacks the scope", "Read access")),
        ({"name": "a", "reads_gated": True}, ("has no access", "Accept its licence")),
    ],
)
def test_a_gated_repository_and_a_token_that_does_not_do(
    hub: FakeHub, tmp_path: Path, account: dict[str, Any], words: tuple[str, ...]
) -> None:
    hub.set(gated=[REPO], accounts={TOKEN: account})
    desk = Desk(hub, tmp_path / "cache", token=TOKEN)
    page = f"{hub.url}/{REPO}"
    assert fails(desk, "gated", REPO, page, *words) == page


def test_a_gated_repository_and_a_token_that_does(hub: FakeHub, tmp_path: Path) -> None:
    hub.set(gated=[REPO], accounts={TOKEN: {"name": "a", "repos": [REPO]}})
    complete(Desk(hub, tmp_path / "cache", token=TOKEN))


def test_a_token_that_nobody_knows(hub: FakeHub, tmp_path: Path) -> None:
    desk = Desk(hub, tmp_path / "cache", token="hf_nobodynobody")
    assert fails(desk, "invalid_token", REPO) == f"{hub.url}/settings/tokens"


def test_a_gated_repository_and_a_token_that_nobody_knows(hub: FakeHub, tmp_path: Path) -> None:
    """The Hub then says the same as without a token: only asking who one is tells them apart."""
    refusal = {"x-error-code": "GatedRepo", "x-error-message": "Access is restricted."}
    hub.fault(f"/api/models/{REPO}", "status", status=401, headers=refusal)
    fails(Desk(hub, tmp_path / "cache", token="hf_nobodynobody"), "invalid_token")


@pytest.mark.parametrize("token", [None, TOKEN])
def test_a_repository_that_does_not_exist_or_is_private(
    hub: FakeHub, tmp_path: Path, token: str | None
) -> None:
    hub.set(private=[REPO], accounts={TOKEN: {"name": "a"}})
    desk = Desk(hub, tmp_path / "cache", token=token)
    said = "the token that is set cannot see it" if token else "no token is set"
    fails(desk, "repository_not_found", REPO, said)
    assert fails(desk, "repository_not_found", "org/none", repo="org/none")


# ---- a Hub in trouble ---------------------------------------------------------------------------


@pytest.mark.parametrize("where", [f"/api/models/{REPO}", "/resolve/", "/storage/"])
@pytest.mark.parametrize("status", [408, 500, 503])
def test_a_hub_that_stumbles_once(desk: Desk, where: str, status: int) -> None:
    desk.hub.fault(where, "status", status=status, times=1)
    complete(desk)


@pytest.mark.parametrize("where", [f"/api/models/{REPO}", IN_STORAGE])
def test_a_hub_that_stays_down(desk: Desk, where: str) -> None:
    desk.hub.fault(where, "status", status=502)
    fails(desk, "hub_unreachable", "answered 502", "times in a row")


def test_an_expired_signature_is_asked_for_anew(desk: Desk) -> None:
    desk.hub.fault(IN_STORAGE, "status", status=403, times=1)
    complete(desk)
    assert len(desk.hub.seen(f"/resolve/{_commit(desk)}/{WEIGHTS}")) == 2


def _commit(desk: Desk) -> str:
    return str(desk.repo(REPO).commit_of(None))


def test_too_many_requests_are_answered_with_patience(desk: Desk) -> None:
    desk.hub.fault(IN_STORAGE, "status", status=429, headers={"retry-after": "1"}, times=1)
    complete(desk)
    assert any("answered 429; trying again in 1 s" in t.note for t in desk.said)


def test_more_patience_than_we_have(desk: Desk) -> None:
    desk.hub.fault(f"/api/models/{REPO}", "status", status=429, headers={"retry-after": "3600"})
    fails(desk, "hub_unreachable", "asks us to wait 3600 s")


def test_nobody_listens(hub: FakeHub, tmp_path: Path) -> None:
    desk = Desk(hub, tmp_path / "cache", env={"HF_ENDPOINT": "http://user:pass@127.0.0.1:9"})
    fails(desk, "hub_unreachable", "http://127.0.0.1:9", "HF_ENDPOINT", "proxy")


def test_offline_mode_is_honoured(hub: FakeHub, tmp_path: Path) -> None:
    desk = Desk(hub, tmp_path / "cache", env={"HF_HUB_OFFLINE": "1"})
    fails(desk, "hub_unreachable", "HF_HUB_OFFLINE")


# ---- a network in trouble -----------------------------------------------------------------------


def test_a_stall_at_0_bytes(desk: Desk) -> None:
    desk.hub.fault(IN_STORAGE, "stall", after=0)
    fails(desk, "download_stalled", WEIGHTS, "0.0 %", "no byte came in time, 3 times in a row")


def test_a_stall_at_99_percent(desk: Desk) -> None:
    there = SIZE * 99 // 100
    desk.hub.fault(IN_STORAGE, "stall", after=there)
    fails(desk, "download_stalled", WEIGHTS, "99.0 % of 2.9 MiB", "no byte came in time")
    assert max(desk.partials(REPO).values()) == there
    assert {s["range"] for s in desk.hub.seen(IN_STORAGE)} == {"", f"bytes={there}-"}
    desk.hub.set(faults=[])
    complete(desk)


def test_a_stall_that_a_new_connection_cures(desk: Desk) -> None:
    desk.hub.fault(IN_STORAGE, "stall", after=2_000_000, times=1)
    complete(desk)
    assert [s["range"] for s in desk.hub.seen(IN_STORAGE)] == ["", "bytes=2000000-"]


def test_a_connection_that_is_cut_again_and_again_but_brings_something(desk: Desk) -> None:
    """More cuts than attempts: each brought bytes, so each begins the count anew."""
    steps = [600_000, 1_200_000, 1_800_000, 2_400_000, 2_900_000]
    cuts = [
        {"match": IN_STORAGE, "do": "cut", "after": step, "times": 1, "method": "GET"}
        for step in steps
    ]
    desk.hub.set(faults=cuts)
    complete(desk)
    ranges = [s["range"] for s in desk.hub.seen(IN_STORAGE)]
    assert ranges == ["", *(f"bytes={step}-" for step in steps)]


def test_a_server_that_knows_no_ranges(desk: Desk) -> None:
    stumble = {"match": IN_STORAGE, "do": "cut", "after": 1_000_000, "times": 1}
    desk.hub.set(faults=[stumble, {"match": IN_STORAGE, "do": "ignore-range"}])
    complete(desk)


def test_a_server_that_answers_another_range(desk: Desk) -> None:
    stumble = {"match": IN_STORAGE, "do": "cut", "after": 1_000_000, "times": 1}
    desk.hub.set(faults=[stumble, {"match": IN_STORAGE, "do": "wrong-range", "times": 1}])
    complete(desk)


def test_a_partial_longer_than_the_file_is_thrown_away(desk: Desk) -> None:
    async def body() -> None:
        desk.hub.fault(IN_STORAGE, "cut", after=1000)
        await desk.failure(desk.files(REPO))
        partials = desk.repo(REPO).partials
        name = max(desk.partials(REPO), key=len)
        await asyncio.to_thread((partials / name).write_bytes, bytes(SIZE + 1))

    run(body)
    desk.hub.set(faults=[])
    complete(desk)


# ---- wrong bytes --------------------------------------------------------------------------------


def test_a_wrong_checksum_once(desk: Desk) -> None:
    desk.hub.fault(IN_STORAGE, "corrupt", times=1)
    complete(desk)


@pytest.mark.parametrize("name", [WEIGHTS, "tokenizer.json"])
def test_a_wrong_checksum_each_time(desk: Desk, name: str) -> None:
    desk.hub.fault(name, "corrupt")
    fails(desk, "checksum_mismatch", name, REPO)
    repo = desk.repo(REPO)
    manifest = repo.newest_manifest()
    assert manifest is not None
    (bad,) = [entry for entry in manifest.files if entry.path == name]
    # the failure stops the other files wherever they are, so these may be there or not
    for place in (repo.partial(bad), repo.blob(bad), repo.file(manifest.commit, bad)):
        assert not place.exists()


def test_a_partial_of_other_bytes_does_not_stay(desk: Desk) -> None:
    """What was resumed turns out wrong at the end: fetched again from the first byte."""
    desk.hub.fault(IN_STORAGE, "cut", after=1_000_000)
    fails(desk, "download_stalled")
    name = max(desk.partials(REPO), key=len)
    (desk.repo(REPO).partials / name).write_bytes(bytes(1_000_000))
    desk.hub.set(faults=[])
    complete(desk)


def test_a_mirror_that_lists_names_only(desk: Desk) -> None:
    desk.hub.set(bare_listing=True)
    complete(desk)


@pytest.mark.parametrize("name", ["../../escape", "/tmp/escape", "a\\..\\b"])
def test_names_that_lead_elsewhere_are_refused(desk: Desk, name: str) -> None:
    desk.hub.set(rename={"config.json": name})
    fails(desk, "bad_repository", REPO)
    assert not desk.repo(REPO).root.exists()


# ---- the disk -----------------------------------------------------------------------------------


def test_a_disk_without_room_is_refused_with_numbers(hub: FakeHub, tmp_path: Path) -> None:
    limits = msgspec.structs.replace(QUICK, reserve_bytes=1 << 60)
    desk = Desk(hub, tmp_path / "cache", limits=limits)
    fails(desk, "disk_full", "2.9 MiB are to be downloaded", str(desk.cache), "to stay so")
    assert not hub.seen("/resolve/"), "nothing was begun"


@contextlib.contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """What the kernel refuses to write beyond, children included: as good as a quota."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_fills_up_on_the_way(desk: Desk) -> None:
    with files_of_at_most(1 << 20):
        fails(desk, "disk_full", "What has arrived is kept", str(desk.cache))
    assert max(desk.partials(REPO).values()) == 1 << 20
    complete(desk)
    assert desk.hub.seen(IN_STORAGE)[-1]["range"] == f"bytes={1 << 20}-"


def test_a_cache_that_cannot_be_written(hub: FakeHub, tmp_path: Path) -> None:
    desk = Desk(hub, tmp_path / "cache")
    (desk.cache / ".locks").write_text("a file where a directory belongs")
    fails(desk, "cache_unusable", str(desk.cache))


@pytest.mark.parametrize("where", ["refs/main", "blobs", "partials", "manifests"])
def test_what_is_of_another_type_than_it_should_be_is_named(
    hub: FakeHub, tmp_path: Path, where: str
) -> None:
    desk = Desk(hub, tmp_path / "cache")
    victim = desk.repo(REPO).root / where
    if where == "refs/main":
        (victim / "inside").mkdir(parents=True)
    else:
        victim.parent.mkdir(parents=True)
        victim.write_text("a file")
    fails(desk, "cache_unusable", str(victim), "remove it and download again")


def test_a_blob_that_is_a_directory_is_named(hub: FakeHub, tmp_path: Path) -> None:
    desk = Desk(hub, tmp_path / "cache")
    complete(desk)
    blob = (next(desk.repo(REPO).root.glob("snapshots/*")) / WEIGHTS).resolve()
    blob.unlink()
    blob.mkdir()
    fails(desk, "cache_unusable", str(blob), "remove it and download again")


# ---- no network at all --------------------------------------------------------------------------


def test_a_complete_cache_needs_no_network(hub: FakeHub, tmp_path: Path) -> None:
    complete(Desk(hub, tmp_path / "cache"))
    nowhere = {"HF_ENDPOINT": "http://127.0.0.1:9"}

    async def body() -> None:
        offline = Desk(hub, tmp_path / "cache", env=nowhere)
        files = offline.files(REPO)
        assert files.path() is not None
        await offline.fetch(files)  # verifies what is here
        assert offline.said[-1].action == "verifying"
        await asyncio.to_thread((Path(str(files.path())) / "config.json").unlink)
        assert files.path() is None
        assert (await offline.failure(files)).code == "hub_unreachable"

    run(body)


def test_a_proxy_is_used(hub: FakeHub, tmp_path: Path) -> None:
    """The Hub's name resolves nowhere: only the proxy can have answered."""
    env = {"HF_ENDPOINT": "http://hub.invalid", "http_proxy": hub.url, "no_proxy": "127.0.0.1"}
    complete(Desk(hub, tmp_path / "cache", env=env))


def test_a_child_that_is_killed_says_by_what(desk: Desk) -> None:
    async def body() -> None:
        desk.hub.fault(IN_STORAGE, "stall", after=1000)
        fetch = asyncio.ensure_future(desk.failure(desk.manager.artifacts(Want(REPO))))
        (await until(children, "the child"))[0].kill()
        failure = await fetch
        assert failure.code == "download_failed"
        assert "ended unexpectedly with signal 9" in failure.message

    run(body)


def test_a_child_that_crashes_leaves_its_last_words(hub: FakeHub, tmp_path: Path) -> None:
    async def body() -> None:
        (tmp_path / "huggingface_hub.py").write_text("raise RuntimeError('half installed')")
        desk = Desk(hub, tmp_path / "cache", env={"PYTHONPATH": str(tmp_path)})
        failure = await desk.failure(desk.manager.artifacts(Want(REPO)))
        assert "ended unexpectedly with exit code 1" in failure.message
        assert failure.last_words[-1] == "RuntimeError: half installed"

    run(body)


def test_a_child_that_dies_is_told_apart(desk: Desk) -> None:
    async def body() -> None:
        desk.hub.fault(IN_STORAGE, "stall", after=1000)
        fetch = asyncio.ensure_future(desk.failure(desk.manager.artifacts(Want(REPO))))
        child = (await until(children, "the child"))[0]
        child.parent().kill()  # its guard
        failure = await fetch
        assert failure.code == "download_failed"
        assert "ended unexpectedly with its guard" in failure.message
        await until(lambda: not child.is_running() or child.status() == "zombie", "its end")

    run(body)
