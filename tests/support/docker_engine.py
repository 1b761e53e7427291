"""A Docker engine that builds and runs nothing: it keeps what the real docker client sends."""

from __future__ import annotations

import contextlib
import io
import json
import re
import socketserver
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit


class Engine(socketserver.ThreadingUnixStreamServer):
    """`context` is what the last build was sent, `query` how it was asked for; `created` holds what
    each container was made of, by name. They all run, and whatever is run in one succeeds.
    """

    def __init__(self, path: Path) -> None:
        self.context: tarfile.TarFile | None = None
        self.query: dict[str, list[str]] = {}
        self.created: dict[str, dict[str, Any]] = {}
        super().__init__(str(path), _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Engine

    def log_message(self, *_: object) -> None:
        pass

    def address_string(self) -> str:
        return "unix"

    def _answer(self, answer: object, status: int = 200) -> None:
        body = b"" if self.command == "HEAD" else json.dumps(answer).encode() + b"\n"
        self.send_response(status)
        self.send_header("Api-Version", "1.44")
        self.send_header("Builder-Version", "1")
        self.send_header("Ostype", "linux")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_HEAD(self) -> None:
        self._answer(None)

    def do_GET(self) -> None:
        container = re.search(r"/containers/([^/]+)/json", self.path)
        if container is None:
            self._answer({"DockerRootDir": "/", "Running": False, "ExitCode": 0})
        elif (made := self.server.created.get(container[1])) is not None:
            state = {"Status": "running", "Running": True}
            self._answer({"Id": container[1], "State": state, "RestartCount": 0, "Config": made})
        else:
            self._answer({"message": "No such container"}, 404)

    def do_POST(self) -> None:
        body = self._body()
        where = urlsplit(self.path)
        if where.path.endswith("/build"):
            self.server.query = parse_qs(where.query)
            self.server.context = tarfile.open(fileobj=body, mode="r:*")  # noqa: SIM115
            self._answer({"stream": "taken"})
        elif where.path.endswith("/containers/create"):
            (name,) = parse_qs(where.query)["name"]
            self.server.created[name] = json.load(body)
            self._answer({"Id": name, "Warnings": []}, 201)
        elif re.search(r"/exec/\w+/start$", where.path):
            self.send_response(101, "UPGRADED")  # what is run has nothing to say
            self.send_header("Connection", "Upgrade")
            self.send_header("Upgrade", "tcp")
            self.end_headers()
            self.close_connection = True
        else:
            self._answer({"Id": "run"}, 201)

    def _body(self) -> io.BytesIO:
        body = io.BytesIO(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                body.write(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            body.seek(0)
        return body


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
