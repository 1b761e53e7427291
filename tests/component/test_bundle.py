"""Models on their way to a machine without a network, and what a bundle must not do there."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from backend.app.hub import bundle, bundle_install, patterns
from backend.app.hub.bundle import BundleError
from backend.app.hub.locks import locked
from backend.app.workers.hub_layout import RepoDir
from tests.component.test_hub_pipelines import COMMUNITY, PIPELINE, pipelines
from tests.fakes.hub.process import FakeHub, fake_hub
from tests.support.gateway import ROOT, GatewayProcess
from tests.support.hub import CHAT, WEIGHTS, Desk, run

CHAT_REPO = "org/chat"
MODELS = {"QWEN_MODEL": CHAT_REPO, "CANARY_MODEL": "org/asr", "PYANNOTE_MODEL": PIPELINE}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeHub]:
    with fake_hub(tmp_path_factory.mktemp("hub")) as running:
        running.add(CHAT_REPO, {**CHAT, "README.md": "left out"})
        running.add("org/asr", {"asr.nemo": 40_000})
        pipelines(running)
        yield running


@pytest.fixture(scope="module")
def full(hub: FakeHub, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with all three models, downloaded from the fake Hub."""
    cache = tmp_path_factory.mktemp("full") / "cache"

    async def body() -> None:
        desk = Desk(hub, cache)
        for want in (patterns.chat(CHAT_REPO), patterns.nemo("org/asr")):
            await desk.fetch(desk.manager.artifacts(want))
        await desk.fetch(desk.manager.artifacts(patterns.pyannote(PIPELINE)))

    run(body)
    return cache


GATEWAY = (sys.executable, "-W", "error", "-m", "backend.app")
BOUND_BY_RIGHTS = ("setpriv", "--bounding-set=-dac_override") if os.geteuid() == 0 else ()
"""In front of a command: the rights of files hold for root too."""


