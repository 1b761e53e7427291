"""What surrounds every request, as pure ASGI: the layers of `stack`, outermost first.

RequestMiddleware    request id, security headers, the id in every log line; each request at debug
CORSMiddleware       when CORS_ORIGINS is set; outside of what refuses, so that pages can read it
ErrorMiddleware      whatever is raised becomes an answer in the dialect of the route
AccessMiddleware     who may do what (auth.py)
BodyLimitMiddleware  what is too large, too slow or too much, before or while it comes (bodies.py)
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import re
import time
from collections.abc import Awaitable

from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.app.auth import AccessMiddleware, Policy, caller_of
from backend.app.bodies import BodyLimitMiddleware, is_left_unread
from backend.app.config import Settings
from backend.app.errors import (
    Dialect,
    Draining,
    Forbidden,
    GatewayError,
    Internal,
    NoRoom,
    TooLarge,
    TooSlow,
    Unauthorized,
    headers,
    render,
    too_many_files,
)
from backend.app.logs import current_request_id
from backend.app.waiting import within

log = logging.getLogger(__name__)

LINGER_S = 2.0
"""How long a client may go on sending a body that was refused before the connection is cut.

Cut at once, its side of the connection is reset, and some clients never see our answer."""

_BEFORE_THE_BODY = (Unauthorized, Forbidden, TooSlow, TooLarge, NoRoom)
"""Raised before a body was read to its end."""
_API = ("/v1/", "/api/", "/tokenize", "/detokenize", "/metrics", "/healthz", "/readyz")
_REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")
_CSP = (
    "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "style-src 'self' 'unsafe-inline'; connect-src 'self'; frame-ancestors 'none'; "
    "base-uri 'none'; object-src 'none'"
)
_API_HEADERS = [(b"x-content-type-options", b"nosniff")]
_PAGE_HEADERS = [
    *_API_HEADERS,
    (b"content-security-policy", _CSP.encode()),
    (b"referrer-policy", b"no-referrer"),
]


def stack(settings: Settings, policy: Policy) -> list[Middleware]:
    """All layers, for `FastAPI(middleware=...)`.

    Not around the application: its own ServerErrorMiddleware would answer errors before us.
    """
    cors = Middleware(
        CORSMiddleware,
        allow_origins=settings.cors_origins,
        allow_methods=["*"],
        allow_headers=["*"],
        expose_headers=["x-request-id", "retry-after"],
    )
    return [
        Middleware(RequestMiddleware),
        *([cors] if settings.cors_origins else []),
        Middleware(ErrorMiddleware),
        Middleware(AccessMiddleware, policy=policy),
        Middleware(BodyLimitMiddleware, settings=settings),
    ]


def request_id_of(scope: Scope) -> str:
    """The id of a request that has passed `RequestMiddleware`."""
    request_id: str = scope["state"]["request_id"]
    return request_id


def send_rest_of(scope: Scope) -> Send:
    """The server's own `send`, for what follows the head of an answer.

    No layer adds anything there, and to pass through all of them would cost a tenth of the time
    that is spent on each token of a stream.
    """
    send: Send = scope["state"]["send_rest"]
    return send


def dialect_of(path: str) -> Dialect:
    """Whose error envelope a path speaks."""
    if path.startswith("/v1/messages"):
        return Dialect.ANTHROPIC
    return Dialect.RESPONSES if path.startswith("/v1/responses") else Dialect.OPENAI


async def error_response(
    send: Send, error: GatewayError, scope: Scope, unread: Receive | None = None
) -> None:
    """Answer with `error`. Give `unread` when the body was not read: the connection then ends."""
    state = scope.get("state", {})
    operator = "caller" in state and caller_of(scope).admin
    said = render(error, dialect_of(scope["path"]), state.get("request_id"), operator=operator)
    body = json.dumps(said, ensure_ascii=False).encode()
    fields = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        *((name.encode(), value.encode()) for name, value in headers(error).items()),
    ]
    if unread is not None:
        fields.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": error.status, "headers": fields})
    await send({"type": "http.response.body", "body": body, "more_body": unread is not None})
    if unread is not None:
        with contextlib.suppress(asyncio.TimeoutError):
            await within(LINGER_S, _discard(unread))
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _discard(receive: Receive) -> None:
    while (await receive()).get("more_body"):
        pass


class RequestMiddleware:
    """Gives every request an id and every answer its headers."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = _request_id(scope)
        state = scope.setdefault("state", {})
        state["request_id"], state["send_rest"] = request_id, send
        api = scope["path"].startswith(_API)
        fields = [(b"x-request-id", request_id.encode()), *(_API_HEADERS if api else _PAGE_HEADERS)]
        began, status = time.monotonic(), 0

        def send_with_fields(message: Message) -> Awaitable[None]:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                given = message.get("headers", ())
                message["headers"] = [*(f for f in given if f[0] != b"x-request-id"), *fields]
            return send(message)

        # the server leaves the body of an answer to HEAD out by itself
        asked = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
        token = current_request_id.set(request_id)
        try:
            await self.app(asked, receive, send_with_fields)
        finally:
            if log.isEnabledFor(logging.DEBUG):
                took = time.monotonic() - began
                log.debug("%s %a %d in %.3f s", scope["method"], scope["path"], status, took)
            current_request_id.reset(token)


def _request_id(scope: Scope) -> str:
    """The client's own if it is short and printable, else a fresh one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return str(value, "ascii")
    return "req_" + os.urandom(12).hex()


class ErrorMiddleware:
    """Turns what is raised into an answer, or breaks off an answer that has begun."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        def send_and_note(message: Message) -> Awaitable[None]:
            nonlocal started
            started = True
            return send(message)

        error: GatewayError
        try:
            await self.app(scope, receive, send_and_note)
            return
        except ClientDisconnect:
            return
        except asyncio.CancelledError:
            if started:
                raise
            # only the server cancels a request, when it stops waiting at its end
            error = Draining("The gateway is shutting down.", retry_after=5)
        except GatewayError as exc:
            error = exc
            if error.status >= 500:
                said = exc.detail or exc.message
                log.warning("%s %s: %d %s", scope["method"], scope["path"], exc.status, said)
        except Exception as exc:
            log.exception("%s %s: unexpected error", scope["method"], scope["path"])
            error = too_many_files(exc) or Internal(scope.get("state", {}).get("request_id"))
        if started:
            # Too late for a status. The server sees an answer without end and cuts the connection.
            log.warning("The answer broke off: %s", error.detail or error.message)
        else:
            unread = isinstance(error, _BEFORE_THE_BODY) and is_left_unread(scope)
            await error_response(send, error, scope, receive if unread else None)
