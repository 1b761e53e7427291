"""Settings: the only reader of the environment.

Values come from the process environment, then from `.env` in the working directory. Everything is
frozen after start. `doc/operations.md` documents each one; a test fails when one is missing there.
"""

from __future__ import annotations

import os
import tempfile
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from dotenv.parser import parse_stream
from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from backend.app.setting_types import (
    Arguments,
    DeviceIds,
    HomePath,
    LogLevel,
    Names,
    OptionalLength,
    OptionalPath,
    OptionalSecret,
    OptionalText,
    ReplicaCount,
    Seconds,
    Secrets,
    SomeSeconds,
)

REAL_MODELS = {
    "qwen": "Qwen/Qwen3-VL-30B-A3B-Instruct",
    "canary": "nvidia/canary-1b-v2",
    "pyannote": "pyannote/speaker-diarization-3.1",
}
DEFAULT_ALIASES = {
    "canary": (
        "whisper-1",
        "gpt-transcribe",
        "gpt-4o-transcribe",
        "gpt-4o-mini-transcribe",
        "gpt-4o-mini-transcribe-2025-12-15",
        "gpt-4o-transcribe-diarize",
    ),
}


class ConfigError(Exception):
    """A setting is wrong. The message names the variable, its value's problem and the fix."""


class BadSetting(ConfigError):
    """One field of one model is wrong. Told as a variable unless it stands in MODELS_FILE."""

    def __init__(self, key: str, field: str, reason: str, value: str = "") -> None:
        self.key, self.field, self.reason, self.value = key, field, reason, value
        shown = f"={value}" if value else ""
        super().__init__(f"{key.upper()}_{field.upper()}{shown}: {reason}")


_SOURCE = SettingsConfigDict(
    env_file=".env", env_file_encoding="utf-8", extra="ignore", frozen=True, env_ignore_empty=False
)


class _Blankable(BaseSettings):
    """`NAME=` means the default, and hides what `.env` says: that is how scripts pass "not set"."""

    model_config = _SOURCE

    @model_validator(mode="before")
    @classmethod
    def _blank_is_unset(cls, values: dict[str, Any]) -> dict[str, Any]:
        return {k: v for k, v in values.items() if not (isinstance(v, str) and not v.strip())}


class ModelSettings(BaseModel):
    """What can be set for each model in MODELS_FILE, and for the first three by variables too."""

    model_config = ConfigDict(frozen=True)

    model: OptionalText = None
    """Hub repository id or local path. Empty: what MODEL_SET says."""
    revision: OptionalText = None
    """Commit, tag or branch to pin. Empty: the newest."""
    gpu_ids: DeviceIds = ()
    """Device numbers as nvidia-smi shows them. Empty: the gateway chooses."""
    replicas: ReplicaCount = 1
    """Engines of this model; `auto`: as many as fit, at least one."""
    pin: bool = False
    """Never evict it to make room for another model."""
    idle_unload_s: Seconds = 0
    """Unload after so many seconds without a request; 0 keeps it loaded."""
    max_in_flight: Annotated[int, Field(ge=1)] = 64
    """Requests at once per replica; also the engine's largest batch."""
    max_queue: Annotated[int, Field(ge=0)] = 256
    """Requests that may wait for a place; beyond it 429."""
    engine_args: Arguments = ""
    """More arguments for the engine's command line, written as in a shell."""
    python: OptionalPath = None
    """Interpreter of the environment the engine runs in. Empty: the gateway's own."""
    aliases: Names = ()
    """Further names under which clients may ask for this model."""


class VllmSettings(ModelSettings):
    max_model_len: OptionalLength = None
    """Longest prompt plus answer, in tokens. Empty: 32768 on GPUs, 2048 without."""


class AsrSettings(ModelSettings):
    languages: Names = ("en", "fr")
    """Candidates for recordings whose language the client does not name."""


class QwenSettings(VllmSettings, _Blankable):
    model_config = SettingsConfigDict(**{**_SOURCE, "env_prefix": "QWEN_"})


class CanarySettings(AsrSettings, _Blankable):
    model_config = SettingsConfigDict(**{**_SOURCE, "env_prefix": "CANARY_"})


class PyannoteSettings(ModelSettings, _Blankable):
    model_config = SettingsConfigDict(**{**_SOURCE, "env_prefix": "PYANNOTE_"})


