"""What is wrong with a request that an engine has refused, found in the request itself.

An engine's own words are a list of everything that each of a dozen types would have wanted, or an
error of a library that met the bytes of an image. Only a request that was refused is looked at, so
nothing here costs those that are right; and only what is surely wrong is named.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from backend.app.errors import Dialect, InvalidRequest
from backend.app.services.media_scan import MEDIA_FIELDS, decode, references
from backend.app.services.media_types import accepted, image_size, sniff

_SHAPE = re.compile(
    r"^\d+ validation errors?\b|object is not|object has no attribute|empty conversation"
)
_UNREADABLE = re.compile(
    r"base64|data URL|cannot identify|Failed to load|truncated|Processor on data|pixels\) exceed"
    r"|Number of samples|is empty but multi_modal",
    re.IGNORECASE,
)
_PIXELS = re.compile(r"\((\d+) pixels\) exceed")
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
LARGEST = 16 << 20
"""Larger bodies are not looked at: it would hold up everybody else."""
_HEAD = 88_000
"""Characters of base64 that are decoded to know a format: more than any header is long."""

_DEEPEST = 3
"""Parts in a message, in a tool's result, and what may come."""

_PARTS: dict[Dialect, dict[str, str]] = {
    Dialect.OPENAI: {
        "text": "text",
        "image_url": "image_url",
        "video_url": "video_url",
        "audio_url": "audio_url",
        "input_audio": "input_audio",
    },
    Dialect.RESPONSES: {"input_text": "text", "output_text": "text"},
    Dialect.ANTHROPIC: {
        "text": "text",
        "image": "source",
        "tool_use": "name",
        "tool_result": "tool_use_id",
        "thinking": "thinking",
    },
}
"""Types of content parts, each with the field that it cannot do without."""
_MORE = {
    Dialect.OPENAI: {"refusal", "input_image", "image_embeds", "audio_embeds", "thinking"},
    Dialect.RESPONSES: {"refusal", "input_image", "input_file", "summary_text"},
    Dialect.ANTHROPIC: {"redacted_thinking", "tool_reference"},
}
"""Types that are left to the engine."""
_TYPES = {
    Dialect.OPENAI: "text, image_url, video_url, audio_url or input_audio",
    Dialect.RESPONSES: "input_text or input_image",
    Dialect.ANTHROPIC: "text, image, tool_use or tool_result",
}
_OBJECTS = {"input_audio", "source"}
_DETAILS = ("auto", "low", "high")
_ROLES = "system, user, assistant or tool"


class Mistake(NamedTuple):
    field: str
    problem: str

    def error(self) -> InvalidRequest:
        return InvalidRequest(f"{self.field} {self.problem}.", param=self.field)


def is_unreadable(message: str) -> bool:
    """Whether an engine's message is about a medium whose bytes it could not use."""
    return _UNREADABLE.search(message) is not None


def find_mistake(message: str, body: bytes, dialect: Dialect) -> InvalidRequest | None:
    """The error to raise instead of the engine's `message`, where that can be told."""
    shape = _SHAPE.search(message)
    if not (shape or is_unreadable(message)):
        return None
    document = document_of(body)
    if document is None:
        return None
    if shape:
        found = next(_wrong_shapes(document, dialect), None)
    else:
        found = _unreadable(message, list(_media(document)))
    return found.error() if found else None


def document_of(body: bytes) -> dict[str, Any] | None:
    """A request that is worth a look; None where it is too large for one, or no object."""
    if len(body) > LARGEST:
        return None
    try:
        return decode(body, dict[str, Any])
    except InvalidRequest:
        return None


# ---- shapes -------------------------------------------------------------------------------------


def _wrong_shapes(document: dict[str, Any], dialect: Dialect) -> Iterator[Mistake]:
    for name in MEDIA_FIELDS:
        turns = document.get(name)
        if turns == []:
            yield Mistake(name, "must hold at least one message")
        for number, turn in enumerate(turns if isinstance(turns, list) else ()):
            yield from _of_turn(turn, f"{name}[{number}]", dialect)


def _of_turn(turn: Any, field: str, dialect: Dialect) -> Iterator[Mistake]:
    if not isinstance(turn, dict):
        yield Mistake(field, "must be an object with a role and a content")
        return
    if dialect is Dialect.RESPONSES and "role" not in turn:
        return  # an item of another kind: a call, its output, reasoning
    role, content = turn.get("role"), turn.get("content")
    if not isinstance(role, str):
        yield Mistake(f"{field}.role", f"must be one of {_ROLES}")
    if not isinstance(turn.get("tool_calls", []), list | None):
        yield Mistake(f"{field}.tool_calls", "must be a list")
    if isinstance(content, list):
        for number, part in enumerate(content):
            yield from _of_part(part, f"{field}.content[{number}]", dialect)
    elif not isinstance(content, str) and (content is not None or role != "assistant"):
        yield Mistake(f"{field}.content", "must be a text or a list of content parts")


