"""Read what the gateway needs from a request body, at the price of almost nothing.

`peek` looks once at every chat, completion, response and message request. It parses a *skeleton*
of the body: long inline strings (pictures as `data:` URLs) are cut short first, so ten megabytes
of base64 cost two sweeps for a quote and a backslash. `references` names each place where the
engine would look for a medium; the scan and the rewrite in `media.py` both go by it and cannot
disagree.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, TypeVar

import msgspec

from backend.app.errors import InvalidRequest

Kind = Literal["image", "audio", "video", "file"]
Path = tuple[Any, ...]
"""Steps into a document as (parent path, key or index); () is its root. Cheap to extend."""

MEDIA_FIELDS = ("messages", "input")
"""Top-level fields whose content parts may name media."""

_URL_KEYS: tuple[tuple[str, Kind], ...] = (
    ("image_url", "image"),
    ("audio_url", "audio"),
    ("video_url", "video"),
    ("file_url", "file"),
)
_PART_KEYS = frozenset({"source", *(key for key, _ in _URL_KEYS)})
_NESTED = ("content", "output")
"""Parts lie in messages' `content`, tool results' `content` and function calls' `output`. Nothing
else is entered: arguments of tool calls may hold URLs that are nobody's pictures."""

_STRIDE = 64 * 1024
"""Strings longer than this are cut; shorter ones are cheap to parse."""
_KEEP = 1024
"""What remains of a cut string: enough for a scheme, a model name and the affinity digest."""
_AFFINITY_BYTES = 1024
_MAX_ELEMENTS = 500_000
"""More brackets and commas than any prompt that fits a model; decoding them would stall us all."""
_SEPARATORS = b"{[,"
_TYPES = {"model": "a string", "stream": "true or false"}
_AFTER_A_STRING = b",:]} \t\r\n"

_T = TypeVar("_T")


class Peek(msgspec.Struct, frozen=True):
    """What routing needs to know about a request; everything else is the engine's business."""

    model: str | None
    """As given; None when missing. Whether it is a known name is for the registry to say."""
    stream: bool
    media: bool
    """True when some content part names a medium that is not inline as a `data:` URL."""
    affinity: bytes
    """Digest of the prompt's beginning, for prefix caches; empty without a prompt."""


class Reference(NamedTuple):
    """One place in a decoded document that names a medium."""

    holder: dict[str, Any]
    key: str
    url: str
    kind: Kind
    path: Path

    @property
    def inline(self) -> bool:
        """True when there is nothing to fetch. Engines match the scheme in any letter case."""
        return not self.url or self.url[:5].lower() == "data:"

    @property
    def field(self) -> str:
        """Where it stands, as in `messages[2].content[0].image_url.url`."""
        text, path = "", self.path
        while path:
            path, step = path
            text = f"[{step}]{text}" if isinstance(step, int) else f".{step}{text}"
        return text[1:]


class _Body(msgspec.Struct):
    model: str | None = None
    stream: bool | None = None
    instructions: msgspec.Raw = msgspec.Raw()
    system: msgspec.Raw = msgspec.Raw()
    messages: msgspec.Raw = msgspec.Raw()
    input: msgspec.Raw = msgspec.Raw()
    prompt: msgspec.Raw = msgspec.Raw()


def peek(body: bytes) -> Peek:
    """Read a JSON request body once. Raises InvalidRequest when it cannot be a request."""
    text = _skeleton(body)
    try:
        head = decode(text, _Body)
    except InvalidRequest:
        if len(text) != len(body):
            decode(body, _Body)  # the same failure, with the position in the body as it was sent
        raise
    media = any(
        not reference.inline
        for field in MEDIA_FIELDS
        for reference in references(parts(getattr(head, field), field), field)
    )
    prompt = (head.instructions, head.system, head.messages, head.input, head.prompt)
    return Peek(model=head.model, stream=bool(head.stream), media=media, affinity=_digest(prompt))


