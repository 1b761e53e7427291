"""What an engine gets from the local launcher, and what it costs: files, environment, output."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import resource
import stat
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import psutil
import pytest

from backend.app.engines import child, proctree
from backend.app.engines.launcher import Address, EngineSpec, LaunchError
from tests.support.launching import Launched, Launchers, Play, play_on
from tests.support.loops import LOOPS
from tests.support.processes import (
    DAEMON,
    PYTHON,
    SLEEPER,
    STUBBORN,
)

GRACE = 60.0


@pytest.fixture(params=LOOPS)
def play(request: pytest.FixtureRequest) -> Play:
    return play_on(request.param)


def test_the_directory_is_private_short_lived_and_in_the_address(play: Play) -> None:
    async def scenario(launchers: Launchers) -> None:
        launcher = launchers.launcher()
        seen: list[Address] = []

        def argv(address: Address) -> Sequence[str]:
            seen.append(address)
            return SLEEPER

        engines = [await launcher.launch(EngineSpec("same", argv)) for _ in range(2)]
        assert [engine.address for engine in engines] == seen
        assert seen[0] != seen[1]
        for address in seen:
            assert address.socket
            directory = Path(address.socket).parent
            assert directory.parent == launchers.base
            assert stat.S_IMODE(directory.stat().st_mode) == 0o700
            assert not list(directory.iterdir())
        await engines[0].stop(GRACE)
        assert len(os.listdir(launchers.base)) == 1

    play(scenario)


def test_a_base_that_is_too_long_or_missing(play: Play, tmp_path: Path) -> None:
    async def scenario(launchers: Launchers) -> None:
        with pytest.raises(LaunchError, match=r"too long for the sockets.*XDG_RUNTIME_DIR"):
            await launchers.start(SLEEPER, base=tmp_path / ("long" * 20))
        with pytest.raises(LaunchError, match="No such file"):
            await launchers.start(SLEEPER, base=Path("/proc/missing"))

    play(scenario)


def test_the_longest_allowed_base_has_room_for_a_socket(play: Play) -> None:
    room = child.MAX_SOCKET_PATH - len(child.PREFIX) - child.ROOM_IN_DIRECTORY
    script = "import os, socket; socket.socket(1).bind(os.environ['TMPDIR'] + '/' + 40 * 'x')"

    async def scenario(launchers: Launchers) -> None:
        base = launchers.base / ("x" * (room - len(str(launchers.base)) - 1))
        os.mkdir(base)
        launched = await launchers.start((*PYTHON, script), base=base)
        assert (await launched.exit()).code == 0, launched.engine.log_tail()
        os.rmdir(base)

    play(scenario)


def test_a_name_that_is_a_path_is_refused(play: Play) -> None:
    async def scenario(launchers: Launchers) -> None:
        with pytest.raises(LaunchError, match="does not fit a file name"):
            await Launched(launchers.launcher(), SLEEPER, "../x").start()

    play(scenario)


def test_the_environment_carries_no_secrets(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = ("OPENAI_API_KEYS", "ADMIN_API_KEYS", "HUGGINGFACE_TOKEN", "HF_TOKEN")
    for name in secrets:
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("TMPDIR", "/elsewhere")

    async def scenario(launchers: Launchers) -> None:
        launched = await launchers.start(("env",))
        await launched.exit()
        env = dict(line.partition("=")[::2] for line in launched.engine.log_tail(1000))
        assert not set(secrets) & set(env)
        assert "secret" not in env.values()
        assert env["GIVEN"] == "yes"
        assert env["PATH"] == os.environ["PATH"]
        assert f"{env['TMPDIR']}/api.sock" == str(launched.engine.address)[len("unix:") :]

    play(scenario)


def test_another_holder_of_the_output_does_not_delay_the_exit(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "OUTPUT_S", 0.1)

    async def scenario(launchers: Launchers) -> None:
        launched = await launchers.start(SLEEPER)
        process = await launched.printed("engine")
        other = os.open(f"/proc/{process}/fd/1", os.O_WRONLY)
        try:
            assert not (await launched.engine.stop(GRACE)).escalated
            assert launched.engine.log_tail() == [f"engine {process}"]
        finally:
            os.close(other)

    play(scenario)


def test_output_is_bounded_in_memory_and_on_disk(play: Play, tmp_path: Path) -> None:
    program = """
import sys
sys.stdout.write(10_000_000 * "x" + "\\n")
for number in range(100_000):
    print("line", number)
