"""`python -m tests.fakes.hub.server ROOT`: prints two addresses, the Hub's and its storage's.

Large files are served by the storage, on another port and hence another origin, through a redirect
as the Hub does it. A proxy's requests (with a whole URL) are answered like direct ones.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from tests.fakes.hub.repos import File, Repos
from tests.fakes.hub.state import Account, Fault, Seen, State

CHUNK = 1 << 18
SLOW_TICK_S = 0.02


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, repos: Repos, state: State, storage: Server | None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repos = repos
        self.state = state
        self.storage = storage

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is nothing to print."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server
    seen: Seen

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._route()

    def do_HEAD(self) -> None:
        self._route()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.server.state.update(json.loads(body))
        self._json(200, {})

    # ---- routes -----------------------------------------------------------------------------

    def _route(self) -> None:
        split = urlsplit(self.path)
        path, query = unquote(split.path), parse_qs(split.query)
        if path == "/fake/seen":
            self._json(200, self.server.state.report())
            return
        self.seen = self.server.state.record(
            Seen(
                self.command,
                path,
                self.headers.get("range", ""),
                self.headers.get("authorization", ""),
                0,
            )
        )
        fault = self.server.state.fault(self.command, path, "status")
        if fault is not None:
            self._json(fault.status, {"error": "out of order"}, fault.headers)
        elif silence := self.server.state.fault(self.command, path, "silence"):
            self._lifted(silence)
            self.close_connection = True
        elif path == "/api/whoami-v2":
            self._whoami()
        elif path.startswith("/api/models/"):
            self._api(path.removeprefix("/api/models/").split("/"), query)
        elif path.startswith("/storage/"):
            repo, _, name = path.removeprefix("/storage/").partition("//")
            self._file(repo, name, self.server.repos.file(repo, name), redirected=True)
        elif "/resolve/" in path:
            repo, _, rest = path.lstrip("/").partition("/resolve/")
            self._resolve(repo, *rest.split("/", 1))
        else:
            self._refuse(404, "Not Found")

    def _account(self) -> Account | None:
        token = self.headers.get("authorization", "").removeprefix("Bearer ")
        return self.server.state.accounts.get(token)

    def _whoami(self) -> None:
        account = self._account()
        if account is None:
            self._refuse(401, "Invalid credentials in Authorization header")
            return
        token: dict[str, Any] = {"displayName": "test", "role": "read"}
        if account.reads_gated is not None:
            token["role"] = "fineGrained"
            token["fineGrained"] = {"canReadGatedRepos": account.reads_gated, "scoped": []}
        auth = {"type": "access_token", "accessToken": token}
        self._json(200, {"type": "user", "name": account.name, "auth": auth})

    def _visible(self, repo: str) -> bool:
        """False: refused, as the Hub refuses what it will not admit to have."""
        sent, account = self.headers.get("authorization"), self._account()
        if sent and account is None:
            self._refuse(401, "Invalid credentials in Authorization header")
            return False
        mine = account is not None and repo in account.repos
        hidden = repo in self.server.state.private and not mine
        if self.server.repos.files(repo) is None or hidden:
            if account is None:
                self._refuse(401, "Invalid username or password.")
            else:
                self._refuse(404, "Repository not found", "RepoNotFound")
            return False
        return True

    def _readable(self, repo: str) -> bool:
        """False: refused, because it is gated."""
        account = self._account()
        if repo not in self.server.state.gated:
            return True
        if account is None:
            what = f"Access to model {repo} is restricted. You must have access to it and be"
            self._refuse(401, f"{what} authenticated to access it. Please log in.", "GatedRepo")
        elif account.reads_gated is False:
            what = "Please enable access to public gated repositories in your fine-grained token"
            self._refuse(403, f"{what} settings to view this repository.")
        elif repo not in account.repos:
            what = f"Access to model {repo} is restricted and you are not in the authorized list."
            self._refuse(403, what, "GatedRepo")
        else:
            return True
        return False

    def _at(self, repo: str, revision: str) -> bool:
        if revision in ("main", "v1", self.server.repos.commit(repo)):
            return True
        self._refuse(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return False

    def _api(self, parts: list[str], query: dict[str, list[str]]) -> None:
        repo, rest = "/".join(parts[:2]), parts[2:]
        if not self._visible(repo):
            return
        if rest == ["auth-check"]:
            if self._readable(repo):
                self._json(200, {})
            return
        if rest and not self._at(repo, "/".join(rest[1:])):
            return
        files = self.server.repos.files(repo) or []
        if rest and rest[0] == "tree":
            self._json(200, [file.leaf() for file in files])
            return
        state = self.server.state
        listed = [file.sibling() for file in files]
        for file in listed:
            file["rfilename"] = state.rename.get(file["rfilename"], file["rfilename"])
        if state.bare_listing or "blobs" not in query:
            listed = [{"rfilename": file["rfilename"]} for file in listed]
        gated = "manual" if repo in state.gated else False
        card = {"id": repo, "modelId": repo, "sha": self.server.repos.commit(repo)}
        private = repo in state.private
        self._json(200, {**card, "gated": gated, "private": private, "siblings": listed})

    def _resolve(self, repo: str, revision: str, name: str) -> None:
        if not (self._visible(repo) and self._readable(repo) and self._at(repo, revision)):
            return
        file = self.server.repos.file(repo, name)
        if file is None:
            self._refuse(404, "Entry not found", "EntryNotFound")
        elif file.sha256 and self.server.storage:
            place = f"{self.server.storage.url}/storage/{quote(repo)}//{quote(name)}?signature=s"
            commit = self.server.repos.commit(repo)
            self._begin(
                302,
                0,
                {
                    "location": place,
                    "x-repo-commit": commit,
                    "x-linked-size": str(file.size),
                    "x-linked-etag": f'"{file.etag}"',
                },
            )
        else:
            self._file(repo, name, file)

    # ---- bodies -----------------------------------------------------------------------------

    def _file(self, repo: str, name: str, file: File | None, redirected: bool = False) -> None:
        if file is None:
            self._refuse(404, "Not Found")
            return
        fault = self.server.state.fault(
            self.command, self.seen.path, "stall", "cut", "corrupt", "slow", "ignore-range",
            "wrong-range",
        )  # fmt: skip
        kind = fault.do if fault else ""
        begin, status = 0, 200
        headers = {"etag": f'"{file.etag}"', "accept-ranges": "bytes"}
        if not redirected:
            headers["x-repo-commit"] = self.server.repos.commit(repo)
        if self.seen.range and kind != "ignore-range":
            begin = int(self.seen.range.removeprefix("bytes=").partition("-")[0])
            if begin >= file.size:
                self._begin(416, 0, {"content-range": f"bytes */{file.size}"})
                return
            status = 206
            begin += kind == "wrong-range"
            headers["content-range"] = f"bytes {begin}-{file.size - 1}/{file.size}"
        self._begin(status, file.size - begin, headers)
        if self.command == "GET":
            self._body(file, begin, fault)

    def _body(self, file: File, begin: int, fault: Fault | None) -> None:
        kind = fault.do if fault else ""
        end = file.size if fault is None or kind not in ("stall", "cut") else fault.after
        with file.path.open("rb") as content:
            content.seek(begin)
            if not kind:
                self.seen.sent += self.connection.sendfile(content, begin)
                return
            while begin < end and (chunk := content.read(min(CHUNK, end - begin))):
                if fault and kind == "slow":
                    chunk = chunk[: max(1, int(fault.rate * SLOW_TICK_S))]
                    content.seek(begin + len(chunk))
                    time.sleep(SLOW_TICK_S)
                if kind == "corrupt" and begin == 0:
                    chunk = bytes([chunk[0] ^ 1]) + chunk[1:]
                self.connection.sendall(chunk)
                self.seen.sent += len(chunk)
                begin += len(chunk)
            if kind == "stall" and fault and self._lifted(fault):
                self.seen.sent += self.connection.sendfile(content, begin)
                return
        if kind in ("stall", "cut"):
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

    def _lifted(self, fault: Fault) -> bool:
        """Wait until the fault is taken back (True) or the client has had enough."""
        while fault in self.server.state.faults:
            if select.select([self.connection], [], [], 0.02)[0]:
                return False
        return True

    def _begin(self, status: int, length: int, headers: dict[str, str]) -> None:
        if hasattr(self, "seen"):
            self.seen.status = status
        self.send_response(status)
        for name, value in {**headers, "content-length": str(length)}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.flush()

    def _json(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(value).encode()
        self._begin(status, len(body), {"content-type": "application/json", **(headers or {})})
        if self.command != "HEAD":
            self.wfile.write(body)

    def _refuse(self, status: int, message: str, code: str = "") -> None:
        headers = {"x-error-message": message} | ({"x-error-code": code} if code else {})
        self._json(status, {"error": message}, headers)


def main(root: str) -> None:
    repos, state = Repos(Path(root)), State()
    storage = Server(repos, state, None)
    hub = Server(repos, state, storage)
    print(hub.url, storage.url, flush=True)
    Thread(target=storage.serve_forever, daemon=True).start()
    hub.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1])
