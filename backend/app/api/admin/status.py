"""GET /api/admin/status: the whole machine at one glance."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter

from backend.app import __version__
from backend.app.api.admin.schemas import History, Status
from backend.app.api.deps import Gate, Gateway
from backend.app.gpu.monitor import INTERVAL_S, Sample
from backend.app.gpu.probe import Gpu
from backend.app.models.ledger import Ledger

router = APIRouter()


def machine_json(sample: Sample, stale: bool, ledger: Ledger) -> dict[str, Any]:
    """A sample as the API shows it; also what `machine` events bring, beside the traffic."""
    reading = sample.reading
    return {
        "at": sample.at,
        "stale": stale,
        "gpus_at": sample.read_at,
        "gpus": [_gpu_json(gpu, ledger) for gpu in reading.gpus],
        "system": asdict(sample.system)
        | {
            "gpu_probe": reading.probe,
            "gpu_problems": list(reading.problems),
            "driver": reading.driver,
            "driver_cuda": reading.cuda,
        },
    }


def _gpu_json(gpu: Gpu, ledger: Ledger) -> dict[str, Any]:
    shares = ledger.shares(gpu)
    other = max(0, gpu.memory_used - sum(share.bytes for share in shares))
    by_model = [asdict(share) for share in shares]
    return asdict(gpu) | {"by_model": by_model, "memory_other": other}


def event_snapshot(gateway: Gateway) -> dict[str, Any]:
    """What a new reader of the event stream needs to know."""
    latest, stale = gateway.monitor.latest, gateway.monitor.stale
    ledger = gateway.placer.ledger
    return {
        "models": gateway.registry.status(),
        "draining": gateway.draining,
        "machine": machine_json(latest, stale, ledger) if latest else None,
    }


@router.get("/status", operation_id="admin_status", response_model=Status)
async def status(gateway: Gate) -> dict[str, Any]:
    """GPUs, system, and every model with its replicas. Answers from the newest sample and a look
    at the models' files."""
    sample = gateway.monitor.latest or await gateway.monitor.sample()
    await gateway.registry.look()
    return {
        "version": __version__,
        "model_set": gateway.model_set,
        "model_set_reason": gateway.model_set_reason,
        "models_file": str(path) if (path := gateway.settings.models_file) else None,
        "draining": gateway.draining,
        "last_event_id": gateway.events.last_id,
        **machine_json(sample, gateway.monitor.stale, gateway.placer.ledger),
        "models": gateway.registry.status(),
        "dependencies": [d.as_json() for d in gateway.dependencies.report(sample.reading)],
    }


@router.get("/history", operation_id="admin_history", response_model=History)
async def history(gateway: Gate) -> dict[str, Any]:
    """The samples of the last five minutes, oldest first, for a page that has just been opened."""
    return {
        "interval_seconds": INTERVAL_S,
        "samples": [_trace(sample) for sample in gateway.monitor.history],
    }


def _trace(sample: Sample) -> dict[str, Any]:
    names = ("index", "load", "memory_used", "temperature")
    return {
        "at": sample.at,
        "cpu_percent": sample.system.cpu_percent,
        "memory_used": sample.system.memory_used,
        "gpus": [{name: getattr(gpu, name) for name in names} for gpu in sample.reading.gpus],
    }