print("end without a newline", end="")
"""

    async def scenario(launchers: Launchers) -> None:
        launched = await launchers.start(
            (*PYTHON, program), log_dir=tmp_path / "new", log_max_bytes=300_000, ring_lines=500
        )
        assert (await launched.exit()).log_tail[-1] == "end without a newline"
        tail = launched.engine.log_tail(10_000)
        assert len(tail) == 500
        assert tail[-2] == "line 99999"
        assert launched.engine.log_tail(2) == tail[-2:]
        assert launched.engine.log_tail(0) == []

    play(scenario)
    newest, older = tmp_path / "new/engine-test-0.log", tmp_path / "new/engine-test-0.log.1"
    assert set((tmp_path / "new").iterdir()) == {newest, older}
    assert newest.stat().st_size <= 300_000
    assert older.stat().st_size <= 300_000
    assert newest.read_text().endswith("line 99999\nend without a newline\n")


def test_the_log_file_is_continued(play: Play, tmp_path: Path) -> None:
    async def scenario(launchers: Launchers) -> None:
        for word in ("first", "second"):
            launched = await launchers.start(("echo", word), log_dir=tmp_path)
            await launched.exit()

    play(scenario)
    assert (tmp_path / "engine-test-0.log").read_text() == "first\nsecond\n"


def test_an_unwritable_log_directory_costs_only_the_file(
    play: Play, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()

    async def scenario(launchers: Launchers) -> None:
        launched = await launchers.start(("echo", "hello"), log_dir=tmp_path / "file" / "logs")
        assert (await launched.exit()).log_tail == ("hello",)

    with caplog.at_level(logging.WARNING):
        play(scenario)
    assert [record.getMessage() for record in caplog.records] == [
        f"Engine output is no longer written to {tmp_path}/file/logs/engine-test-0.log: "
        f"[Errno 20] Not a directory: '{tmp_path}/file/logs'"
    ]


def test_a_listener_that_fails_does_not_stop_the_output(
    play: Play, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(line: str) -> None:
        raise RuntimeError(line)

    async def scenario(launchers: Launchers) -> None:
        engine = await launchers.launcher().launch(
            EngineSpec("test-0", lambda _: ("sh", "-c", "echo one; echo two"), {}, fail)
        )
        await asyncio.wait_for(asyncio.shield(engine.exited), 20)
        assert engine.log_tail() == ["one", "two"]

    play(scenario)
    assert len(caplog.records) == 2


def test_memory_of_the_whole_tree(play: Play) -> None:
    program = DAEMON[-1].replace('print("daemon"', 'block = b"x" * 50_000_000; print("daemon"')

    async def scenario(launchers: Launchers) -> None:
        launched = await launchers.start((*PYTHON, program))
        await launched.printed("engine")
        used = await launched.engine.rss_bytes()
        assert used
        assert 50_000_000 < used < 100_000_000
        await launched.engine.stop(0)
        assert await launched.engine.rss_bytes() is None

    play(scenario)


@pytest.mark.parametrize("error", [OSError(errno.EMFILE, "too many"), RuntimeError("no thread")])
def test_what_cannot_be_looked_at_gets_in_the_way_of_no_end(
    play: Play, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(pid: int) -> NoReturn:
        raise error

    async def scenario(launchers: Launchers) -> None:
        launched = await launchers.start(DAEMON)
        await launched.printed("engine")
        monkeypatch.setattr(proctree, "memory", fails)
        monkeypatch.setattr(proctree, "members", fails)
        assert await launched.engine.rss_bytes() is None
        assert await launched.engine.own([1]) == frozenset()
        await launched.engine.stop(0)

    play(scenario)


def test_twenty_cycles_leak_nothing(play: Play) -> None:
    def held() -> tuple[int, int, int]:
        children = psutil.Process().children(recursive=True)
        return len(os.listdir("/proc/self/fd")), threading.active_count(), len(children)

    async def scenario(launchers: Launchers) -> None:
        launcher = launchers.launcher()

        async def cycle(argv: Sequence[str], grace_s: float) -> None:
            launched = await Launched(launcher, argv).start()
            await launched.printed("engine")
            await launched.engine.stop(grace_s)

        await cycle(SLEEPER, GRACE)
        await asyncio.sleep(0)  # transports close one turn later
        before = held()
        for number in range(20):
            await cycle(*((SLEEPER, GRACE) if number % 2 else (STUBBORN, 0.0)))
        await asyncio.sleep(0)
        assert held() == before

    play(scenario)


def test_many_open_descriptors(play: Play) -> None:
    """A busy gateway hands the guard a descriptor beyond what select() can take."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    taken = [os.open("/dev/null", os.O_RDONLY) for _ in range(1100)]

    async def scenario(launchers: Launchers) -> None:
        launched = await launchers.start(SLEEPER)
        await launched.printed("engine")
        assert not (await launched.engine.stop(GRACE)).escalated

    try:
        play(scenario)
    finally:
        for fd in taken:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
