"""Routes, generation and misbehaviour."""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import signal
from typing import Any

from .ask import Ask, Refused, read
from .dialects import DIALECTS, Chat, Responses
from .embeddings import embed
from .http import Connection, Request


class Server:
    """Answers requests on any number of connections until told to stop."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.names: list[str] = options.served_model_name
        self.connections: set[Connection] = set()
        self.idle = asyncio.Event()
        self.idle.set()
        self.hung = False
        self.streams = 0
        names = ("requests", "running", "aborted", "completed", "bodies_bytes")
        self.stats = dict.fromkeys(names, 0)
        self.last = Request()
        self.kept: dict[str, dict[str, Any]] = {}

    def connect(self) -> Connection:
        return Connection(self.handle, self.connections)

    async def handle(self, request: Request, client: Connection) -> None:
        if request.path.startswith("/fake/"):
            client.send_json(200, self._inspect(request.path))
            return
        await self._freeze_if_hung()
        try:
            if request.method == "POST":
                await self._post(request, client)
            else:
                self._get(request.path, client)
        except Refused as refused:
            dialect = DIALECTS.get(request.path, Chat)
            client.send_json(refused.status, dialect.refusal(refused))
            if refused.status >= 500:
                client.close()  # as vLLM's does, without saying so in the headers

    def _inspect(self, path: str) -> dict[str, Any]:
        if path == "/fake/stats":
            return self.stats
        body = self.last.body
        return {
            "method": self.last.method,
            "path": self.last.path,
            "headers": self.last.headers,
            "bytes": len(body),
            "sha256": hashlib.sha256(body).hexdigest(),
            "body": body[:65536].decode("utf-8", "replace"),
        }

    def _get(self, path: str, client: Connection) -> None:
        if path == "/health":
            client.send(503 if self.options.fake_never_ready else 200)
        elif path == "/v1/models":
            client.send_json(200, {"object": "list", "data": [self._card(n) for n in self.names]})
        elif path == "/metrics":
            client.send(200, self._metrics().encode(), "text/plain; version=0.0.4; charset=utf-8")
        elif path.startswith("/v1/responses/"):
            self._response(path, client)
        else:
            client.send_json(404, {"detail": "Not Found"})

    def _card(self, name: str) -> dict[str, Any]:
        length = self.options.max_model_len or None
        root = self.options.model
        fields = {"owned_by": "vllm", "root": root, "parent": None, "max_model_len": length}
        return {"id": name, "object": "model", "created": 0, **fields, "permission": []}

    def _metrics(self) -> str:
        label = f'{{engine="0",model_name="{self.names[0]}"}}'
        running, done = self.stats["running"], self.stats["completed"]
        return (
            "# TYPE vllm:num_requests_running gauge\n"
            f"vllm:num_requests_running{label} {running}.0\n"
            "# TYPE vllm:num_requests_waiting gauge\n"
            f"vllm:num_requests_waiting{label} 0.0\n"
            "# TYPE vllm:request_success_total counter\n"
            f"vllm:request_success_total{label} {done}.0\n"
        )

    def _response(self, path: str, client: Connection) -> None:
        name = path.split("/")[3]
        if name in self.kept:
            client.send_json(200, self.kept[name])
            return
        message = f"Response with id '{name}' not found."
        raise Refused(404, "invalid_request_error", message, "response_id")

    async def _post(self, request: Request, client: Connection) -> None:
        if request.path.startswith("/v1/responses/"):
            self._response(request.path, client)
            return
        pooling = self.options.runner == "pooling"
        makes = {"/v1/embeddings"} if pooling else {*DIALECTS, "/v1/messages/count_tokens"}
        known = {*makes, "/tokenize", "/detokenize"}
        if request.path not in known:
            client.send_json(404, {"detail": "Not Found"})
            return
        body = self._json(request)
        if request.path == "/detokenize":
            client.send_json(200, {"prompt": "".join(map(chr, body.get("tokens", [])))})
            return
        if request.path == "/v1/embeddings":
            client.send_json(200, embed(body, self.names))
            return
        try:
            ask = read(body, self.options.fake_tokens, self.names[0])
        except (AttributeError, KeyError, TypeError) as exc:  # what pydantic would have refused
            raise Refused(400, "Bad Request", f"1 validation error:\n  {exc}", "body") from None
        self._check(ask)
        if request.path == "/tokenize":
            tokens = [ord(letter) for letter in " ".join(ask.prompt)]
            length = self.options.max_model_len or 32768
            client.send_json(200, {"count": len(tokens), "max_model_len": length, "tokens": tokens})
        elif request.path.endswith("/count_tokens"):
            client.send_json(200, {"input_tokens": len(ask.prompt)})
        else:
            await self._account(ask, request, client)

    def _json(self, request: Request) -> dict[str, Any]:
        if request.headers.get("content-type", "").partition(";")[0] != "application/json":
            problem = "Unsupported Media Type: Only 'application/json' is allowed"
        else:
            try:
                value = json.loads(request.body)
                if isinstance(value, dict):
                    return value
                problem = "{'type': 'model_attributes_type', 'loc': 'body'}"
            except ValueError as exc:
                problem = f"{{'type': 'json_invalid', 'loc': 'body', 'ctx': {{'error': '{exc}'}}}}"
        raise Refused(400, "Bad Request", f"1 validation error:\n  {problem}", "body")

    def _check(self, ask: Ask) -> None:
        if ask.model not in self.names:
            message = f"The model `{ask.model}` does not exist."
            raise Refused(404, "NotFoundError", message, "model")
        limit = self.options.max_model_len
        if limit and len(ask.prompt) > limit:
            message = (
                f"This model's maximum context length is {limit} tokens. However, your prompt "
                f"contains {len(ask.prompt)} tokens. Please reduce the length of the input prompt."
            )
            raise Refused(400, "BadRequestError", message, "input_tokens")
        trigger = self.options.fake_500_on
        if trigger and trigger in " ".join(ask.prompt):
            raise Refused(500, "InternalServerError", f"asked to fail on {trigger!r}")

    async def _account(self, ask: Ask, request: Request, client: Connection) -> None:
        dialect = DIALECTS[request.path](ask)
        if len(ask.words) == 1:
            await self._answer(dialect, client, fatal=None)
            return
        self.last = request
        self.streams += ask.stream
        self.stats["requests"] += 1
        self.stats["bodies_bytes"] += len(request.body)
        self.stats["running"] += 1
        self.idle.clear()
        try:
            await self._answer(dialect, client, fatal=self._fatal() if ask.stream else None)
            self.stats["completed"] += 1
            if isinstance(dialect, Responses) and self.options.fake_keep_responses:
                self.kept[dialect.id] = dialect.whole()
        except asyncio.CancelledError:
            self.stats["aborted"] += 1
            raise
        finally:
            self.stats["running"] -= 1
            if not self.stats["running"]:
                self.idle.set()
        self.hung = self.stats["completed"] == self.options.fake_hang_after_requests

    def _fatal(self) -> signal.Signals | None:
        """The signal that ends us in the middle of this stream."""
        if self.streams == self.options.fake_crash_after_requests:
            return signal.SIGKILL
        if self.streams == self.options.fake_stop_mid_stream:
            return signal.SIGSTOP
        return None

    async def _answer(
        self, dialect: Chat, client: Connection, fatal: signal.Signals | None
    ) -> None:
        options = self.options
        if options.fake_ttft_s:
            await asyncio.sleep(options.fake_ttft_s)
        if not dialect.ask.stream:
            await self._pace(len(dialect.ask.words))
            client.send_json(200, dialect.whole())
            return
        client.begin_stream()
        for frame in dialect.opening():
            await client.chunk(frame)
        half = len(dialect.ask.words) / 2
        for number, frame in enumerate(dialect.frames(), 1):
            await client.chunk(frame)
            if fatal and number >= half:
                if options.fake_half_frame:
                    await client.chunk(frame[: len(frame) // 2])
                await asyncio.sleep(0)
                os.kill(os.getpid(), fatal)
                fatal = None  # stopped, and then continued
            if number % options.fake_burst == 0 or options.fake_tps:
                await self._pace(1)
        closing = dialect.closing()
        for frame in closing[:-1] if options.fake_unclosed_stream else closing:
            await client.chunk(frame)
        client.end_stream()

    async def _pace(self, tokens: int) -> None:
        await self._freeze_if_hung()
        await asyncio.sleep(tokens / self.options.fake_tps if self.options.fake_tps else 0)

    async def _freeze_if_hung(self) -> None:
        if self.hung:
            await asyncio.Event().wait()
