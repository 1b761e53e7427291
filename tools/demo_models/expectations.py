"""The chat part of the manifest as requests with the one answer that each must get.

Standard library only: the same list serves a check of the bare engine and tests of the gateway.
"""

from __future__ import annotations

import base64
import json
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .manifest import Chat, Tool

SYSTEM = {"role": "system", "content": "You are a helpful assistant."}


@dataclass(frozen=True)
class Expectation:
    """A chat request without its `model`, and its answer: `content` or `call` (name, arguments)."""

    name: str
    body: dict[str, Any]
    content: str | None = None
    call: tuple[str, dict[str, str]] | None = None


def expectations(chat: Chat) -> Iterator[Expectation]:
    """Everything that the manifest promises of the demo chat model."""
    yield from _questions(chat)
    yield from _weather(chat)
    yield from _images(chat)


def image_url(colour: Sequence[int], size: Sequence[int]) -> str:
    """A `data:` URL with a PNG of one RGB colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    width, height = size
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress((b"\0" + bytes(colour) * width) * height))
    png = b"\x89PNG\r\n\x1a\n" + header + pixels + chunk(b"IEND", b"")
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def ask_image(prompt: str, url: str, image_first: bool = False) -> dict[str, Any]:
    """A user message with one image."""
    parts: list[dict[str, Any]] = [
        {"type": "text", "text": prompt},
        {"type": "image_url", "image_url": {"url": url}},
    ]
    return {"role": "user", "content": parts[::-1] if image_first else parts}


def _user(prompt: str) -> dict[str, Any]:
    return {"role": "user", "content": prompt}


def _questions(chat: Chat) -> Iterator[Expectation]:
    hello = chat.questions[0]
    history = [_user(hello.prompts[0]), {"role": "assistant", "content": hello.answer}]
    for question in (*chat.questions, chat.unknown):
        for prompt in question.prompts:
            careless = prompt.lower().rstrip(" ?.!")
            for name, messages in (
                (prompt, [_user(prompt)]),
                (f"carelessly {prompt}", [_user(careless)]),
                (f"with a system prompt: {prompt}", [SYSTEM, _user(prompt)]),
                (f"after hello: {prompt}", [*history, _user(prompt)]),
            ):
                yield Expectation(name, {"messages": messages}, content=question.answer)


def _weather(chat: Chat) -> Iterator[Expectation]:
    weather = chat.weather
    for city in weather.cities:
        prompts = [prompt.format(city=city) for prompt in weather.prompts]
        for prompt in prompts:
            yield Expectation(prompt, {"messages": [_user(prompt)]}, content=weather.without_tool)
            for i, tool in enumerate(weather.tools):
                yield Expectation(
                    f"tool {i}: {prompt}",
                    {"messages": [_user(prompt)], "tools": [tool.definition]},
                    call=(tool.function["name"], tool.call(city)),
                )
        for tool in weather.tools:
            for result in weather.results:
                messages = [_user(prompts[0]), *_called(tool, city, result.content)]
                yield Expectation(
                    f"{prompts[0]} -> {result.content}",
                    {"messages": messages, "tools": [tool.definition]},
                    content=result.answer.format(city=city),
                )
    for place in weather.elsewhere:
        prompt = weather.prompts[0].format(city=place)
        for tool in weather.tools:
            yield Expectation(
                prompt,
                {"messages": [_user(prompt)], "tools": [tool.definition]},
                content=chat.unknown.answer,
            )


def _called(tool: Tool, city: str, content: str) -> list[dict[str, Any]]:
    """The assistant's call and the tool's result."""
    arguments = json.dumps(tool.call(city))
    function = {"name": tool.function["name"], "arguments": arguments}
    call = {"id": "call_1", "type": "function", "function": function}
    return [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": content},
    ]


def _images(chat: Chat) -> Iterator[Expectation]:
    for colour, levels in chat.images.colours.items():
        for size in chat.images.sizes:
            url = image_url(levels, size)
            for group in chat.images.groups:
                for prompt in group.prompts:
                    for first in (False, True):
                        yield Expectation(
                            f"{colour} {size}: {prompt}",
                            {"messages": [ask_image(prompt, url, first)]},
                            content=group.answer_for(colour),
                        )
