"""`serve`: run the gateway until a signal."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import logging
import signal
import socket
import sys
from collections.abc import Awaitable
from types import FrameType

import uvicorn

from backend.app import logs
from backend.app.admin_key import base_url
from backend.app.api.deps import Gateway
from backend.app.commands.listen import bind, uvicorn_config
from backend.app.config import ConfigError, Settings
from backend.app.errors import Draining, Unavailable
from backend.app.main import create_app
from backend.app.setting_names import strangers

log = logging.getLogger(__name__)


def serve(settings: Settings) -> int:
    """Run until a signal. The port is bound first, so that a taken one is said at once."""
    listener = bind(settings)
    log_setup = logs.setup(settings)
    try:
        for stranger in strangers():
            log.warning("%s", stranger)
        app = create_app(settings, log_setup)
        gateway = app.state.gateway
        port = listener.getsockname()[1]
        url = base_url(settings.api_host, port, tls=bool(settings.ssl_certfile))
        if gateway.admin_key is not None:
            print(gateway.admin_key.notice(url), file=sys.stderr, flush=True)
        server = GatewayServer(uvicorn_config(app, settings), gateway, url)
        # what is alive now stays alive: keep the collector from walking it over and over
        gc.collect()
        gc.freeze()
        server.run(sockets=[listener])
        return 0 if server.started else 1
    finally:
        listener.close()
        log_setup.close()


class GatewayServer(uvicorn.Server):
    """On the first signal: no new work, let what runs finish, then close. On a second: end what
    runs, kill the engines, close. On a third: go."""

    def __init__(self, config: uvicorn.Config, gateway: Gateway, url: str) -> None:
        super().__init__(config)
        self._gateway = gateway
        self._url = url
        self._drain: asyncio.Task[None] | None = None
        self._abandon: asyncio.Task[None] | None = None
        self._reloads: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._signals = 0
        self._ended = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        if self._gateway.settings.models_file:  # without one, a terminal that closes ends us
            self._loop.add_signal_handler(signal.SIGHUP, self._begin_reload)
        await super().startup(sockets)
        log.info("listening on %s", self._url)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        # one whose client reads nothing does not close, and uvloop waits for it at its own end
        for connection in list(self.server_state.connections):
            connection.transport.abort()

    async def main_loop(self) -> None:
        """Uvicorn's own wakes up ten times a second to see whether it is to end."""
        ended = asyncio.ensure_future(self._ended.wait())
        while not await self.on_tick(0):  # which also sets the date that answers carry
            await asyncio.wait({ended}, timeout=1)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._signals += 1
        if self._signals > 2 or self._loop is None:
            self.should_exit = self.force_exit = True
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._ended.set)
            return
        begin = self._begin_drain if self._signals == 1 else self._begin_abandon
        # in a context of its own: a signal comes in the middle of somebody's request
        self._loop.call_soon_threadsafe(begin, sig, context=contextvars.Context())

    def _begin_reload(self) -> None:
        log.info("SIGHUP: reading MODELS_FILE again")
        reload = asyncio.get_running_loop().create_task(self._reloaded())
        self._reloads.add(reload)
        reload.add_done_callback(self._reloads.discard)

    async def _reloaded(self) -> None:
        with contextlib.suppress(ConfigError, Draining):  # in the log, and nothing has changed
            try:
                await self._gateway.reload()
            except Unavailable as exc:
                log.error("nothing was read: %s", exc)

    def _begin_drain(self, sig: int) -> None:
        log.info("%s: shutting down; a second signal does not wait", signal.Signals(sig).name)
        self._drain = asyncio.get_running_loop().create_task(self._then_exit(self._gateway.drain()))

    def _begin_abandon(self, sig: int) -> None:
        log.info("%s again: stopping at once", signal.Signals(sig).name)
        abandoned = self._then_exit(self._gateway.abandon())
        self._abandon = asyncio.get_running_loop().create_task(abandoned)

    async def _then_exit(self, work: Awaitable[None]) -> None:
        try:
            await work
        except Exception:
            log.exception("shutting down went wrong")
        self.should_exit = True
        self._ended.set()