class Settings(_Blankable):
    """Everything else. Field `api_host` is the variable API_HOST, and so on."""

    # where we listen
    api_host: str = "0.0.0.0"
    api_port: Annotated[int, Field(ge=0, le=65535)] = 8000
    ssl_certfile: OptionalPath = None
    ssl_keyfile: OptionalPath = None
    cors_origins: Names = ()
    frontend_dist: HomePath = Path("/app/frontend")

    # who may do what
    openai_api_keys: Secrets = ()
    admin_api_keys: Secrets = ()
    admin_auth: Literal["auto", "off"] = "auto"
    huggingface_token: OptionalSecret = Field(
        default=None, validation_alias=AliasChoices("HUGGINGFACE_TOKEN", "HF_TOKEN")
    )

    # what is served
    model_set: Literal["auto", "demo", "real"] = "auto"
    models_file: OptionalPath = None
    """Further models, and defaults for the first three, in TOML."""
    model_cache_dir: HomePath = Path("/models")
    lazy_load_models: bool = True
    hf_xet: bool = False
    """Download through Xet instead of plain HTTP."""

    # logs
    log_level: LogLevel = "info"
    log_dir: HomePath = Path("/var/log/servertestllm")
    log_file_name: str = "backend.log"
    log_max_bytes: Annotated[int, Field(ge=10_000)] = 20_000_000
    log_backup_count: Annotated[int, Field(ge=0)] = 5
    log_format: Literal["text", "json"] = "text"

    # limits
    max_body_mb: Annotated[int, Field(ge=1)] = 64
    max_upload_mb: Annotated[int, Field(ge=1)] = 2048
    bodies_mb: Annotated[int, Field(ge=1)] = 4096
    """All JSON bodies together; beyond it 503."""
    max_media_mb: Annotated[int, Field(ge=1)] = 32
    max_media_pixels: Annotated[int, Field(ge=1)] = 50_000_000
    media_fetch_s: Seconds = 20
    remote_media: bool = True
    max_audio_s: SomeSeconds = 6 * 3600
    batch_max_audio_s: SomeSeconds = 400
    """Seconds of audio that Canary decodes at once, over all requests."""
    spool_dir: OptionalPath = None
    spool_mb: Annotated[int, Field(ge=1)] = 16_384

    # deadlines, in seconds
    load_wait_s: Seconds = 300
    """How long a request waits for a model that is loading."""
    sse_commit_s: Seconds = 10
    """How long a streaming answer holds its headers back, so that a failure keeps its status."""
    sse_keepalive_s: SomeSeconds = 15
    engine_start_s: SomeSeconds = 1200
    engine_proof_s: SomeSeconds = 120
    """How long the first real answer of a fresh engine may take."""
    engine_probe_s: SomeSeconds = 60
    """Pause between probes of an idle engine."""
    engine_probe_timeout_s: SomeSeconds = 20
    engine_stall_s: SomeSeconds = 120
    """Without a byte for so long, a busy engine is probed and then restarted."""
    request_idle_s: SomeSeconds = 600
    """A request for which the engine sends nothing for so long is given up."""
    engine_term_s: Seconds = 10
    """From SIGTERM to SIGKILL."""
    drain_s: Seconds = 30
    """How long requests in flight may finish when a model is unloaded or the gateway stops."""
    client_write_s: SomeSeconds = 120
    """A reader who takes nothing for so long is dropped."""
    memory_back_s: Seconds = 15
    """How long a GPU may take to give back what a stopped engine held."""
    min_residence_s: Seconds = 60
    """A model that was loaded is not evicted for so long."""
    crash_limit: Annotated[int, Field(ge=1)] = 3
    """So many crashes in a row and a replica stays failed."""
    crash_backoff_s: Seconds = 1
    failed_retry_s: Seconds = 60
    """How long requests are refused after a failure before one may try again."""

    # what is kept
    keep_content: bool = False
    """Keep prompts and transcripts in the request history."""

    @cached_property
    def qwen(self) -> QwenSettings:
        return QwenSettings()

    @cached_property
    def canary(self) -> CanarySettings:
        return CanarySettings()

    @cached_property
    def pyannote(self) -> PyannoteSettings:
        return PyannoteSettings()

    @property
    def loopback(self) -> bool:
        """True when nobody but this machine can reach us."""
        return self.api_host in {"localhost", "::1"} or self.api_host.startswith("127.")


