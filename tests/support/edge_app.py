"""A small application behind the gateway's real middleware, and how to talk to it."""

from __future__ import annotations

import logging
import threading
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI, Request, UploadFile
from fastapi.responses import StreamingResponse

from backend.app.auth import Policy, caller_of
from backend.app.config import Settings
from backend.app.errors import EngineError, InvalidRequest, Loading, ModelNotFound
from backend.app.logs import current_request_id
from backend.app.middleware import request_id_of, stack

KEY = b"Authorization: Bearer sk-inference"
MIB = 1 << 20


class Probe:
    """What the routes saw."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.read = 0
        self.broke = threading.Event()


def application(probe: Probe, **values: Any) -> FastAPI:
    settings = Settings.model_validate(
        {
            "admin_auth": "auto",
            "openai_api_keys": ("alice:sk-inference",),
            "admin_api_keys": ("sk-admin",),
            "max_body_mb": 1,
            "max_upload_mb": 2,
            "cors_origins": (),
            **values,
        }
    )
    app = FastAPI(middleware=stack(settings, Policy.build(settings)))

    @app.post("/v1/chat/completions")
    @app.post("/v1/messages")
    async def echo(request: Request) -> dict[str, Any]:
        async for piece in request.stream():
            probe.read += len(piece)
        return {"bytes": probe.read, "caller": caller_of(request.scope).label}

    @app.post("/v1/audio/transcriptions")
    async def upload(file: UploadFile) -> dict[str, int]:
        return {"bytes": len(await file.read())}

    @app.get("/v1/raise/{name}")
    @app.get("/v1/messages/raise/{name}")
    @app.get("/v1/responses/raise/{name}")
    async def fail(name: str) -> None:
        errors: dict[str, Exception] = {
            "gateway": ModelNotFound("x", ["qwen"]),
            "loading": Loading("Loading qwen.", retry_after=500),
            "engine": EngineError("The engine died."),
            "permanent": InvalidRequest("No.", permanent=True),
            "bug": RuntimeError("secret-detail"),
        }
        raise errors[name]

    @app.get("/v1/broken/{name}")
    async def broken(name: str) -> StreamingResponse:
        async def stream() -> AsyncIterator[bytes]:
            yield b"data: 1\n\n"
            probe.broke.wait(10)
            raise EngineError("died") if name == "gateway" else RuntimeError("secret-detail")

        return StreamingResponse(stream(), media_type="text/event-stream")

    @app.get("/v1/id")
    async def show_id(request: Request) -> dict[str, str | None]:
        logging.getLogger("tests").info("inside")
        return {"scope": request_id_of(request.scope), "log": current_request_id.get()}

    @app.get("/healthz")
    async def healthz() -> str:
        return "ok"

    @app.get("/page")
    async def page() -> str:
        return "<p>"

    return app


def parsed(answer: bytes) -> tuple[int, dict[str, str], bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    fields = [line.split(": ", 1) for line in lines]
    assert len({name.lower() for name, _ in fields}) == len(fields)
    return int(first.split()[1]), {name.lower(): value for name, value in fields}, body


def post(target: bytes, *fields: bytes, body: bytes = b"") -> bytes:
    lines = [b"POST " + target + b" HTTP/1.1", b"Host: localhost", b"Connection: close", *fields]
    return b"\r\n".join([*lines, b"", body])


def chunked(size: int) -> bytes:
    """A body of `size` bytes, a multiple of 64 KiB, in chunks and with its end."""
    return (b"10000\r\n" + b"x" * 65536 + b"\r\n") * (size // 65536) + b"0\r\n\r\n"
