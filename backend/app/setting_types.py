"""What a setting may be, and how the text of a variable becomes that."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

MOST_REPLICAS = 64
A_YEAR = 31_536_000
"""In seconds; no deadline is longer."""


def _split(value: object) -> object:
    """`a,b`, `a, b`, `["a","b"]`, `[]`, `null`, empty and unset all mean a list."""
    if value is None:
        return ()
    if isinstance(value, int):
        return (value,)
    if not isinstance(value, str):
        return value
    text = value.strip()
    if not text or text.lower() in {"null", "none"}:
        return ()
    if text.startswith("["):
        try:
            return tuple(json.loads(text))
        except ValueError as exc:
            raise ValueError('write a list as a,b or as JSON: ["a","b"]') from exc
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _blank_is_none(value: object) -> object:
    if isinstance(value, str) and value.strip().lower() in {"", "null", "none"}:
        return None
    return value


def _joined(value: object) -> object:
    """A list of arguments, as a file may give them, in the one way they are kept."""
    return shlex.join(map(str, value)) if isinstance(value, list) else value


def _splittable(text: str) -> str:
    try:
        shlex.split(text)
    except ValueError as exc:
        raise ValueError(f"it cannot be split: {exc}") from None
    return text


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _replica_count(value: object) -> object:
    text = str(value).strip().lower()
    if text == "auto":
        return text
    if text.isdecimal() and 1 <= int(text) <= MOST_REPLICAS:
        return int(text)
    raise ValueError(f"write a number from 1 to {MOST_REPLICAS}, or auto")


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
DeviceIds = Annotated[tuple[Annotated[int, Field(ge=0)], ...], NoDecode, BeforeValidator(_split)]
Secrets = Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_split)]
OptionalSecret = Annotated[SecretStr | None, BeforeValidator(_blank_is_none)]
HomePath = Annotated[Path, AfterValidator(Path.expanduser)]
"""`~` means home here too: no shell expands what stands in `.env`."""
OptionalPath = Annotated[HomePath | None, BeforeValidator(_blank_is_none)]
OptionalText = Annotated[str | None, BeforeValidator(_blank_is_none)]
OptionalLength = Annotated[int | None, Field(ge=256), BeforeValidator(_blank_is_none)]
Arguments = Annotated[str, BeforeValidator(_joined), AfterValidator(_splittable)]
"""As in a shell."""
Seconds = Annotated[float, Field(ge=0, le=A_YEAR, allow_inf_nan=False)]
SomeSeconds = Annotated[float, Field(gt=0, le=A_YEAR, allow_inf_nan=False)]
"""Where none would mean never, or at once."""
ReplicaCount = Annotated[int | Literal["auto"], BeforeValidator(_replica_count)]
LogLevel = Annotated[
    Literal["debug", "info", "warning", "error", "critical"], BeforeValidator(_lower)
]
