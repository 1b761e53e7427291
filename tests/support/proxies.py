"""The proxies of doc/security.md as processes, with the configuration that we ship.

Only what must differ here is replaced: addresses, the certificate, and where files go.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.support.gateway import eventually

ROOT = Path(__file__).resolve().parents[2]
NAME = "gateway.example.com"
UPSTREAM = "127.0.0.1:8000"
NGINX = """
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    include {directory}/servertestllm.conf;
}}
"""


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _replaced(text: str, changes: dict[str, str]) -> str:
    """Each must be there: what we ship and what is tested are the same text."""
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


def certificate(directory: Path) -> Path:
    """A certificate for gateway.example.com, signed by itself."""
    made = directory / "fullchain.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"),
            *("-subj", "/CN=gateway.example.com"),
            *("-addext", "subjectAltName=DNS:gateway.example.com,IP:127.0.0.1"),
            *("-keyout", str(directory / "privkey.pem"), "-out", str(made)),
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )
    return made


@contextlib.contextmanager
def _process(argv: list[str], port: int, directory: Path, **env: str) -> Iterator[None]:
    log = directory / "output.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            argv, stdout=output, stderr=output, cwd=directory, env=os.environ | env
        )

        def listens() -> bool:
            assert process.poll() is None, log.read_text()
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return True
            return False

        try:
            eventually(listens, 20, f"{argv[0]} listens")
            yield
        finally:
            process.terminate()
            process.wait(20)


@contextlib.contextmanager
def nginx(upstream: str, directory: Path) -> Iterator[str]:
    """https, as shipped. `upstream` is host:port."""
    port, plain = _free_port(), _free_port()
    certificate(directory)
    shipped = (ROOT / "deploy" / "nginx.conf").read_text()
    (directory / "servertestllm.conf").write_text(
        _replaced(
            shipped,
            {
                UPSTREAM: upstream,
                "listen 80;": f"listen 127.0.0.1:{plain};",
                "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
                "/etc/ssl/servertestllm": str(directory),
            },
        )
    )
    main = directory / "nginx.conf"
    main.write_text(NGINX.format(directory=directory))
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program, "install nginx (make test does)"
    argv = [program, "-p", str(directory), "-e", str(directory / "error.log"), "-c", str(main)]
    with _process(argv, port, directory):
        yield f"https://127.0.0.1:{port}"


@contextlib.contextmanager
def caddy(upstream: str, directory: Path) -> Iterator[str]:
    """http: Caddy cannot get a certificate for the name here."""
    port = _free_port()
    shipped = (ROOT / "deploy" / "Caddyfile").read_text()
    site = f"http://{NAME}:{port} {{\n\tbind 127.0.0.1"
    changes = {UPSTREAM: upstream, f"{NAME} {{": site}
    config = directory / "Caddyfile"
    config.write_text("{\n\tadmin off\n}\n" + _replaced(shipped, changes))
    program = shutil.which("caddy")
    assert program, "install caddy (make test does)"
    argv = [program, "run", "--adapter", "caddyfile", "--config", str(config)]
    with _process(argv, port, directory, HOME=str(directory), XDG_DATA_HOME=str(directory)):
        yield f"http://127.0.0.1:{port}"


Proxy = Callable[[str, Path], contextlib.AbstractContextManager[str]]
PROXIES: list[Proxy] = [nginx, caddy]
