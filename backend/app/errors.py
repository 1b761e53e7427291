"""Everything that can go wrong for a caller, as one tree, and the one place that renders it.

    GatewayError
    ├── InvalidRequest        400  the caller's mistake; names the field and the fix
    ├── Unauthorized          401  no key, or one nobody knows
    ├── Forbidden             403  a valid key without this right
    ├── NotFound              404
    │   └── ModelNotFound     404
    ├── MethodNotAllowed      405
    ├── TooSlow               408  nothing of a body came for too long
    ├── Conflict              409  not possible in this state
    ├── TooLarge              413
    │   └── HeadTooLarge      431
    ├── UnsupportedMedia      415
    ├── QueueFull             429  + Retry-After
    ├── Internal              500  ours; the request id is all a client learns
    ├── EngineError           502  the engine died or broke off
    ├── Unavailable           503  + Retry-After
    │   ├── Loading           503
    │   ├── Draining          503
    │   ├── NoRoom            503  bodies hold as much as they may, or no file can be opened
    │   ├── DoesNotFit        503
    │   ├── Unloaded          503  its engine was stopped under it, on purpose
    │   └── ModelFailed       503  (`cuda_required` is one of these)
    ├── DeadlineExceeded      504
    └── SpoolFull             507

Rooms raise; only `render` and `render_event` build error JSON, in the dialect of the route.
"""

from __future__ import annotations

import enum
import errno
import json
import math
from collections.abc import Iterable
from typing import Any, ClassVar, Literal

MAX_RETRY_AFTER_S = 120
"""The OpenAI SDKs give up instead of waiting when Retry-After is larger."""
MOST_OF_A_NAME = 200
"""Characters of a client's own words that it is told again."""


class Dialect(enum.Enum):
    """Whose error envelope a route speaks."""

    OPENAI = "openai"
    RESPONSES = "responses"
    ANTHROPIC = "anthropic"


