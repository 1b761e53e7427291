"""What every audio engine has around it: a socket, health, streaming in and out, a clean end.

The socket is open before anything heavy is imported; loading runs in a thread and reports phases,
by `/health` and as lines `PHASE name detail`. SIGTERM lets requests in flight finish, within the
grace, and exits 0. A load that fails exits 1 with the reason on the last line.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hmac
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from pathlib import Path
from typing import NoReturn, Protocol

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from .protocol import NDJSON, PARAMS_HEADER, Failed, Health, Message, ProtocolError, encode

Phase = Callable[[str, str], None]
"""Called with a phase's name and a detail for people."""


class Refused(Exception):
    """Ends a request with this error; the worker goes on."""

    def __init__(self, code: str, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.failed = Failed(code=code, message=message, retryable=retryable)


class Service(Protocol):
    """What a worker does. `answer` is only called between `load` and the end."""

    route: str

    def load(self, phase: Phase) -> None:
        """Blocks, in a thread of its own, until the first request would succeed."""
        ...

    def running(self) -> contextlib.AbstractAsyncContextManager[object]:
        """Entered in the event loop before `load`, left after the last request."""
        ...

    def answer(self, params: str, body: AsyncIterator[bytes]) -> AsyncGenerator[Message, None]:
        """Raises Refused, or ProtocolError for unreadable parameters; before the first message that
        becomes the status."""
        ...

    def health(self) -> Health:
        """Its part of an answer to /health; the shell knows the phase."""
        ...


class _Body:
    """The request's body, read no faster than it is used; and whether the client is still there."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._pieces: asyncio.Queue[bytes | None] = asyncio.Queue(maxsize=2)

    async def pump(self) -> None:
        """Returns when the client is gone."""
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                return
            if message.get("body"):
                await self._pieces.put(message["body"])
            if not message.get("more_body"):
                await self._pieces.put(None)

    async def pieces(self) -> AsyncIterator[bytes]:
        while (piece := await self._pieces.get()) is not None:
            yield piece


class _Answer(Response):
    """Streams messages while the body is still coming in; ends the work when the client leaves."""

    def __init__(self, shell: Shell, params: str) -> None:
        self._shell = shell
        self._params = params

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = _Body(receive)
        pump = asyncio.ensure_future(body.pump())
        work = asyncio.ensure_future(self._write(body.pieces(), send))
        self._shell.in_flight += 1
        try:
            await asyncio.wait({pump, work}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._shell.in_flight -= 1
            for task in (pump, work):
                task.cancel()
            await asyncio.wait({pump, work})
        if not work.cancelled():
            work.result()

    async def _write(self, body: AsyncIterator[bytes], send: Send) -> None:
        started = False

        async def write(message: Message, status: int = 200) -> None:
            nonlocal started
            if not started:
                started = True
                headers = [(b"content-type", NDJSON.encode())]
                await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": encode(message), "more_body": True})

        async with contextlib.aclosing(self._shell.service.answer(self._params, body)) as messages:
            try:
                async for message in messages:
                    await write(message)
            except Refused as exc:
                await write(exc.failed, _status(exc.failed))
            except ProtocolError as exc:
                await write(Failed(code="bad_request", message=str(exc)), 400)
            except Exception as exc:
                traceback.print_exc()
                name = type(exc).__name__
                failed = Failed(code="engine_error", message=f"The engine failed ({name}).")
                await write(failed, 500)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _status(failed: Failed) -> int:
    if failed.code.startswith("bad_"):
        return 400
    return 503 if failed.retryable else 500


class Shell:
    """One service behind one socket."""

    def __init__(self, service: Service, token: str | None, grace_s: float) -> None:
        self.service = service
        self.in_flight = 0
        self._token = token
        self._phase = ("starting", "")
        self.failure: str | None = None
        app = Starlette(
            routes=[
                Route("/health", self._health, methods=["GET"]),
                Route(service.route, self._request, methods=["POST"]),
            ],
            lifespan=self._lifespan,
        )
        self.server = uvicorn.Server(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                ws="none",
                timeout_keep_alive=600,
                timeout_graceful_shutdown=max(1, round(grace_s)),
            )
        )

    def phase(self, name: str, detail: str = "") -> None:
        self._phase = (name, detail)
        print(f"PHASE {name} {detail}".rstrip(), flush=True)

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        async with self.service.running():
            threading.Thread(target=self._load, name="load", daemon=True).start()
            yield

    def _load(self) -> None:
        try:
            self.phase("starting", f"pid {os.getpid()}")
            self.service.load(self.phase)
            self.phase("ready")
        except BaseException as exc:
            traceback.print_exc()
            self.failure = f"{type(exc).__name__}: {exc}"
            self.server.should_exit = True

    def _refusal(self, request: Request) -> tuple[int, Failed] | None:
        sent = request.headers.get("authorization", "").encode()
        if self._token and not hmac.compare_digest(sent, f"Bearer {self._token}".encode()):
            return 401, Failed(code="bad_request", message="The token is missing or wrong.")
        if self.server.should_exit:
            message = "The engine is being stopped."
            return 503, Failed(code="draining", message=message, retryable=True)
        return None

    async def _health(self, request: Request) -> Response:
        refusal = self._refusal(request)
        if refusal and refusal[0] == 401:
            return Response(encode(refusal[1]), refusal[0], media_type=NDJSON)
        name, detail = ("draining", "") if refusal else self._phase
        known = self.service.health()
        health = Health(
            phase=name,
            detail=detail,
            languages=known.languages,
            in_flight=self.in_flight,
            queued=known.queued,
        )
        status = 200 if name == "ready" else 503
        return Response(encode(health), status, media_type="application/json")

    async def _request(self, request: Request) -> Response:
        refusal = self._refusal(request)
        if refusal is None and self._phase[0] != "ready":
            message = f"The engine is loading ({self._phase[0]})."
            refusal = 503, Failed(code="loading", message=message, retryable=True)
        if refusal is not None:
            return Response(encode(refusal[1]), refusal[0], media_type=NDJSON)
        return _Answer(self, request.headers.get(PARAMS_HEADER, "{}"))


def add_model_arguments(parser: argparse.ArgumentParser, model: str) -> None:
    """What every engine of ours is told: its model (`model` says what that is), and where to run.
    The gateway gives the same to each."""
    parser.add_argument("--model", type=Path, required=True, help=model)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    add_listen_arguments(parser)


def add_listen_arguments(parser: argparse.ArgumentParser) -> None:
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--uds", help="Unix socket to listen on; made private to this user")
    where.add_argument("--port", type=int, help="TCP port, for an engine on another machine")
    parser.add_argument("--host", default="127.0.0.1", help="address for --port")
    parser.add_argument("--token", help="what clients must send as Bearer")
    parser.add_argument(
        "--grace-s", type=float, default=30, help="how long requests may finish after SIGTERM"
    )


def _listen(args: argparse.Namespace) -> socket.socket:
    if args.uds is None:
        return socket.create_server((args.host, args.port))
    with contextlib.suppress(FileNotFoundError):
        os.unlink(args.uds)
    listener = socket.socket(socket.AF_UNIX)
    mask = os.umask(0o177)
    try:
        listener.bind(args.uds)
    finally:
        os.umask(mask)
    return listener


def serve(service: Service, args: argparse.Namespace) -> NoReturn:
    """Run until a signal or a failed load, then end the process."""
    shell = Shell(service, args.token, args.grace_s)
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn raises the signal again once it has shut down: the end shall be exit 0
        signal.signal(number, lambda *_: None)
    shell.server.run(sockets=[_listen(args)])
    sys.stdout.flush()
    if shell.failure:
        print(f"Loading failed: {shell.failure}", file=sys.stderr)
    sys.stderr.flush()
    # a loading thread or a running kernel must not hold the process up
    os._exit(1 if shell.failure else 0)
