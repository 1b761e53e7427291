"""The composition root: the only place that wires rooms together.

`create_app` builds the rooms; what runs (engine launcher, supervisors) is started and stopped by
the application's lifespan.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

from backend.app import __version__, logs
from backend.app.admin_key import AdminKeyStore
from backend.app.api import admin, dashboard, docs_page, health
from backend.app.api.admin.status import event_snapshot, machine_json
from backend.app.api.deps import Gateway
from backend.app.api.openai import audio, chat, embeddings, models, stored
from backend.app.audio.decode import Decoder
from backend.app.audio.spool import Spool
from backend.app.auth import AdminRule, Policy, admin_rule
from backend.app.config import Settings, child_environment, gpu_mask, load_settings, runtime_base
from backend.app.directories import usable_cache_dir
from backend.app.engines.child import LONGEST_BASE, LocalLauncher
from backend.app.errors import InvalidRequest, MethodNotAllowed, NotFound
from backend.app.events import EventBus
from backend.app.gpu.monitor import GPUMonitor, Sample
from backend.app.gpu.probe import FIRST_DEADLINE_S, gpu_reader
from backend.app.hub.cache import HFCacheManager
from backend.app.hub.token_store import TokenStore
from backend.app.logs import LogSetup
from backend.app.metrics import Metrics
from backend.app.middleware import stack
from backend.app.models.artifacts import artifacts_of
from backend.app.models.base import BaseModelWrapper
from backend.app.models.canary import CanaryASRModel
from backend.app.models.configured import build_specs
from backend.app.models.contracts import Artifacts
from backend.app.models.embedding import EmbeddingModel
from backend.app.models.modelset import choose_set
from backend.app.models.needs import Needs
from backend.app.models.placer import Placer
from backend.app.models.pyannote import PyannoteDiarizationModel
from backend.app.models.qwen import QwenModel
from backend.app.models.registry import ModelRegistry
from backend.app.models.reload import Reloader
from backend.app.models.spec import Kind, ModelSpec
from backend.app.models.state import State
from backend.app.services.activity import Activity
from backend.app.services.dependency_inspector import DependencyInspector
from backend.app.services.makers import Makers
from backend.app.services.media_fetch import MediaFetcher
from backend.app.services.transcription import TranscriptionService

log = logging.getLogger(__name__)

WRAPPERS: dict[Kind, type[BaseModelWrapper]] = {
    Kind.CHAT: QwenModel,
    Kind.EMBEDDING: EmbeddingModel,
    Kind.ASR: CanaryASRModel,
    Kind.DIARIZATION: PyannoteDiarizationModel,
}


def create_app(settings: Settings | None = None, log_setup: LogSetup | None = None) -> FastAPI:
    """The gateway as an ASGI application; also a factory for `uvicorn --factory`.

    Raises ConfigError when the settings cannot be honoured.
    """
    settings = settings or load_settings()
    log_setup = log_setup or logs.setup(settings)
    gateway, launcher = _build(settings, log_setup)
    key = gateway.admin_key.key if gateway.admin_key else None
    spool = Spool(settings.spool_dir, settings.spool_mb << 20)
    decoder = Decoder(spool, max_audio_s=settings.max_audio_s)
    transcription = TranscriptionService(
        gateway.registry, spool, decoder, idle_s=settings.request_idle_s
    )

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        gateway.monitor.begin()
        gateway.dependencies.begin()
        await gateway.registry.begin(load_all=not settings.lazy_load_models)
        try:
            yield
        finally:
            gateway.events.close()
            await gateway.registry.close()
            await gateway.dependencies.close()
            await gateway.monitor.close()
            await launcher.close()
            await gateway.media.close()
            await decoder.close()

    app = FastAPI(
        title="Inference gateway",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        middleware=stack(settings, Policy.build(settings, key)),
    )
    app.state.gateway = gateway
    app.state.transcription = transcription
    parts = (health, models, chat, embeddings, stored, audio, admin, docs_page)
    for part in parts:
        app.include_router(part.router)
    dashboard.mount(app, settings)
    app.add_exception_handler(HTTPException, _routing_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    return app


def _build(settings: Settings, log_setup: LogSetup) -> tuple[Gateway, LocalLauncher]:
    cache_dir, remark = usable_cache_dir(settings)
    if remark:
        log.warning("%s", remark)
    store = AdminKeyStore(cache_dir)
    generated = store.ensure() if admin_rule(settings) is AdminRule.GENERATED else None
    if generated is not None:
        log_setup.redactor.add(generated.key.get_secret_value())

    look = gpu_reader(gpu_mask())
    chosen = choose_set(settings, gpu_reader(gpu_mask(), FIRST_DEADLINE_S))
    log.info("serving the %s models: %s", "demo" if chosen.demo else "real", chosen.reason)
    log_dir = log_setup.path.parent if log_setup.path else None
    launcher = LocalLauncher(
        log_dir,
        runtime_base(LONGEST_BASE),
        child_environment(),
        log_max_bytes=settings.log_max_bytes,
        redact=log_setup.redactor,
    )
    metrics = Metrics(state.value for state in State)
    bus = EventBus(lambda: event_snapshot(gateway))

    def sampled(sample: Sample) -> None:
        placer.watch(sample.reading, sample.read_at)
        machine = machine_json(sample, monitor.stale, placer.ledger)
        bus.publish("machine", machine | {"traffic": registry.traffic()})

    monitor = GPUMonitor(look, cache_dir, sampled)

    def publish(kind: str, data: dict[str, Any]) -> None:
        if data.get("action") == "restarting":
            metrics.engine_restarted(data["key"])
        if kind == "removed":
            metrics.forget(data["key"])
        bus.publish(kind, data)

    secret = settings.huggingface_token
    tokens = TokenStore(
        cache_dir, secret.get_secret_value() if secret else None, log_setup.redactor.add
    )
    hub = HFCacheManager(cache_dir, tokens, child_environment(), xet=settings.hf_xet)
    placer = Placer(
        look,
        lambda: registry,
        settings=settings,
        needs=Needs(cache_dir),
        cpu_allowed=chosen.demo,
    )

    def configured() -> list[ModelSpec]:
        return build_specs(settings, chosen.demo)

    def artifacts(spec: ModelSpec) -> Artifacts:
        return artifacts_of(spec, hub)

    def make(spec: ModelSpec) -> BaseModelWrapper:
        return WRAPPERS[spec.kind](
            spec,
            settings=settings,
            launcher=launcher,
            artifacts=artifacts(spec),
            placer=placer,
            publish=publish,
        )

    registry = ModelRegistry(map(make, configured()), publish)
    gateway = Gateway(
        settings=settings,
        registry=registry,
        launcher=launcher,
        reloader=Reloader(
            registry, configured, make, artifacts, load_all=not settings.lazy_load_models
        ),
        activity=Activity(metrics, keep_content=settings.keep_content),
        metrics=metrics,
        events=bus,
        media=MediaFetcher(
            max_bytes=settings.max_media_mb << 20,
            max_pixels=settings.max_media_pixels,
            timeout_s=settings.media_fetch_s,
            enabled=settings.remote_media,
        ),
        makers=Makers(),
        model_set="demo" if chosen.demo else "real",
        model_set_reason=chosen.reason,
        cache_dir=cache_dir,
        monitor=monitor,
        dependencies=DependencyInspector(
            lambda: [model.spec for model in registry.models.values()], child_environment()
        ),
        placer=placer,
        hub=hub,
        logs=log_setup.ring,
        admin_key=generated,
    )
    return gateway, launcher


def _routing_error(request: Request, error: Exception) -> Response:
    """What the router itself refuses, in our envelope: raised on to the one renderer."""
    assert isinstance(error, HTTPException)
    path, method = request.scope["path"], request.method
    if error.status_code == 405:
        allowed = _methods(request)
        raise MethodNotAllowed(f"{path} answers to {', '.join(allowed)} only.", allowed)
    if error.status_code == 404:
        raise NotFound(f"There is nothing at {method} {path}.")
    raise InvalidRequest(str(error.detail))


def _methods(request: Request) -> list[str]:
    """Those of every route for this path; the router itself knows only of the first."""
    found: set[str] = set()
    for route in request.app.router.routes:
        match, _ = route.matches({**request.scope, "method": "GET"})
        if match is not Match.NONE:
            found |= getattr(route, "methods", None) or set()
    return sorted(found | ({"HEAD"} if "GET" in found else set()))


def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place, kind, detail = first["loc"], first["type"], first.get("ctx", {}).get("error")
    if kind == "json_invalid":
        raise InvalidRequest(f"The body is no valid JSON: {detail} (at character {place[-1]}).")
    if place == ("body",) and kind in ("model_attributes_type", "model_type"):
        raise InvalidRequest("Send a JSON object, with 'Content-Type: application/json'.")
    where = ".".join(str(part) for part in place if part not in ("body", "query", "header"))
    said = detail if kind == "value_error" else first["msg"]
    raise InvalidRequest(f"{where or 'body'}: {said}.", param=where or None)
