"""What keeps a gateway from listening is said before anything else, with the cure."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest

from backend.app.commands.listen import bind
from backend.app.config import ConfigError, Settings
from tests.support.command_line import CommandLine


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates and keys: `a`, `b`, and `locked`, whose key has a pass phrase."""
    directory = tmp_path_factory.mktemp("pem")
    for name, lock in (("a", "-nodes"), ("b", "-nodes"), ("locked", "-passout=pass:word")):
        files = ["-keyout", f"{name}.key", "-out", f"{name}.crt"]
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-subj", "/CN=localhost"]
        subprocess.run(
            [*command, *files, *lock.split("=")], cwd=directory, check=True, capture_output=True
        )
    both = (directory / "a.crt").read_bytes() + (directory / "a.key").read_bytes()
    (directory / "both.pem").write_bytes(both)
    (directory / "garbage").write_text("-----BEGIN CERTIFICATE-----\nno\n")
    return directory


def settings(**values: object) -> Settings:
    return Settings.model_validate({"api_host": "127.0.0.1", "api_port": 0, **values})


def refusal(**values: object) -> str:
    with pytest.raises(ConfigError) as told:
        bind(settings(**values))
    return str(told.value)


@pytest.mark.parametrize(
    ("certificate", "key", "words"),
    [
        ("gone", "a.key", ["SSL_CERTFILE=", "gone cannot be read: No such file"]),
        (".", "a.key", ["SSL_CERTFILE=", "cannot be read: Is a directory"]),
        ("a.crt", "gone", ["SSL_KEYFILE=", "gone cannot be read: No such file"]),
        ("a.crt", "b.key", ["SSL_CERTFILE=", "SSL_KEYFILE=", "go together"]),
        ("a.crt", "garbage", ["SSL_KEYFILE=", "go together"]),
        ("garbage", "a.key", ["SSL_CERTFILE=", "go together"]),
        ("locked.crt", "locked.key", ["SSL_KEYFILE=", "without a pass phrase"]),
        ("a.crt", None, ["SSL_CERTFILE=", "SSL_KEYFILE not set"]),
        (None, "a.key", ["SSL_KEYFILE", "without SSL_CERTFILE"]),
    ],
)
def test_a_certificate_that_cannot_be_used(
    pem: Path, certificate: str | None, key: str | None, words: list[str]
) -> None:
    told = refusal(ssl_certfile=certificate and pem / certificate, ssl_keyfile=key and pem / key)
    assert all(word in told for word in words), told


@pytest.mark.parametrize(("certificate", "key"), [("a.crt", "a.key"), ("both.pem", None)])
def test_a_certificate_that_can(pem: Path, certificate: str, key: str | None) -> None:
    bind(settings(ssl_certfile=pem / certificate, ssl_keyfile=key and pem / key)).close()


@pytest.mark.parametrize("host", ["no-such-host.invalid", "192.0.2.7", "::zz", "é" * 70])
def test_a_wrong_host_is_not_blamed_on_the_port(host: str) -> None:
    told = refusal(api_host=host)
    assert f"API_HOST={host} " in told
    assert "Set API_HOST to an address of this machine" in told
    assert "another port" not in told


def test_a_taken_port_is_not_blamed_on_the_host() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        told = refusal(api_port=taken.getsockname()[1])
    assert "set API_PORT to another port" in told
    assert "Set API_HOST" not in told


def test_it_ends_with_2_and_no_traceback(tmp_path: Path) -> None:
    line = CommandLine(tmp_path, MODEL_SET="demo", API_PORT="0", SSL_CERTFILE="/nope.pem")
    code, _, err = line("serve")
    assert (code, err) == (2, "SSL_CERTFILE=/nope.pem cannot be read: No such file or directory.\n")
