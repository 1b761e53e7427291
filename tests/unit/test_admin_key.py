from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from backend.app.admin_key import AdminKeyStore, GeneratedKey, base_url, link
from backend.app.config import ConfigError


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_key_is_made_once_and_kept_for_us_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        made = AdminKeyStore(tmp_path / "cache").ensure()
    finally:
        os.umask(before)
    key = made.key.get_secret_value()
    assert made.created
    assert len(key) >= 32
    assert made.path == tmp_path / "cache" / ".admin_key"
    assert mode(made.path) == 0o600
    assert os.listdir(tmp_path / "cache") == [".admin_key"]
    again = AdminKeyStore(tmp_path / "cache").ensure()
    assert (again.key.get_secret_value(), again.created) == (key, False)
    assert AdminKeyStore(tmp_path / "cache").read() == key


def test_reading_makes_nothing(tmp_path: Path) -> None:
    assert AdminKeyStore(tmp_path / "cache").read() is None
    assert os.listdir(tmp_path) == []


def test_rights_that_are_too_wide_are_tightened(tmp_path: Path) -> None:
    store = AdminKeyStore(tmp_path)
    store.path.write_text("0123456789abcdef\n")
    store.path.chmod(0o644)
    assert store.read() == "0123456789abcdef"
    assert mode(store.path) == 0o600


@pytest.mark.parametrize("text", ["", "\n", "too short", "ünïcödé-012345", "0123456789ab\ncdefg"])
def test_a_file_without_sense_is_a_clear_error(tmp_path: Path, text: str) -> None:
    store = AdminKeyStore(tmp_path)
    store.path.write_text(text)
    for act in (store.read, store.ensure):
        with pytest.raises(ConfigError, match=r"\.admin_key is damaged .* Delete the file"):
            act()
    assert store.path.read_text() == text


def test_a_directory_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"Not a directory.*set ADMIN_API_KEYS"):
        AdminKeyStore(tmp_path / "file" / "cache").ensure()
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / ".admin_key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match=r"symbolic links.*set ADMIN_API_KEYS"):
        AdminKeyStore(tmp_path / "link").ensure()


ENSURE = """
import sys
from pathlib import Path
from backend.app.admin_key import AdminKeyStore
store = AdminKeyStore(Path(sys.argv[1]))
print("waiting", flush=True)
sys.stdin.readline()
print(store.ensure().key.get_secret_value())
"""


def test_gateways_that_start_together_agree_on_one_key(tmp_path: Path) -> None:
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", ENSURE, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "waiting\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("\n")
        racer.stdin.flush()
    keys = {racer.communicate(timeout=60)[0] for racer in racers}
    assert len(keys) == 1
    assert keys == {f"{AdminKeyStore(tmp_path).read()}\n"}
    assert os.listdir(tmp_path) == [".admin_key"]


def test_a_file_system_without_hard_links_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    made = AdminKeyStore(tmp_path).ensure()
    assert made.created
    assert mode(made.path) == 0o600
    assert os.listdir(tmp_path) == [".admin_key"]


def test_the_notice_shows_the_key_once_and_then_only_where_it_is(tmp_path: Path) -> None:
    key = SecretStr("0123456789abcdef")
    first = GeneratedKey(key, tmp_path, created=True).notice("http://localhost:8000")
    later = GeneratedKey(key, tmp_path, created=False).notice("http://localhost:8000")
    assert "http://localhost:8000/#key=0123456789abcdef" in first
    for text in (first, later):
        assert str(tmp_path) in text
        assert f"`{sys.executable} -m backend.app admin-key`" in text
    assert "0123456789abcdef" not in later
    assert "0123456789abcdef" not in repr(GeneratedKey(key, tmp_path, created=True))


def test_the_link_is_one_that_a_browser_can_open() -> None:
    assert base_url("0.0.0.0", 8000, tls=False) == "http://localhost:8000"
    assert base_url("::", 8000, tls=True) == "https://localhost:8000"
    assert base_url("::1", 80, tls=False) == "http://[::1]:80"
    assert base_url("10.0.0.1", 80, tls=False) == "http://10.0.0.1:80"
    assert link("http://h:1", SecretStr("a/b#c&d e")) == "http://h:1/#key=a%2Fb%23c%26d%20e"
