"""A Docker engine that builds nothing: it keeps what the real docker client sends."""

from __future__ import annotations

import contextlib
import io
import socketserver
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs, urlsplit


class Engine(socketserver.ThreadingUnixStreamServer):
    """`context` is what the last build was sent, `query` how it was asked for."""

    def __init__(self, path: Path) -> None:
        self.context: tarfile.TarFile | None = None
        self.query: dict[str, list[str]] = {}
        super().__init__(str(path), _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Engine

    def log_message(self, *_: object) -> None:
        pass

    def address_string(self) -> str:
        return "unix"

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Api-Version", "1.44")
        self.send_header("Builder-Version", "1")
        self.send_header("Ostype", "linux")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self) -> None:
        self._answer(b"")

    def do_GET(self) -> None:
        self._answer(b'{"DockerRootDir": "/"}')

    def do_POST(self) -> None:
        body = io.BytesIO()
        while size := int(self.rfile.readline(), 16):
            body.write(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        body.seek(0)
        self.server.query = parse_qs(urlsplit(self.path).query)
        self.server.context = tarfile.open(fileobj=body, mode="r:*")  # noqa: SIM115
        self._answer(b'{"stream": "taken"}\n')


@contextlib.contextmanager
def engine(directory: Path) -> Iterator[tuple[Engine, str]]:
    """The engine, and its address for DOCKER_HOST."""
    path = directory / "docker.sock"
    with Engine(path) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server, f"unix://{path}"
        finally:
            server.shutdown()
            thread.join(10)
