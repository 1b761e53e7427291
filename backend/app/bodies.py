"""How requests' bodies come in: how large each may be, how long one may stall, how much all hold.

Uploads go to the spool, which has a budget of its own; every other body is held in memory until
its request is over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.app.config import Settings
from backend.app.errors import GatewayError, NoRoom, TooLarge, TooSlow
from backend.app.waiting import within

MIB = 1 << 20
SMALL_BODY = 64 * 1024
"""A refused body of this size is left to the server, and the connection stays open."""
RETRY_S = 5

_UPLOADS = ("/v1/audio/", "/api/audio/", "/api/diarization/")
_MOST_DIGITS = 20


def is_left_unread(scope: Scope) -> bool:
    """Whether a body is still to come that is not worth reading only to keep the connection."""
    intake: _Intake | None = scope.get("state", {}).get("intake")
    announced, unknown = _announced(scope)
    return not (intake and intake.complete) and (unknown or announced > SMALL_BODY)


def hold(scope: Scope, size: int) -> None:
    """Count `size` more bytes as held until this request is over. Raises NoRoom."""
    intake: _Intake | None = scope["state"].get("intake")
    if intake is not None:
        intake.take(size)


def _announced(scope: Scope) -> tuple[int, bool]:
    """The length in Content-Length, else 0; and whether a body of unknown length is to come."""
    length, unknown = 0, False
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            length = int(value.lstrip(b"0")[:_MOST_DIGITS] or b"0")  # int() refuses thousands
        elif name == b"transfer-encoding":
            unknown = True
    return length, unknown


class BodyLimitMiddleware:
    """Raises TooLarge, TooSlow or NoRoom: by a body's announced length, else as it comes."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self.idle_s = settings.client_write_s
        self.body_mb = settings.max_body_mb
        self.upload_mb = settings.max_upload_mb
        self.budget_mb = settings.bodies_mb
        self.held = 0
        """Bytes of all bodies in memory."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        announced, unknown = _announced(scope) if scope["type"] == "http" else (0, False)
        if not announced and not unknown:
            await self.app(scope, receive, send)
            return
        intake = _Intake(self, scope, receive, send)
        try:
            intake.expect(announced)
            await self.app(scope, intake.receive, intake.send)
        except Exception:
            if intake.refusal is not None:  # whatever somebody made of it
                raise intake.refusal from None
            raise
        finally:
            self.held -= intake.held


class _Intake:
    """One body on its way in."""

    def __init__(
        self, limits: BodyLimitMiddleware, scope: Scope, receive: Receive, send: Send
    ) -> None:
        self._limits = limits
        self._upload = scope["path"].startswith(_UPLOADS)
        self._receive = receive
        self._send = send
        self._announced = 0
        self._received = 0
        self.complete = False
        self.held = 0
        self.refusal: GatewayError | None = None
        scope["state"]["intake"] = self

    def expect(self, size: int) -> None:
        """The server holds a client to the length that it has announced."""
        self._check(size)
        self.take(size)
        self._announced = size

    def take(self, size: int) -> None:
        if self._upload:
            return
        limits = self._limits
        others = limits.held - self.held  # one that is alone is always welcome
        if others and limits.held + size > limits.budget_mb * MIB:
            raise NoRoom(
                f"The bodies of all requests hold BODIES_MB = {limits.budget_mb} MB; try again"
                " shortly.",
                retry_after=RETRY_S,
            )
        limits.held += size
        self.held += size

    def _check(self, size: int) -> None:
        limits = self._limits
        variable, limit_mb = (
            ("MAX_UPLOAD_MB", limits.upload_mb) if self._upload else ("MAX_BODY_MB", limits.body_mb)
        )
        if size > limit_mb * MIB:
            raise TooLarge(f"The body is larger than {variable} = {limit_mb} MB.")

    async def receive(self) -> Message:
        if self.complete:
            return await self._receive()
        idle_s = self._limits.idle_s
        try:
            message = await within(idle_s, self._receive())
            size = len(message.get("body", b""))
            self._received += size
            self.complete = not message.get("more_body")
            if not self._announced:
                self._check(self._received)
                self.take(size)
        except asyncio.TimeoutError:
            self.refusal = TooSlow(f"Nothing of the body came for {idle_s:g} s (CLIENT_WRITE_S).")
            raise self.refusal from None
        except GatewayError as exc:
            self.refusal = exc
            raise
        return message

    def send(self, message: Message) -> Awaitable[None]:
        # form parsers turn what `receive` raises into a 400 of their own
        if self.refusal is not None and message["type"] == "http.response.start":
            raise self.refusal
        return self._send(message)
