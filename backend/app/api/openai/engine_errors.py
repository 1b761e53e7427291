"""What vLLM says went wrong, told in our own words and with the right status.

vLLM answers in several shapes: `{"error": {...}}` (0.2x on), `{"object": "error", ...}` (before),
Anthropic's envelope on /v1/messages, and `{"detail": ...}` from its framework. It also answers 500
for media it cannot read, which is the caller's mistake. Where the request itself shows what is
wrong, that is said (`mistakes.py`), else what vLLM says, made plain (`engine_words.py`).
"""

from __future__ import annotations

import json
import logging
import re
from typing import Any

from backend.app.api.openai.engine_words import field_of, plain
from backend.app.api.openai.mistakes import find_mistake, is_unreadable
from backend.app.api.openai.too_long import find_too_long
from backend.app.errors import (
    Dialect,
    EngineError,
    GatewayError,
    InvalidRequest,
    NotFound,
    QueueFull,
    TooLarge,
    Unavailable,
)

log = logging.getLogger(__name__)

_MEDIA = re.compile(r"\b(images?|videos?|audio|media|base64|multi-?modal)\b", re.IGNORECASE)
_OURS = re.compile(r"cuda|memory|died|traceback|assert|worker|engine", re.IGNORECASE)
MESSAGE_LIMIT = 2000


def engine_error(
    status: int, content: bytes, body: bytes = b"", dialect: Dialect = Dialect.OPENAI
) -> GatewayError:
    """The error to raise for an engine's answer, with a status of 400 or above, to `body`."""
    message, param, code = _read(content)
    text = message[:MESSAGE_LIMIT] or f"The engine answered {status} without a reason."
    theirs = status in {400, 422, 501}  # 501: not on offer, as data URLs without base64
    medium = theirs and is_unreadable(message)
    medium |= status == 500 and bool(_MEDIA.search(message)) and not _OURS.search(message)
    if theirs or medium:
        mistake = find_mistake(message, body, dialect)
        if mistake is not None:
            return mistake
    if theirs and not medium:
        too_long = find_too_long(message, body)
        if too_long is not None:
            return too_long
        said = plain(text, param)
        return InvalidRequest(said.text, param=said.param, code=code)
    if status in {404, 405}:
        if message in {"Not Found", "Method Not Allowed"}:  # its framework's: there is no such path
            text = "The engine of this model does not offer this route."
        return NotFound(text, param=param, code=code)
    if status == 413:
        return TooLarge(text)
    if status == 503:
        return Unavailable("The engine is overloaded; try again.", retry_after=2)
    if status == 429:
        return QueueFull("The engine's own queue is full; try again.", retry_after=2)
    if medium:
        log.warning("the engine refused a medium: %s", text)
        return InvalidRequest(
            "A medium in the request cannot be read: check that it is a complete image, audio or"
            " video file of a common format.",
            code="bad_media",
        )
    log.error("the engine answered %s: %s", status, text)
    return EngineError("The engine failed to answer this request.")


def _read(content: bytes) -> tuple[str, str | None, str | None]:
    try:
        body: Any = json.loads(content)
    except ValueError:
        return content.decode("utf-8", "replace"), None, None
    if not isinstance(body, dict):
        return str(body), None, None
    error = body.get("error", body)
    if not isinstance(error, dict):
        return str(error), None, None
    message = error.get("message", error.get("detail"))
    if isinstance(message, list):  # the framework's list of validation errors
        message = "; ".join(_validation(item) for item in message)
    param, code = error.get("param"), error.get("code")
    if param == "body":  # all of it
        param = None
    elif isinstance(param, str) and param.startswith("body."):
        param = field_of(param)
    return (
        str(message or ""),
        param if isinstance(param, str) else None,
        code if isinstance(code, str) else None,
    )


def _validation(item: Any) -> str:
    if not isinstance(item, dict):
        return str(item)
    where = ".".join(str(part) for part in item.get("loc", ()) if part != "body")
    return f"{where}: {item.get('msg', '')}" if where else str(item.get("msg", item))
