"""Which Hugging Face token counts: the one set last, wherever it was set."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.app.errors import InvalidRequest, Unavailable
from backend.app.hub.token_store import TokenStore
from tests.support.properties import cases

ENV, OTHER, POSTED = "hf_environment", "hf_otherother", "hf_postedposted"


def current(directory: Path, environment: str | None) -> tuple[str | None, str]:
    """What a gateway that starts now uses."""
    token = TokenStore(directory, environment).get()
    return token.value, token.source


def test_without_any(tmp_path: Path) -> None:
    assert current(tmp_path, None) == (None, "none")
    assert current(tmp_path, "  ") == (None, "none")
    assert list(tmp_path.iterdir()) == []


def test_the_environments_is_kept(tmp_path: Path) -> None:
    assert current(tmp_path, ENV) == (ENV, "environment")
    assert (tmp_path / ".hf_token").read_text() == ENV
    assert current(tmp_path, None) == (ENV, "stored"), "without the variable it is still there"


def test_a_posted_one_wins_over_an_older_variable_and_survives_a_restart(tmp_path: Path) -> None:
    store = TokenStore(tmp_path, ENV)
    store.set(POSTED)
    assert (store.get().value, store.get().source) == (POSTED, "stored")
    assert current(tmp_path, ENV) == (POSTED, "stored")


def test_a_changed_variable_wins_again(tmp_path: Path) -> None:
    TokenStore(tmp_path, ENV).set(POSTED)
    assert current(tmp_path, OTHER) == (OTHER, "environment")
    assert current(tmp_path, OTHER) == (OTHER, "environment")
    assert current(tmp_path, ENV) == (ENV, "environment")


def test_a_variable_that_was_gone_and_comes_back_was_set_anew(tmp_path: Path) -> None:
    TokenStore(tmp_path, ENV).set(POSTED)
    assert current(tmp_path, None) == (POSTED, "stored")
    assert current(tmp_path, ENV) == (ENV, "environment")


def test_null_clears_the_environments_too_until_it_changes(tmp_path: Path) -> None:
    store = TokenStore(tmp_path, ENV)
    store.set(None)
    assert store.get().value is None
    assert current(tmp_path, ENV) == (None, "none")
    assert not (tmp_path / ".hf_token").exists()
    assert current(tmp_path, OTHER) == (OTHER, "environment")


def test_posting_what_the_environment_says(tmp_path: Path) -> None:
    store = TokenStore(tmp_path, ENV)
    store.set(None)
    store.set(f" {ENV}\n")
    assert (store.get().value, store.get().source) == (ENV, "environment")


@cases(50, deep=2000)
@given(st.lists(st.tuples(st.sampled_from("ep"), st.sampled_from([None, "hf_aaaa", "hf_bbbb"]))))
def test_the_last_one_set_wins(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str | None]]
) -> None:
    """Random histories of restarts with a variable (e) and of posts (p)."""
    directory = tmp_path_factory.mktemp("tokens")
    variable: str | None = None
    expected: str | None = None
    store = TokenStore(directory, None)
    for kind, value in steps:
        if kind == "p":
            store.set(value)
            expected = value
        else:
            if value is not None and value != variable:
                expected = value
            variable = value
            store = TokenStore(directory, variable)
        assert store.get().value == expected


def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    previous = os.umask(0)
    try:
        TokenStore(tmp_path, ENV)
    finally:
        os.umask(previous)
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert ENV not in (tmp_path / ".hf_token.env").read_text()


def test_a_file_that_others_can_read_is_closed(tmp_path: Path) -> None:
    path = tmp_path / ".hf_token"
    path.write_text(POSTED + "\n")
    path.chmod(0o644)
    assert current(tmp_path, None) == (POSTED, "stored")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_link_is_not_followed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    secret = tmp_path / "elsewhere"
    secret.write_text(POSTED)
    (tmp_path / ".hf_token").symlink_to(secret)
    assert current(tmp_path, None) == (None, "none")
    TokenStore(tmp_path, None).set(OTHER)
    assert secret.read_text() == POSTED
    assert not (tmp_path / ".hf_token").is_symlink()
    assert "cannot be read" in caplog.text


@pytest.mark.parametrize("token", ["hf_with space", "hf_\x00", "hf_é", "x" * 2000, "hf_a\nb"])
def test_what_cannot_be_a_token_is_refused(tmp_path: Path, token: str) -> None:
    store = TokenStore(tmp_path, None)
    store.set(POSTED)
    with pytest.raises(InvalidRequest) as caught:
        store.set(token)
    assert caught.value.code == "invalid_token"
    assert token not in caught.value.message
    assert store.get().value == POSTED


def test_a_directory_that_takes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The variable works all the same; what is posted is refused with the reason."""
    blocked = tmp_path / "file"
    blocked.write_text("")
    store = TokenStore(blocked, ENV)
    assert (store.get().value, store.get().source) == (ENV, "environment")
    assert "cannot be kept" in caplog.text
    with pytest.raises(Unavailable) as caught:
        store.set(POSTED)
    assert caught.value.code == "token_not_kept"


def test_it_is_never_logged_or_shown(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    told: list[str] = []
    with caplog.at_level(logging.DEBUG):
        store = TokenStore(tmp_path, ENV, told.append)
        store.set(POSTED)
        shown = f"{store!r} {store.get()!r} {store.get()}"
    assert {ENV, POSTED} <= set(told)
    for secret in (ENV, POSTED):
        assert secret not in shown
        assert secret not in caplog.text
