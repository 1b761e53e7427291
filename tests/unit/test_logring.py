"""How an engine's output becomes lines."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.app.engines import logring
from backend.app.engines.logring import MAX_LINE, EngineLog, LineSplitter, LogFile


def split(*chunks: bytes) -> list[str]:
    splitter = LineSplitter()
    return [line for chunk in chunks for line in splitter.feed(chunk)] + splitter.flush()


def test_lines_end_with_newlines() -> None:
    assert split(b"one\ntw", b"o\n\nthree") == ["one", "two", "", "three"]
    assert split(b"one\r\n\r\ntwo\r\n") == ["one", "", "two"]


def test_a_line_is_out_when_it_is_complete() -> None:
    splitter = LineSplitter()
    assert splitter.feed(b"one\ntwo") == ["one"]
    assert splitter.feed(b"\n") == ["two"]
    assert splitter.flush() == []


def test_each_step_of_a_bar_is_out_at_once() -> None:
    splitter = LineSplitter()
    assert splitter.feed(b"\r 10%") == [" 10%"]
    assert splitter.feed(b"\r 20%") == [" 20%"]
    assert splitter.feed(b"\r100%") == ["100%"]
    assert splitter.feed(b"\n") == []
    assert splitter.feed(b"\nnext") == [""]
    assert splitter.feed(b" line\n") == ["next line"]


def test_bars_as_vllm_draws_them() -> None:
    assert split(b"\rshards: 0/2\n", b"\rshards: 1/2\n", b"\rshards: 2/2\n", b"\n") == [
        "shards: 0/2",
        "shards: 1/2",
        "shards: 2/2",
        "",
    ]


def test_a_return_and_its_newline_in_two_chunks() -> None:
    assert split(b"one\r", b"\ntwo\r", b"\n") == ["one", "two"]


def test_invalid_utf8_is_replaced_and_control_characters_are_kept() -> None:
    assert split(b"\xff\x1b[31mred\x00\x07\n") == ["�\x1b[31mred\x00\x07"]


def test_a_character_in_two_chunks() -> None:
    assert split(b"caf\xc3", b"\xa9\n") == ["café"]


@pytest.mark.parametrize("step", [1000, 5 * MAX_LINE])
def test_a_long_line_is_cut_and_the_next_is_whole(step: int) -> None:
    data = b"x" * (4 * MAX_LINE) + b"\nnext\n"
    chunks = [data[at : at + step] for at in range(0, len(data), step)]
    assert split(*chunks) == ["x" * MAX_LINE, "next"]


@given(st.lists(st.text(st.characters(exclude_characters="\r\n"), max_size=20)), st.data())
def test_chunks_do_not_matter(lines: list[str], data: st.DataObject) -> None:
    raw = "".join(line + "\n" for line in lines).encode("utf-8", "replace")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=5)))
    chunks = [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    assert split(*chunks) == raw.decode().split("\n")[:-1]


@given(st.lists(st.binary(max_size=30)))
def test_nothing_raises_and_nothing_but_line_ends_is_lost(chunks: list[bytes]) -> None:
    kept = "".join(split(*chunks))
    visible = b"".join(chunks).replace(b"\r", b"").replace(b"\n", b"")
    if visible.isascii():
        assert kept == visible.decode()


def test_the_tail() -> None:
    log = EngineLog(3, None, None)
    assert log.tail(2) == []
    log.feed(b"1\n2\n3\n4\n")
    assert log.tail(2) == ["3", "4"]
    assert log.tail(100) == ["2", "3", "4"]
    assert log.tail(0) == log.tail(-1) == []


def test_the_file_rotates_once_full(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "engine.log"
    file = LogFile(path, max_bytes=10)
    for word in ("first", "second", "third", "a line that is longer than the file"):
        file.write([word])
    file.close()
    file.write(["too late"])
    file.written()
    assert path.read_text() == "a line that is longer than the file\n"
    assert path.with_name("engine.log.1").read_text() == "third\n"


def test_a_disk_that_hangs_costs_lines_and_no_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Opening a pipe that nobody reads blocks, as a network's disk that is away does."""
    monkeypatch.setattr(logring, "MOST_WAITING", 3)
    monkeypatch.setattr(logring, "CLOSE_S", 0.05)
    path = tmp_path / "engine.log"
    os.mkfifo(path)
    file = LogFile(path, max_bytes=1000)
    for number in range(5):
        file.write([f"line {number}"])
    file.close()
    file.written()
    assert file._writer.is_alive(), "whoever waits for the rest does not wait for ever"
    with path.open("rb", buffering=0) as reader, caplog.at_level("WARNING"):
        for number in range(3):
            assert reader.readline() == f"line {number}\n".encode()
        assert reader.readline() == b"", "and then it is closed"
    file._writer.join(20)
    assert not file._writer.is_alive()
    assert "2 lines are missing" in caplog.text