_SECRET_NAMES = ("KEYS", "TOKEN")


def _complaints(exc: ValidationError, prefix: str) -> list[str]:
    lines = []
    for error in exc.errors(include_url=False):
        name = prefix + "_".join(str(part) for part in error["loc"][:1]).upper()
        # The complaint goes to a terminal or a container's log: never with a key in it.
        value = "…" if name.endswith(_SECRET_NAMES) else repr(error.get("input"))
        lines.append(f"  {name}={value}: {error['msg'].removeprefix('Value error, ')}")
    return lines


def _check_dotenv() -> None:
    """python-dotenv skips a line that it cannot parse; a setting lost in silence is worse."""
    path = Path(".env")
    if path.is_dir():  # docker makes one when it is to mount a file that is not there
        raise ConfigError(
            f"{path.absolute()} is a directory, and would be a file of settings: remove it, or"
            " write the file."
        )
    if path.is_file():
        with path.open(encoding="utf-8") as stream:
            broken = [b.original.line for b in parse_stream(stream) if b.error]
        if broken:
            lines = ", ".join(map(str, broken))
            raise ConfigError(f".env: write NAME=value; cannot be understood: line {lines}")


def load_settings() -> Settings:
    """Read and check everything at once. Raises ConfigError naming each bad variable."""
    complaints: list[str] = []
    try:
        _check_dotenv()
        try:
            settings = Settings()
        except ValidationError as exc:
            complaints += _complaints(exc, "")
            settings = Settings.model_construct()
        for part in ("qwen", "canary", "pyannote"):
            try:
                getattr(settings, part)
            except ValidationError as exc:
                complaints += _complaints(exc, part.upper() + "_")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f".env cannot be read: {exc}") from None
    if complaints:
        unique = dict.fromkeys(complaints)
        raise ConfigError("\n".join(["Wrong settings (environment or .env):", *unique]))
    return settings


def variables(group: type[BaseSettings]) -> list[str]:
    """The names of the variables from which these settings are read."""
    prefix = group.model_config.get("env_prefix", "")
    found = []
    for name, field in group.model_fields.items():
        alias = field.validation_alias
        given = alias.choices if isinstance(alias, AliasChoices) else [prefix + name]
        found += [str(each).upper() for each in given]
    return found


def dotenv_names() -> list[str]:
    """What `.env` sets, if it is there."""
    path = Path(".env")
    if not path.is_file():
        return []
    with path.open(encoding="utf-8") as stream:
        return [binding.key for binding in parse_stream(stream) if binding.key]


def environment_names() -> list[str]:
    return sorted(os.environ)


def is_explicit(settings: BaseSettings, field: str) -> bool:
    """True when the user set it, as opposed to our default."""
    return field in settings.model_fields_set


def user_dir(kind: Literal["cache", "state"]) -> Path:
    """Where an ordinary user's files go, by the XDG convention."""
    variable, fallback = {
        "cache": ("XDG_CACHE_HOME", "~/.cache"),
        "state": ("XDG_STATE_HOME", "~/.local/state"),
    }[kind]
    base = os.environ.get(variable) or os.path.expanduser(fallback)
    return Path(base) / "servertestllm"


def runtime_base(longest: int) -> Path:
    """Where private socket directories are made, in at most `longest` bytes where that can be."""
    if given := os.environ.get("XDG_RUNTIME_DIR"):
        candidate = os.path.abspath(given)
        if os.access(candidate, os.W_OK) and len(os.fsencode(candidate)) <= longest:
            return Path(candidate)
    return Path("/tmp") if os.access("/tmp", os.W_OK) else Path(tempfile.gettempdir())


SCRUBBED = (
    "OPENAI_API_KEYS",
    "ADMIN_API_KEYS",
    "HUGGINGFACE_TOKEN",
    "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN",
)


def child_environment() -> dict[str, str]:
    """The environment children inherit: ours, without keys and tokens."""
    return {name: value for name, value in os.environ.items() if name.upper() not in SCRUBBED}


def gpu_mask() -> str | None:
    """Which GPUs the gateway itself may see; None means all."""
    return os.environ.get("CUDA_VISIBLE_DEVICES")
