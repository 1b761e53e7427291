"""The audio routes behind the gateway's real middleware, on fake audio engines."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from http.client import HTTPException
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import openai
import uvicorn
from fastapi import FastAPI

from backend.app.api.openai import audio
from backend.app.audio.decode import Decoder
from backend.app.audio.spool import Spool
from backend.app.auth import Policy
from backend.app.config import Settings
from backend.app.engines.client import EngineClient
from backend.app.engines.launcher import Address
from backend.app.errors import ModelNotFound
from backend.app.metrics import Metrics
from backend.app.middleware import stack
from backend.app.models.contracts import Lease
from backend.app.models.spec import Kind, ModelSpec
from backend.app.services.activity import Activity
from backend.app.services.transcription import TranscriptionService
from tests.support.engine import ask
from tests.support.gateway import eventually

ROOT = Path(__file__).resolve().parents[2]
ROUTES = {"canary": "transcribe", "pyannote": "diarize"}
KINDS = {"canary": Kind.ASR, "pyannote": Kind.DIARIZATION, "qwen": Kind.CHAT}


class AudioEngine:
    """A fake engine process, listening when made."""

    def __init__(self, directory: Path, key: str, *flags: str) -> None:
        self.socket = str(directory / key)
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-W", "error", "-m", "tests.support.audio_engine"),
                *(ROUTES[key], "--uds", self.socket, "--grace-s", "1", *flags),
            ],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
        )
        eventually(self._ready, 20, f"the fake {key} engine is ready")

    def _ready(self) -> bool:
        assert self.process.poll() is None
        with contextlib.suppress(OSError, HTTPException):
            return ask(self.socket, "/health")[0] == 200
        return False

    def in_flight(self) -> int:
        """Requests that it is working on."""
        return self._health()["in_flight"]

    def broken_off(self) -> int:
        """Requests whose caller left before their end."""
        return self._health()["queued"]

    def _health(self) -> dict[str, int]:
        found: dict[str, int] = json.loads(ask(self.socket, "/health")[1])
        return found

    def close(self) -> None:
        self.process.kill()
        self.process.wait(10)


class FakeRegistry:
    """Leases of engines that run already."""

    def __init__(self, engines: dict[str, AudioEngine]) -> None:
        self.clients = {
            key: EngineClient(Address(socket=engine.socket)) for key, engine in engines.items()
        }
        self.leases = 0

    def resolve(self, name: str) -> Any:
        key = {"whisper-1": "canary"}.get(name, name)
        if key not in KINDS:
            raise ModelNotFound(name, sorted(KINDS))
        spec = SimpleNamespace(kind=KINDS[key], languages=("en", "fr"))
        return SimpleNamespace(key=key, spec=spec)

    @contextlib.asynccontextmanager
    async def lease(self, name: str, affinity: bytes = b"") -> AsyncIterator[Lease]:
        if name not in self.clients:
            raise ModelNotFound(name, sorted(self.clients))
        self.leases += 1
        try:
            yield Lease(self.clients[name], name, cast(ModelSpec, None), lambda: None)
        finally:
            self.leases -= 1


class AudioGateway:
    """A server in a thread. `url` is where it listens."""

    def __init__(self, tmp: Path, engines: dict[str, AudioEngine], values: dict[str, Any]) -> None:
        self.engines = engines
        self.settings = Settings.model_validate({"admin_auth": "off", **values})
        self.registry = FakeRegistry(engines)
        self.activity = Activity(Metrics(()), keep_content=True)
        (tmp / "spool").mkdir(exist_ok=True)
        self.spool = Spool(tmp / "spool", self.settings.spool_mb << 20)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        config = uvicorn.Config(self._app(), log_config=None, ws="none", lifespan="on")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._listener]}
        )

    def _app(self) -> FastAPI:
        decoder = Decoder(self.spool, max_audio_s=self.settings.max_audio_s)

        @contextlib.asynccontextmanager
        async def lifespan(app: FastAPI) -> AsyncIterator[None]:
            self._loop = asyncio.get_running_loop()
            yield
            await decoder.close()
            for client in self.registry.clients.values():
                await client.close()

        policy = Policy.build(self.settings)
        app = FastAPI(lifespan=lifespan, middleware=stack(self.settings, policy))
        app.include_router(audio.router)
        app.state.gateway = SimpleNamespace(
            settings=self.settings,
            registry=self.registry,
            activity=self.activity,
            draining=False,
        )
        app.state.transcription = TranscriptionService(
            self.registry, self.spool, decoder, idle_s=20
        )
        return app

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(20)
        self._listener.close()
        assert not self._thread.is_alive()

    def call(self, what: Callable[..., object], *values: Any) -> None:
        """In the gateway's own thread."""
        self._loop.call_soon_threadsafe(what, *values)

    def http(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=30, trust_env=False)

    def sdk(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0)

    def at_rest(self) -> bool:
        """Nothing in flight, no lease, no byte in the spool."""
        return not (self.activity.in_flight() or self.registry.leases or self.spool.used)


@contextlib.contextmanager
def audio_gateway(
    *, canary: tuple[str, ...] | None = (), pyannote: tuple[str, ...] | None = (), **settings: Any
) -> Iterator[AudioGateway]:
    """Flags for each engine, None for a model that is not there. At rest again at the end."""
    flags = {"canary": canary, "pyannote": pyannote}
    with tempfile.TemporaryDirectory(prefix="ag-") as name, contextlib.ExitStack() as stack:
        engines = {}
        for key, wanted in flags.items():
            if wanted is not None:
                engines[key] = AudioEngine(Path(name), key, *wanted)
                stack.callback(engines[key].close)
        gateway = AudioGateway(Path(name), engines, settings)
        gateway.start()
        stack.callback(gateway.stop)
        yield gateway
        eventually(gateway.at_rest, what="at rest")
