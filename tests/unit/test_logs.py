from __future__ import annotations

import asyncio
import io
import json
import logging
import logging.handlers
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from backend.app import logs
from backend.app.config import ConfigError, Settings
from backend.app.logs import LogSetup
from backend.app.redact import Redactor
from backend.app.setting_types import HomePath

log = logging.getLogger("tests.logs")
Start = Callable[..., LogSetup]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    made: list[LogSetup] = []

    def start(**values: Any) -> LogSetup:
        values.setdefault("log_dir", tmp_path / "logs")
        made.append(logs.setup(Settings(**values)))
        return made[-1]

    yield start
    for setup in made:
        setup.close()


def written(setup: LogSetup) -> str:
    setup.close()
    assert setup.path is not None
    return setup.path.read_text(encoding="utf-8")


def test_a_line_reaches_stdout_the_file_and_the_ring(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    setup = start()
    token = logs.current_request_id.set("req_1")
    log.info("loaded %s on %d", "qwen", 2)
    logs.current_request_id.reset(token)
    text = written(setup)
    assert text == capsys.readouterr().out
    assert text.endswith("INFO    tests.logs [req_1] loaded qwen on 2\n")
    (entry,) = setup.ring.entries()
    assert (entry.level, entry.logger, entry.message) == ("info", "tests.logs", "loaded qwen on 2")
    assert entry.request_id == "req_1"


def test_json_lines_carry_everything(start: Start) -> None:
    setup = start(log_format="json")
    try:
        raise ValueError("two\nlines")
    except ValueError:
        log.exception("it failed: « ça »")
    (line,) = written(setup).splitlines()
    entry = json.loads(line)
    assert entry["level"] == "error"
    assert entry["message"] == "it failed: « ça »"
    assert entry["request_id"] is None
    assert entry["exception"].startswith("Traceback")
    assert "ValueError: two" in entry["exception"]


def test_text_from_outside_cannot_forge_a_line(start: Start) -> None:
    setup = start()
    log.info("model %s", "x\n2026-01-01 ERROR forged\r\x1b[31m\u2028y\udc80")
    try:
        raise ValueError("a\n2026-01-01 ERROR forged too")
    except ValueError:
        log.exception("failed")
    lines = written(setup).splitlines()
    assert not any(line.startswith("2026-01-01") for line in lines)
    assert lines[0].endswith(r"model x\n2026-01-01 ERROR forged\r\x1b[31m\u2028y\udc80")


def test_secrets_never_reach_any_sink(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    setup = start(
        openai_api_keys=(SecretStr("alice:inference-secret"), SecretStr("bare-secret")),
        admin_api_keys=(SecretStr("admin-secret"),),
        huggingface_token=SecretStr("hub-secret"),
    )
    setup.redactor.add("generated-secret")
    secrets = (
        "inference-secret bare-secret admin-secret hub-secret generated-secret "
        "hf_AbCdEfGh123 Bearer abc.def-ghi_jkl http://h:8000/#key=zyxwvut "
        "http://user:pass-word@proxy:3128 x-api-key: not-configured"
    )
    log.warning("seen: %s", secrets)
    log.warning("args %s", {"Authorization": "bearer abc.def-ghi_jkl"})
    try:
        raise RuntimeError(secrets)
    except RuntimeError:
        log.exception("again")
    everything = written(setup) + capsys.readouterr().out + repr(setup.ring.entries())
    for secret in (
        *("inference-secret", "bare-secret", "admin-secret", "hub-secret", "generated-secret"),
        *("AbCdEfGh", "abc.def", "zyxwvut", "pass-word", "not-configured"),
    ):
        assert secret not in everything
    assert "Bearer ***" in everything
    assert "http://user:***@proxy:3128" in everything


def test_a_redactor_ignores_secrets_too_short_to_be_one() -> None:
    redact = Redactor(["", "abc", "abcd", "abcdef"])
    assert redact("abc abcd abcdef") == "abc *** ***"


def test_the_ring_is_bounded_and_can_be_searched(start: Start) -> None:
    setup = start(log_level="debug")
    for number in range(logs.RING_LINES + 5):
        log.debug("line %d", number)
    log.error("Boom")
    ring = setup.ring
    assert len(ring.entries(10**6)) == logs.RING_LINES
    assert [entry.message for entry in ring.entries(2)] == [f"line {logs.RING_LINES + 4}", "Boom"]
    assert [entry.message for entry in ring.entries(level="warning")] == ["Boom"]
    assert [entry.message for entry in ring.entries(contains="BOOM")] == ["Boom"]
    last = ring.entries(1)[0].id
    assert ring.entries(after=last) == []
    assert ring.entries(request_id="nobody") == []
    assert ring.entries(0) == []


def test_the_lines_of_a_new_life_come_after_those_of_the_last() -> None:
    record = logging.LogRecord("name", logging.INFO, "", 0, "hello", None, None)
    rings = [logs.LogRing(), logs.LogRing()]
    for ring in rings:
        ring.append(record)
    before, now = (ring.entries(1)[0].id for ring in rings)
    assert now > before, "a dashboard asks for what came after the last id it saw"


def test_the_level_of_the_settings_holds(start: Start) -> None:
    setup = start(log_level="warning")
    log.info("quiet")
    log.warning("loud")
    assert [entry.message for entry in setup.ring.entries()] == ["loud"]


def test_uvicorn_logs_through_the_same_handlers(start: Start) -> None:
    logging.getLogger("uvicorn").addHandler(logging.StreamHandler(io.StringIO()))
    logging.getLogger("uvicorn").propagate = False
    setup = start()
    logging.getLogger("uvicorn.error").info("Uvicorn running")
    assert "uvicorn.error [-] Uvicorn running" in written(setup)
    assert logging.getLogger("uvicorn").handlers == []


def test_the_file_rotates_within_its_bounds(start: Start, tmp_path: Path) -> None:
    setup = start(log_max_bytes=10_000, log_backup_count=2)
    for _ in range(600):
        log.info("x" * 100)
    setup.close()
    files = sorted((tmp_path / "logs").iterdir())
    assert [file.name for file in files] == ["backend.log", "backend.log.1", "backend.log.2"]
    assert all(file.stat().st_size <= 10_000 for file in files)


def test_an_explicit_directory_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    root_before = list(logging.getLogger().handlers)
    with pytest.raises(ConfigError, match=r"LOG_DIR=.*/file/logs"):
        logs.setup(Settings(log_dir=tmp_path / "file" / "logs"))
    assert logging.getLogger().handlers == root_before


def unwritable_by_default(tmp_path: Path) -> Settings:
    (tmp_path / "file").write_text("")

    class Unwritable(Settings):
        log_dir: HomePath = tmp_path / "file" / "logs"

    return Unwritable()


def test_an_unwritable_default_directory_gives_way_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    setup = logs.setup(unwritable_by_default(tmp_path))
    log.info("hello")
    assert setup.path == tmp_path / "state" / "servertestllm" / "backend.log"
    lines = written(setup).splitlines()
    assert len(lines) == 2
    assert "Not a directory" in lines[0]
    assert str(setup.path) in lines[0]


def test_with_nowhere_to_write_stdout_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = unwritable_by_default(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    setup = logs.setup(settings)
    log.info("hello")
    setup.close()
    assert setup.path is None
    out = capsys.readouterr().out
    assert "Logging to stdout only" in out
    assert "hello" in out


class StuckStream(io.StringIO):
    """A stdout whose reader has stopped reading."""

    def __init__(self) -> None:
        super().__init__()
        self.stuck, self.go_on = threading.Event(), threading.Event()

    def write(self, text: str) -> int:
        self.stuck.set()
        self.go_on.wait()
        return super().write(text)


def test_a_stuck_reader_costs_lines_and_never_stalls_the_loop(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = StuckStream()
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(logs, "QUEUE_LINES", 100)
    setup = start()

    async def flood() -> None:
        log.info("first")
        await asyncio.to_thread(stream.stuck.wait)
        for number in range(300):
            log.info("line %d", number)
        assert not stream.go_on.is_set()
        assert setup.ring.entries(1)[0].message == "line 299"
        stream.go_on.set()
        await asyncio.to_thread(setup._listener.queue.join)
        log.info("last")

    asyncio.run(flood())
    text = written(setup)
    assert "200 log lines were dropped" in text
    assert text.count("[-] line ") == 100
    assert "last" in text


def test_close_does_not_wait_for_a_stuck_reader(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = StuckStream()
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(logs, "CLOSE_S", 0.01)
    setup = start()
    log.info("first")
    stream.stuck.wait()
    listener = setup._listener
    writer = listener._thread
    assert writer is not None
    setup.close()
    assert writer.is_alive()
    stream.go_on.set()
    writer.join()
    for handler in listener.handlers:
        handler.close()


def test_a_full_disk_is_said_once(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    full = Path("/dev/full")
    assert full.exists()
    setup = start(log_dir=full.parent, log_file_name=full.name)
    for _ in range(3):
        log.info("hello")
    setup.close()
    captured = capsys.readouterr()
    assert captured.out.count("hello") == 3
    assert captured.err.count("No space left on device") == 1
    assert "Traceback" not in captured.err


def test_close_puts_the_root_logger_back_and_may_be_called_twice(start: Start) -> None:
    root = logging.getLogger()
    before = (list(root.handlers), root.level)
    setup = start(log_level="debug")
    assert root.level == logging.DEBUG
    setup.close()
    setup.close()
    assert (list(root.handlers), root.level) == before