def _of_part(part: Any, field: str, dialect: Dialect) -> Iterator[Mistake]:
    needs, types = _PARTS[dialect], _TYPES[dialect]
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(part, dict):
        yield Mistake(field, f"must be an object of type {types}")
    elif not isinstance(kind, str):
        yield Mistake(f"{field}.type", f"is required: {types}")
    elif kind in needs:
        yield from _of_value(part.get(needs[kind]), f"{field}.{needs[kind]}", needs[kind])
    elif kind not in _MORE[dialect]:
        yield Mistake(f"{field}.type", f"is '{kind[:40]}', which is not known; use {types}")


def _of_value(value: Any, field: str, name: str) -> Iterator[Mistake]:
    if value is None:
        yield Mistake(field, "is required")
    elif name.endswith("_url"):
        if isinstance(value, dict):
            if not isinstance(value.get("url"), str):
                yield Mistake(f"{field}.url", "must be a text: an http, https or data URL")
            elif value.get("detail", "auto") not in _DETAILS:
                yield Mistake(f"{field}.detail", f"must be one of {', '.join(_DETAILS)}")
        elif not isinstance(value, str):
            yield Mistake(field, "must be an object with a url")
    elif not isinstance(value, dict if name in _OBJECTS else str):
        yield Mistake(field, "must be an object" if name in _OBJECTS else "must be a text")


# ---- media --------------------------------------------------------------------------------------


class _Medium(NamedTuple):
    field: str
    kind: str
    head: str
    """Of its data URL, up to the comma: `data:image/png;base64`."""
    data: str | None
    """In base64; None where the URL has no comma."""

    def first_bytes(self) -> bytes:
        return base64.b64decode((self.data or "")[:_HEAD] + "==")


def _media(document: dict[str, Any]) -> Iterator[_Medium]:
    """Every inline medium that an engine would load."""
    for name in MEDIA_FIELDS:
        for each in references(document.get(name), name):
            head, comma, data = each.url.partition(",")
            yield _Medium(each.field, each.kind, head, data if comma else None)
        yield from _sources(document.get(name), name)


def _sources(content: Any, field: str) -> Iterator[_Medium]:
    """Anthropic's pictures, which are no URLs; tool results hold some too."""
    for number, part in enumerate(content if isinstance(content, list) else ()):
        if not isinstance(part, dict):
            continue
        here, source = f"{field}[{number}]", part.get("source")
        if isinstance(source, dict) and isinstance(source.get("data"), str):
            yield _Medium(f"{here}.source.data", "image", ";base64", source["data"])
        if field.count(".content") < _DEEPEST:
            yield from _sources(part.get("content"), f"{here}.content")


def _unreadable(message: str, media: list[_Medium]) -> Mistake | None:
    for medium in media:
        problem = _encoding(medium)
        if problem:
            return Mistake(medium.field, problem)
    pixels = _PIXELS.search(message)
    for medium in media:
        if medium.kind != "image":
            continue
        data = medium.first_bytes()
        mime = sniff("image", data)
        if "identify" in message and mime is None:
            return Mistake(
                medium.field, f"is not an image that can be read; send {accepted('image')}"
            )
        size = image_size(mime, data) if mime else None
        if pixels and size and size[0] * size[1] == int(pixels[1]):
            return Mistake(
                medium.field,
                f"has {size[0]} x {size[1]} pixels, more than are accepted (MAX_MEDIA_PIXELS)",
            )
    if len(media) == 1:
        if "Processor" in message:
            problem = "cannot be processed by the model: it is too small, or far too long and thin"
        else:
            problem = "cannot be read: it is damaged, cut off, or of an unknown format"
        return Mistake(media[0].field, problem)
    return None


def _encoding(medium: _Medium) -> str | None:
    example = "data:image/png;base64,…"
    if not (medium.head or medium.data):
        return "is empty"
    if medium.data is None:
        return f"is not a data URL: it would be {example}"
    if not medium.head.lower().endswith(";base64"):
        return f"must be in base64: {example}"
    if not medium.data:
        return "is empty"
    text = medium.data.rstrip("=").encode("utf-8", "replace")
    if text.translate(None, _BASE64) or len(medium.data) % 4:
        return "is not valid base64"
    return None