class GatewayError(Exception):
    """Base of the tree. `message` is for the caller: plain words, no internals.

    `detail` is for the operator, instead of the message: with the places of this machine.
    `retry_after` is in seconds; `permanent` sends `x-should-retry: false`, because the SDKs
    retry 408, 409, 429 and every 5xx unless told otherwise.
    """

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    code: str | None = None
    permanent: bool = False

    def __init__(
        self,
        message: str,
        *,
        detail: str | None = None,
        param: str | None = None,
        code: str | None = None,
        retry_after: float | None = None,
        permanent: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail
        self.param = param
        if code is not None:
            self.code = code
        self.retry_after = retry_after
        if permanent is not None:
            self.permanent = permanent


class InvalidRequest(GatewayError):
    status = 400
    type = "invalid_request_error"


class Unauthorized(GatewayError):
    status = 401
    type = "authentication_error"
    code = "invalid_api_key"


class Forbidden(GatewayError):
    status = 403
    type = "permission_error"
    code = "insufficient_permissions"


class NotFound(GatewayError):
    status = 404
    type = "invalid_request_error"
    code = "not_found"


class ModelNotFound(NotFound):
    code = "model_not_found"

    def __init__(self, name: str, known: list[str]) -> None:
        served = ", ".join(known) or "none"
        shown = name if len(name) <= MOST_OF_A_NAME else f"{name[:MOST_OF_A_NAME]}…"
        super().__init__(
            f"The model '{shown}' does not exist here. Models served: {served}.", param="model"
        )


class MethodNotAllowed(GatewayError):
    """`allowed` are the methods that the path does answer to."""

    status = 405
    type = "invalid_request_error"
    code = "method_not_allowed"

    def __init__(self, message: str, allowed: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.allowed = tuple(allowed)


class TooSlow(GatewayError):
    status = 408
    type = "invalid_request_error"
    code = "request_timeout"


class Conflict(GatewayError):
    status = 409
    type = "invalid_request_error"
    code = "conflict"
    permanent = True


class TooLarge(GatewayError):
    status = 413
    type = "invalid_request_error"
    code = "request_too_large"


class HeadTooLarge(TooLarge):
    status = 431
    code = "headers_too_large"


class UnsupportedMedia(GatewayError):
    status = 415
    type = "invalid_request_error"
    code = "unsupported_media"


class QueueFull(GatewayError):
    status = 429
    type = "rate_limit_error"
    code = "queue_full"


class Internal(GatewayError):
    """Our fault. Never carries the text of the exception that caused it."""

    code = "internal_error"

    def __init__(self, request_id: str | None = None) -> None:
        super().__init__(_quoting("The gateway met an unexpected error.", request_id))


class EngineError(GatewayError):
    status = 502
    code = "engine_error"


class Unavailable(GatewayError):
    status = 503
    code = "unavailable"


class Loading(Unavailable):
    code = "model_loading"


class Draining(Unavailable):
    code = "draining"


class NoRoom(Unavailable):
    code = "no_room"


class DoesNotFit(Unavailable):
    code = "insufficient_memory"


class Unloaded(Unavailable):
    """A model's engine was stopped before this request was done. `by`: on whose behalf."""

    code = "model_unloaded"
    by: Literal["operator", "shutdown"] = "operator"


class ModelFailed(Unavailable):
    code = "model_failed"


class DeadlineExceeded(GatewayError):
    status = 504
    code = "deadline_exceeded"


class SpoolFull(GatewayError):
    status = 507
    code = "spool_full"


def too_many_files(exc: BaseException) -> NoRoom | None:
    """What a caller is told when the process or the machine is out of file descriptors."""
    if isinstance(exc, OSError) and exc.errno in {errno.EMFILE, errno.ENFILE}:
        message = "The gateway has as many files and connections open as it may; try again later."
        return NoRoom(message, retry_after=30)
    return None


_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    408: "invalid_request_error",
    409: "invalid_request_error",
    413: "request_too_large",
    429: "rate_limit_error",
    431: "invalid_request_error",
    503: "overloaded_error",
    504: "timeout_error",
}


def retry_after_header(seconds: float) -> str:
    """Whole seconds, at least 1, at most what an SDK is willing to wait."""
    return str(max(1, min(MAX_RETRY_AFTER_S, math.ceil(seconds))))


def headers(error: GatewayError) -> dict[str, str]:
    """The response headers that belong to an error, beside its body."""
    out: dict[str, str] = {}
    if error.status == 401:
        out["www-authenticate"] = "Bearer"
    if isinstance(error, MethodNotAllowed):
        out["allow"] = ", ".join(error.allowed)
    if error.retry_after is not None:
        out["retry-after"] = retry_after_header(error.retry_after)
    if error.permanent:
        out["x-should-retry"] = "false"
    return out


def _quoting(message: str, request_id: str | None) -> str:
    return f"{message} Quote request id {request_id} to the operator." if request_id else message


def _words(error: GatewayError, request_id: str | None, *, operator: bool) -> str:
    if error.detail is None:
        return error.message
    return error.detail if operator else _quoting(error.message, request_id)


def render(
    error: GatewayError,
    dialect: Dialect,
    request_id: str | None = None,
    *,
    operator: bool = False,
) -> dict[str, Any]:
    """The JSON body of an error answer; `operator`: for somebody with the right to see `detail`."""
    message = _words(error, request_id, operator=operator)
    if dialect is Dialect.ANTHROPIC:
        kind = _ANTHROPIC_TYPES.get(error.status, "api_error")
        body: dict[str, Any] = {
            "type": "error",
            "error": {"type": kind, "message": message},
        }
        if request_id:
            body["request_id"] = request_id
        return body
    return {
        "error": {
            "message": message,
            "type": error.type,
            "param": error.param,
            "code": error.code,
        }
    }


def render_event(
    error: GatewayError, dialect: Dialect, request_id: str | None = None, number: int = 0
) -> bytes:
    """One complete SSE frame that ends a stream of which `number` frames are out."""
    if dialect is Dialect.RESPONSES:
        payload: dict[str, Any] = {
            "type": "error",
            "code": error.code,
            "message": _words(error, request_id, operator=False),
            "param": error.param,
            "sequence_number": number,
        }
        name = b"event: error\n"
    else:
        payload = render(error, dialect, request_id)
        name = b"event: error\n" if dialect is Dialect.ANTHROPIC else b""
    return name + b"data: " + json.dumps(payload, ensure_ascii=False).encode() + b"\n\n"