def command(
    *arguments: str | Path, cache: Path, before: tuple[str, ...] = (), **settings: str
) -> subprocess.CompletedProcess[str]:
    """`python -m backend.app bundle …`, as a user runs it: without a Hub to ask."""
    env = {"PATH": os.environ["PATH"], "HOME": str(cache), "PYTHONPATH": str(ROOT)}
    own = {"MODEL_CACHE_DIR": str(cache), "HF_ENDPOINT": "http://127.0.0.1:9", **MODELS}
    return subprocess.run(
        [*before, *GATEWAY, "bundle", *map(str, arguments)],
        env=env | own | settings,
        cwd=cache,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def made(full: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of all three."""
    out = tmp_path_factory.mktemp("bundle") / "models.tar"
    done = command("-o", out, cache=full)
    assert done.returncode == 0, done.stderr
    return out


def install(path: Path, cache: Path) -> int:
    cache.mkdir(exist_ok=True)
    with bundle.opened(path) as (source, found):
        return bundle_install.install(source, found, cache, reserve_bytes=0, tell=lambda _: None)


def refused(path: Path, cache: Path) -> str:
    """Why a bundle is not installed; the cache is as empty as before."""
    with pytest.raises(BundleError) as caught:
        install(path, cache)
    assert not list(cache.rglob("snapshots")), "nothing may become visible"
    assert not list(cache.rglob("*.incomplete"))
    return str(caught.value)


# ---- there and back ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["models.tar", "models"])
def test_a_gateway_without_a_network_takes_an_installed_model_for_complete(
    full: Path, tmp_path: Path, name: str
) -> None:
    out, cache = tmp_path / name, tmp_path / "empty"
    cache.mkdir()
    made = command("-o", out, cache=full)
    assert made.returncode == 0, made.stderr
    verified = command("--verify", out, cache=cache)
    assert verified.returncode == 0, verified.stderr
    assert verified.stdout.splitlines()[-1] == made.stdout.splitlines()[-1], "the same list"
    assert not list(cache.glob("models--*"))
    installed = command("--install", out, cache=cache)
    assert installed.returncode == 0, installed.stderr
    running = GatewayProcess(
        tmp_path, {**MODELS, "MODEL_CACHE_DIR": str(cache), "HF_HUB_OFFLINE": "1"}
    )
    try:
        running.wait_listening()
        with running.client() as client:
            status = client.get("/api/admin/status").json()
            cached = client.get("/api/admin/cache").json()
    finally:
        assert running.stop() == 0
    for key in ("qwen", "canary", "pyannote"):
        assert status["models"][key]["state"] == "idle"
        assert status["models"][key]["runtime"]["downloaded"] is True
    repos = {repo["repo"]: repo["state"] for repo in cached["repos"]}
    assert set(repos) == {CHAT_REPO, "org/asr", PIPELINE, *patterns.PIPELINE_PARTS[PIPELINE]}
    assert set(repos.values()) == {"complete"}


def test_the_hubs_own_library_finds_every_file_offline(made: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    install(made, cache)
    program = f"""
import sys
from huggingface_hub import hf_hub_download as get, scan_cache_dir, snapshot_download
print(snapshot_download("{CHAT_REPO}"))
get("pyannote/segmentation-3.0", "pytorch_model.bin")
get("{COMMUNITY}", "plda.npz", subfolder="plda")
assert not scan_cache_dir().warnings, scan_cache_dir().warnings
"""
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(cache)}
    printed = subprocess.check_output([sys.executable, "-c", program], env=env, text=True)
    snapshot = Path(printed.strip())
    assert sorted(os.listdir(snapshot)) == sorted(CHAT)
    assert not (snapshot / WEIGHTS).readlink().is_absolute()


def test_the_list_names_every_file_with_its_sum(made: Path, full: Path) -> None:
    with tarfile.open(made) as archive:
        assert archive.getnames()[0] == "bundle.json"
        file = archive.extractfile("bundle.json")
        assert file is not None
        listed = json.load(file)
    assert set(listed["models"]) == {"qwen", "canary", "pyannote"}
    assert listed["gateway"]
    (chat,) = (r for r in listed["repositories"] if r["repo"] == CHAT_REPO)
    commit = chat["manifest"]["commit"]
    assert {f["path"] for f in chat["files"]} == set(CHAT)
    for file in chat["files"]:
        content = (RepoDir(full, CHAT_REPO).snapshot(commit) / file["path"]).read_bytes()
        assert file["sha256"] == hashlib.sha256(content).hexdigest()
        assert file["size"] == len(content)


def test_the_same_models_make_the_same_bundle(made: Path, full: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.tar"
    assert command("-o", again, cache=full).returncode == 0
    assert again.read_bytes() == made.read_bytes()


def test_installing_twice_writes_nothing_and_repairs_what_is_damaged(
    made: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    whole = install(made, cache)
    assert whole > 3_000_000
    assert install(made, cache) == 0
    directory = RepoDir(cache, CHAT_REPO)
    weights = (directory.snapshot(str(directory.commit_of(None))) / WEIGHTS).resolve()
    with weights.open("r+b") as file:
        file.write(b"damage")
    assert install(made, cache) == weights.stat().st_size
    assert hashlib.sha256(weights.read_bytes()).hexdigest() == weights.name


def test_a_pinned_revision_is_asked_for_by_its_name(hub: FakeHub, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    desk = Desk(hub, first)

    async def body() -> None:
        await desk.fetch(desk.manager.artifacts(patterns.nemo("org/asr")))

    run(body)
    commit = str(RepoDir(first, "org/asr").commit_of(None))
    out = tmp_path / "pinned.tar"
    assert command("canary", "-o", out, cache=first, CANARY_REVISION=commit).returncode == 0
    install(out, second)
    directory = RepoDir(second, "org/asr")
    assert (directory.snapshot(commit) / "asr.nemo").is_file()
    assert directory.commit_of(None) is None, "only that commit was asked for"


@pytest.mark.skipif(not shutil.which("setpriv"), reason="root may write everywhere without it")
def test_making_and_verifying_only_read_the_cache(full: Path, tmp_path: Path) -> None:
    """Whoever may read the cache may make a bundle of it; to install one it must be writable."""
    cache, out = tmp_path / "cache", tmp_path / "models.tar"
    shutil.copytree(full, cache, symlinks=True)
    below = sorted(cache.rglob("*"))
    for path in (cache, *below):
        if not path.is_symlink():
            path.chmod(0o555 if path.is_dir() else 0o444)
    made = command("-o", out, cache=cache, before=BOUND_BY_RIGHTS)
    assert made.returncode == 0, made.stderr
    verified = command("--verify", out, cache=cache, before=BOUND_BY_RIGHTS)
    assert verified.returncode == 0, verified.stderr
    assert sorted(cache.rglob("*")) == below
    installed = command("--install", out, cache=cache, before=BOUND_BY_RIGHTS)
    assert installed.returncode == 2
    assert f"is mounted on {cache}):\n  chown -R " in installed.stderr


# ---- what cannot be bundled --------------------------------------------------------------------


def test_what_is_missing_is_named_with_the_way_to_get_it(full: Path, tmp_path: Path) -> None:
    out = tmp_path / "models.tar"
    done = command("qwen", "-o", out, cache=full, QWEN_MODEL="org/other")
    assert done.returncode == 1
    assert "qwen is not complete" in done.stderr
    assert f"{sys.executable} -m backend.app download qwen" in done.stderr
    assert not list(tmp_path.iterdir())


def test_wrong_arguments_are_named(full: Path, made: Path, tmp_path: Path) -> None:
    unknown = command("qwem", "-o", tmp_path / "x.tar", cache=full)
    assert unknown.returncode == 2
    assert "qwem" in unknown.stderr
    assert "qwen, canary, pyannote" in unknown.stderr
    assert command("qwen", "--verify", made, cache=full).returncode == 2
    assert command("qwen", cache=full).returncode == 2


def test_a_local_model_is_left_out_and_named(full: Path, tmp_path: Path) -> None:
    local = tmp_path / "here"
    local.mkdir()
    done = command("qwen", "-o", tmp_path / "x.tar", cache=full, QWEN_MODEL=str(local))
    assert done.returncode == 1
    assert str(local) in done.stderr


def test_a_bundle_is_never_written_over(made: Path, full: Path) -> None:
    before = made.read_bytes()
    done = command("canary", "-o", made, cache=full)
    assert done.returncode == 1
    assert "exists" in done.stderr
    assert made.read_bytes() == before


@pytest.mark.parametrize("name", [WEIGHTS, "config.json"])
def test_a_damaged_cache_is_not_bundled(hub: FakeHub, tmp_path: Path, name: str) -> None:
    desk = Desk(hub, tmp_path / "cache")

    async def body() -> None:
        await desk.fetch(desk.manager.artifacts(patterns.chat(CHAT_REPO)))

    run(body)
    directory = desk.repo(CHAT_REPO)
    place = directory.snapshot(str(directory.commit_of(None))) / name
    place.write_bytes(bytes(place.stat().st_size))
    done = command("qwen", "-o", tmp_path / "out" / "x.tar", cache=desk.cache)
    assert done.returncode == 1
    assert f"{name} of {CHAT_REPO} is damaged" in done.stderr
    assert not list((tmp_path / "out").glob("*") if (tmp_path / "out").exists() else [])


def test_what_cannot_be_read_or_written_is_named(full: Path, made: Path, tmp_path: Path) -> None:
    below_a_file = made / "models.tar"
    done = command("canary", "-o", below_a_file, cache=full)
    assert done.returncode == 1
    assert f"{below_a_file} cannot be written" in done.stderr
    missing = tmp_path / "missing.tar"
    for flag in ("--verify", "--install"):
        done = command(flag, missing, cache=tmp_path)
        assert done.returncode == 1
        assert f"{missing}: No such file" in done.stderr
        assert "Traceback" not in done.stderr


# ---- hostile and damaged bundles ---------------------------------------------------------------


def rewritten(
    made: Path, out: Path, change: Callable[[list[tuple[tarfile.TarInfo, bytes]]], None]
) -> Path:
    """A copy of a bundle whose members `change` has altered."""
    with tarfile.open(made) as archive:
        members = []
        for member in archive:
            file = archive.extractfile(member)
            assert file is not None
            members.append((member, file.read()))
    change(members)
    with tarfile.open(out, "w") as archive:
        for member, content in members:
            member.size = len(content) if member.isreg() else 0
            archive.addfile(member, io.BytesIO(content))
    return out


def relisted(made: Path, out: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A copy of a bundle with another list."""

    def alter(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        listed = json.loads(members[0][1])
        change(listed)
        members[0] = (members[0][0], json.dumps(listed).encode())

    return rewritten(made, out, alter)


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


STRANGE = {
    "absolute": member("/etc/passwd"),
    "upwards": member("../../outside"),
    "inside upwards": member("files/../../outside"),
    "symbolic link": member("files/" + "a" * 64, tarfile.SYMTYPE, "/etc/passwd"),
    "hard link": member("files/" + "a" * 64, tarfile.LNKTYPE, "bundle.json"),
    "device": member("files/" + "a" * 64, tarfile.CHRTYPE),
    "pipe": member("files/" + "a" * 64, tarfile.FIFOTYPE),
    "directory": member("files/" + "a" * 64, tarfile.DIRTYPE),
    "sparse": member("files/" + "a" * 64, tarfile.GNUTYPE_SPARSE),
    "superfluous": member("files/" + "a" * 64),
    "twice": member("bundle.json"),
}


@pytest.mark.parametrize("what", STRANGE)
def test_a_member_that_has_no_place_is_refused(made: Path, tmp_path: Path, what: str) -> None:
    out = tmp_path / "x.tar"
    rewritten(made, out, lambda members: members.append((STRANGE[what], b"")))
    refused(out, tmp_path / "cache")
    assert {p.name for p in tmp_path.iterdir()} == {"x.tar", "cache"}, "nothing beside the cache"


def _repo(listed: dict[str, Any], name: str = CHAT_REPO) -> dict[str, Any]:
    (found,) = (r for r in listed["repositories"] if r["repo"] == name)
    assert isinstance(found, dict)
    return found


LIES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "repo": lambda x: _repo(x).update(repo="../../outside"),
    "repo of the list": lambda x: _repo(x)["manifest"].update(repo="org/other"),
    "commit": lambda x: _repo(x)["manifest"].update(commit="../../../outside"),
    "revision": lambda x: _repo(x).update(revision="../../outside"),
    "revision that is another commit": lambda x: _repo(x).update(revision="0" * 40),
    "path": lambda x: [
        e.update(path="../../../../outside")
        for e in (_repo(x)["manifest"]["files"][0], _repo(x)["files"][0])
    ],
    "blob": lambda x: _repo(x)["manifest"]["files"][0].update(etag="../outside"),
    "need": lambda x: _repo(x)["manifest"].update(needs=[{"repo": "../outside"}]),
    "need's revision": lambda x: _repo(x)["manifest"].update(
        needs=[{"repo": "a/b", "revision": "/etc"}]
    ),
    "sum": lambda x: _repo(x)["files"][0].update(sha256="x"),
    "file that is not there": lambda x: _repo(x)["files"][0].update(sha256="0" * 64),
    "size": lambda x: _repo(x)["files"][0].update(size=1),
    "format": lambda x: x.update(format=2),
    "shape": lambda x: x.update(repositories=3),
}


@pytest.mark.parametrize("what", LIES)
def test_a_list_that_lies_is_refused(made: Path, tmp_path: Path, what: str) -> None:
    refused(relisted(made, tmp_path / "x.tar", LIES[what]), tmp_path / "cache")
    assert {p.name for p in tmp_path.iterdir()} == {"x.tar", "cache"}


def test_another_blob_name_for_the_same_bytes_is_refused(made: Path, tmp_path: Path) -> None:
    """Else what one model has under a hash could be replaced by something else."""

    def lie(listed: dict[str, Any]) -> None:
        for entry in _repo(listed)["manifest"]["files"]:
            if entry["path"] == WEIGHTS:
                entry["etag"] = "0" * 64

    assert WEIGHTS in refused(relisted(made, tmp_path / "x.tar", lie), tmp_path / "cache")


def test_a_wrong_byte_is_found(made: Path, tmp_path: Path) -> None:
    def damage(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        index = max(range(len(members)), key=lambda i: len(members[i][1]))
        info, content = members[index]
        members[index] = (info, content[:-1] + bytes([content[-1] ^ 1]))

    out = rewritten(made, tmp_path / "x.tar", damage)
    cache = tmp_path / "cache"
    cache.mkdir()
    assert WEIGHTS in refused(out, cache)
    done = command("--verify", out, cache=cache)
    assert done.returncode == 1
    assert "damaged" in done.stderr


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_bundle_that_was_cut_is_refused(made: Path, tmp_path: Path, share: float) -> None:
    out = tmp_path / "x.tar"
    out.write_bytes(made.read_bytes()[: int(made.stat().st_size * share)])
    refused(out, tmp_path / "cache")


@pytest.mark.parametrize("content", [b"", b"no tar", b"\0" * 10240])
def test_what_is_no_bundle_is_refused(tmp_path: Path, content: bytes) -> None:
    out = tmp_path / "x.tar"
    out.write_bytes(content)
    refused(out, tmp_path / "cache")


def test_a_link_in_a_directory_is_refused(full: Path, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    assert command("canary", "-o", out, cache=full).returncode == 0
    (file,) = (out / "files").iterdir()
    elsewhere = tmp_path / "elsewhere"
    file.rename(elsewhere)
    file.symlink_to(elsewhere)
    assert "no place" in refused(out, tmp_path / "cache")


def test_a_disk_without_room_is_said_before_anything_is_written(made: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    with bundle.opened(made) as (source, found), pytest.raises(BundleError, match="are free"):
        bundle_install.install(source, found, cache, reserve_bytes=1 << 62, tell=lambda _: None)
    assert not list(cache.iterdir())


def test_a_repository_that_is_being_downloaded_is_left_alone(made: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    with locked(cache, CHAT_REPO):
        done = command("--install", made, cache=cache)
    assert done.returncode == 1
    assert CHAT_REPO in done.stderr
    assert not list(cache.rglob("snapshots"))
    assert command("--install", made, cache=cache).returncode == 0


def test_an_installation_that_was_killed_goes_on(made: Path, tmp_path: Path) -> None:
    """What it had placed by then is whole, and no model counts as complete before all of it."""
    cache = tmp_path / "cache"
    cache.mkdir()
    killer = (
        "import os, sys; from backend.app.hub import bundle_install as b; real = os.replace;"
        "b.os.replace = lambda *a: (real(*a), os._exit(9)) if 'safetensors' in said else real(*a);"
        "said = ''\n"
        "def tell(line):\n    global said; said = line\n"
        "from backend.app.hub import bundle; from pathlib import Path\n"
        "with bundle.opened(Path(sys.argv[1])) as (s, f):\n"
        "    b.install(s, f, Path(sys.argv[2]), reserve_bytes=0, tell=tell)\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", killer, made, cache], cwd=ROOT, timeout=60, check=False
    )
    assert killed.returncode == 9
    assert list(cache.rglob("blobs/*"))
    assert not list(cache.rglob("snapshots"))
    assert 0 < install(made, cache) < 3_000_000, "the weights were there"
