"""What a request asks for, whichever dialect it is written in, and the words to answer."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


class Refused(Exception):
    """vLLM's answer to a bad request."""

    def __init__(self, status: int, kind: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.kind, self.message, self.param = status, kind, message, param

    def body(self) -> dict[str, Any]:
        fields = {"type": self.kind, "param": self.param, "code": self.status}
        return {"error": {"message": self.message, **fields}}


def _image(part: dict[str, Any]) -> str:
    """One word for an image: `<image/png:1234:checksum>` of its base64 text, or its address."""
    source = part.get("image_url") or part.get("source") or {}
    if isinstance(source, dict) and "data" in source:
        media, data = source.get("media_type", ""), source["data"]
    else:
        url = source["url"] if isinstance(source, dict) else source
        head, _, data = url.partition(",")
        if not head.startswith("data:"):
            return f"<{url}>"
        media = head[5:].partition(";")[0]
    return f"<{media}:{len(data)}:{zlib.crc32(data.encode()):08x}>"


def _words(content: Any) -> Iterator[str]:
    if isinstance(content, str):
        yield from content.split()
    elif isinstance(content, list):
        for part in content:
            if isinstance(part, str):
                yield from part.split()
            elif "text" in part:
                yield from part["text"].split()
            elif "image" in part.get("type", ""):
                yield _image(part)


@dataclass(frozen=True)
class Ask:
    model: str
    stream: bool
    include_usage: bool
    prompt: list[str]
    words: list[str]
    """The answer: one word, one token."""
    cut: bool
    """The length was asked for, so the answer ends because of it."""

    def tokens(self) -> Iterator[str]:
        """Each word but the first with the space before it."""
        return (f" {word}" if number else word for number, word in enumerate(self.words))


def read(body: dict[str, Any], least: int, default_model: str) -> Ask:
    """Raises Refused where vLLM would answer 400."""
    turns = body.get("messages") or body.get("input") or body.get("prompt")
    if not turns:
        raise Refused(400, "Bad Request", "1 validation error:\n  {'type': 'missing'}", "body")
    if not isinstance(turns, list) or isinstance(turns[0], str):
        turns = [{"role": "user", "content": turns}]
    prompt = [word for turn in turns for word in _words(turn.get("content"))]
    asked = [list(_words(t.get("content"))) for t in turns if t.get("role", "user") == "user"]
    words = asked[-1][::-1] if asked else []
    limits = ("max_completion_tokens", "max_tokens", "max_output_tokens")
    limit = next((body[name] for name in limits if body.get(name)), None)
    length = limit or max(least, len(words))
    words = words[:length] + [f"tok{n}" for n in range(1, length - len(words) + 1)]
    return Ask(
        model=body.get("model") or default_model,
        stream=bool(body.get("stream")),
        include_usage=bool((body.get("stream_options") or {}).get("include_usage")),
        prompt=prompt,
        words=words,
        cut=limit is not None,
    )