def references(document: Any, field: str) -> Iterator[Reference]:
    """Each medium that an engine would load from the value of top-level `field`."""
    queue: list[tuple[Any, Path]] = [(document, ((), field))]
    for node, path in queue:  # grows while we walk; depth costs no recursion
        if isinstance(node, list):
            queue += [(item, (path, i)) for i, item in enumerate(node) if isinstance(item, dict)]
        elif isinstance(node, dict):
            if not node.keys().isdisjoint(_PART_KEYS):
                yield from _of_part(node, path)
            queue += [(node[key], (path, key)) for key in _NESTED if key in node]


def _of_part(part: dict[str, Any], path: Path) -> Iterator[Reference]:
    # By key, not by `type`: engines guess a missing type from the key.
    for key, kind in _URL_KEYS:
        value = part.get(key)
        if isinstance(value, str):
            yield Reference(part, key, value, kind, (path, key))
        elif isinstance(value, dict) and isinstance(value.get("url"), str):
            yield Reference(value, "url", value["url"], kind, ((path, key), "url"))
    source = part.get("source")  # Anthropic
    if isinstance(source, dict) and source.get("type") == "url":
        url = source.get("url")
        if isinstance(url, str):
            of: Kind = "image" if part.get("type") == "image" else "file"
            yield Reference(part, "source", url, of, ((path, "source"), "url"))


def decode(body: bytes | msgspec.Raw, kind: type[_T], field: str | None = None) -> _T:
    """Decode JSON or raise InvalidRequest saying what is wrong and where."""
    what = f"'{field}'" if field else "The request body"
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as exc:
        wrong = str(exc).partition(" - at `$.")[2].rstrip("`")
        if wrong in _TYPES:
            raise InvalidRequest(f"'{wrong}' must be {_TYPES[wrong]}.", param=wrong) from None
        if "got `" in str(exc):
            raise InvalidRequest(f"{what} must be a JSON object.", param=field) from None
        reason = "a number is out of range"
    except msgspec.DecodeError as exc:
        reason = str(exc).replace("JSON is malformed: ", "")
        if "truncated" in reason:
            reason = "it ends too early, or half of a surrogate pair is missing"
    except UnicodeDecodeError:
        reason = "it is not UTF-8"
    except RecursionError:
        reason = "it is nested too deeply"
    raise InvalidRequest(f"{what} is not valid JSON: {reason}.", param=field)


def parts(raw: msgspec.Raw, field: str) -> Any:
    """The decoded value of a top-level field, or None where it cannot hold content parts."""
    text = bytes(raw)
    if b"{" not in text:
        return None  # a text, or a list of texts or token ids: long, and none of our business
    many = len(text) > _MAX_ELEMENTS
    if many and len(text) - len(text.translate(None, _SEPARATORS)) > _MAX_ELEMENTS:
        raise InvalidRequest(f"'{field}' holds too many elements.", param=field)
    return decode(raw, object, field)


def _digest(prompt: tuple[msgspec.Raw, ...]) -> bytes:
    beginning = b"".join(memoryview(raw)[:_AFFINITY_BYTES] for raw in prompt)[:_AFFINITY_BYTES]
    return hashlib.blake2b(beginning, digest_size=8).digest() if beginning else b""


def _skeleton(body: bytes) -> bytes:
    """`body` with the inside of long plain strings left out: the same structure, far shorter.

    Between two neighbouring quotes without a backslash we are inside a string, or outside all of
    them and then the next byte is one of a few. So bytes that do not begin like that are a
    string's (or the body is malformed, and stays so, since their beginning is kept), and dropping
    some of them changes no structure.
    """
    kept: list[bytes] = []
    done, probe = 0, _STRIDE
    while (end := body.find(b'"', probe)) >= 0:
        start = body.rfind(b'"', done, probe) + 1
        cut = start + _KEEP
        if (
            start
            and cut < end
            and body[start] not in _AFTER_A_STRING
            and body[start:cut].isascii()  # or the cut might halve a character
            and body.find(b"\\", start, end) < 0
        ):
            kept.append(body[done:cut])
            done = end
        probe = end + _STRIDE
    if not kept:
        return body
    kept.append(body[done:])
    return b"".join(kept)
