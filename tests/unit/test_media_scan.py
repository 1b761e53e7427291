"""Peek: what a body asks for, from a skeleton that means the same as the whole."""

from __future__ import annotations

import base64
import json
import os
from typing import Any
from unittest import mock

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from backend.app.errors import InvalidRequest
from backend.app.services import media_scan
from backend.app.services.media_scan import Reference, peek, references

HTTP = "https://example.com/a.png"
DATA = "data:image/png;base64,iVBORw0KGgo="

# One content part for each way to name a medium, around the URL; and where the URL then stands.
PARTS: dict[str, tuple[Any, str]] = {
    "image_url": ({"type": "image_url", "image_url": {"url": "U"}}, "image_url.url"),
    "image_url, detail": (
        {"type": "image_url", "image_url": {"detail": "low", "url": "U"}},
        "image_url.url",
    ),
    "image_url as a text": ({"type": "image_url", "image_url": "U"}, "image_url"),
    "without a type": ({"image_url": "U"}, "image_url"),
    "with a uuid": ({"uuid": "1", "image_url": {"url": "U"}}, "image_url.url"),
    "audio_url": ({"type": "audio_url", "audio_url": {"url": "U"}}, "audio_url.url"),
    "video_url": ({"type": "video_url", "video_url": {"url": "U"}}, "video_url.url"),
    "input_image": ({"type": "input_image", "image_url": "U"}, "image_url"),
    "input_file": ({"type": "input_file", "file_url": "U"}, "file_url"),
    "image source": ({"type": "image", "source": {"type": "url", "url": "U"}}, "source.url"),
    "document source": ({"type": "document", "source": {"type": "url", "url": "U"}}, "source.url"),
    "tool_result": (
        {
            "type": "tool_result",
            "tool_use_id": "t",
            "content": [
                {"type": "text", "text": "see"},
                {"type": "image", "source": {"type": "url", "url": "U"}},
            ],
        },
        "content[1].source.url",
    ),
}

# Where a part may lie in a request.
PLACES: dict[str, tuple[Any, str]] = {
    "chat": ({"messages": [{"role": "user", "content": ["P"]}]}, "messages[0].content[0]"),
    "chat, later": (
        {
            "messages": [
                {"role": "system", "content": "s"},
                {"role": "tool", "content": [{"type": "text", "text": "t"}, "P"]},
            ]
        },
        "messages[1].content[1]",
    ),
    "responses": ({"input": [{"role": "user", "content": ["P"]}]}, "input[0].content[0]"),
    "responses, output of a function": (
        {"input": [{"type": "function_call_output", "call_id": "c", "output": ["P"]}]},
        "input[0].output[0]",
    ),
    "responses, output of a computer": (
        {"input": [{"type": "computer_call_output", "output": "P"}]},
        "input[0].output",
    ),
}


def fill(template: Any, hole: str, value: Any) -> Any:
    if template == hole:
        return value
    if isinstance(template, list):
        return [fill(item, hole, value) for item in template]
    if isinstance(template, dict):
        return {key: fill(item, hole, value) for key, item in template.items()}
    return template


def document(place: str, part: str, url: str) -> tuple[dict[str, Any], str]:
    outer, where = PLACES[place]
    inner, field = PARTS[part]
    built = fill(outer, "P", fill(inner, "U", url))
    return {"model": "qwen", **built}, f"{where}.{field}"


def found(request: Any) -> list[Reference]:
    return [
        each
        for field in media_scan.MEDIA_FIELDS
        for each in references(request.get(field), field)
        if not each.inline
    ]


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("place", PLACES)
def test_every_remote_medium_is_seen_wherever_it_stands(place: str, part: str) -> None:
    request, field = document(place, part, HTTP)
    assert peek(json.dumps(request).encode()).media
    assert [(each.field, each.url) for each in found(request)] == [(field, HTTP)]


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("place", PLACES)
def test_inline_media_take_the_fast_path(place: str, part: str) -> None:
    request, _ = document(place, part, DATA)
    assert not peek(json.dumps(request).encode()).media


@pytest.mark.parametrize(
    "url",
    [
        "http://x/a.png",
        "file:///etc/passwd",
        "ftp://x/a",
        "//x/a",
        "/etc/passwd",
        " data:image/png;base64,AA",
        "xdata:,",
        "dat",
        "data",
        "\u0000data:",
    ],
)
def test_whatever_is_no_data_url_counts_as_remote(url: str) -> None:
    request, _ = document("chat", "image_url", url)
    assert peek(json.dumps(request).encode()).media


@pytest.mark.parametrize(
    "url", [rb"https:\/\/x\/a.png", rb"\u0068ttps://x", rb"\u0066ile:///etc/passwd"]
)
def test_escapes_hide_nothing(url: bytes) -> None:
    for key in (b"image_url", rb"image\u005furl"):
        for field in (b"messages", rb"mess\u0061ges"):
            body = b'{"%b":[{"role":"user","content":[{"%b":{"url":"%b"}}]}]}' % (field, key, url)
            assert peek(body).media


def test_the_last_of_two_equal_keys_counts_as_it_does_for_the_engine() -> None:
    body = (
        b'{"messages":[{"content":[{"image_url":"%b","image_url":"%b"}]}],"model":"a","model":"b"}'
    )
    assert peek(body % (DATA.encode(), HTTP.encode())).media
    assert not peek(body % (HTTP.encode(), DATA.encode())).media
    assert peek(body % (b"", b"")).model == "b"


def test_urls_that_no_engine_would_load_are_left_alone() -> None:
    request = {
        "messages": [
            {"role": "user", "content": f"look at {HTTP}"},
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "input": {"image_url": HTTP, "content": HTTP}}],
                "tool_calls": [{"function": {"arguments": json.dumps({"image_url": HTTP})}}],
            },
            {"role": "user", "content": [{"type": "image_url", "image_url": None, "uuid": "1"}]},
            {"role": "user", "content": [{"source": {"type": "base64", "data": "", "url": HTTP}}]},
        ],
        "tools": [{"function": {"parameters": {"image_url": {"url": HTTP}}}}],
        "metadata": {"image_url": HTTP},
    }
    assert not peek(json.dumps(request).encode()).media


def test_model_and_stream() -> None:
    assert peek(b"{}") == media_scan.Peek(model=None, stream=False, media=False, affinity=b"")
    seen = peek(b'{"stream":true,"model":"qwen","prompt":"x"}')
    assert (seen.model, seen.stream, seen.media) == ("qwen", True, False)
    assert not peek(b'{"stream":null}').stream


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        (b'{"stream":"yes"}', "stream", "true or false"),
        (b'{"stream":1}', "stream", "true or false"),
        (b'{"model":["qwen"]}', "model", "a string"),
        (b"[]", None, "must be a JSON object"),
        (b'"x"', None, "must be a JSON object"),
        (b"", None, "ends too early"),
        (b'{"model":', None, "ends too early"),
        (b'{"model":"a"}}', None, "trailing characters"),
        (b'{"a":1,}', None, "byte 7"),
        (b'{"a":NaN}', None, "byte 5"),
        (b"\xef\xbb\xbf{}", None, "byte 0"),
        ('{"model":"a"}'.encode("utf-16"), None, "byte 0"),
        (b'{"model":"\xff"}', None, "not UTF-8"),
        (b'{"messages":[{"content":"\xff"}]}', "messages", "not UTF-8"),
        (b'{"model":"\\ud800"}', None, "surrogate"),
        (b'{"messages":[{"a":1e999}]}', "messages", "out of range"),
        (b'{"a":' + b"[" * 200_000, None, "nested too deeply"),
        (b'{"messages":' + b'[{"content":' * 200_000, None, "nested too deeply"),
        (b'{"messages":[' + b"{}," * 300_000 + b"{}]}", "messages", "too many elements"),
    ],
)
def test_what_cannot_be_a_request_is_refused_with_the_place(
    body: bytes, param: str | None, words: str
) -> None:
    with pytest.raises(InvalidRequest, match=words) as caught:
        peek(body)
    assert caught.value.param == param


def test_a_position_in_a_cut_body_is_that_of_the_body_as_sent() -> None:
    body = b'{"prompt":"' + b"x" * 300_000 + b'",}'
    with pytest.raises(InvalidRequest, match=f"byte {len(body) - 1}"):
        peek(body)


def test_prompts_that_begin_alike_go_together() -> None:
    def affinity(**fields: Any) -> bytes:
        return peek(json.dumps(fields).encode()).affinity

    system = {"role": "system", "content": "You are a pirate. " * 100}
    one, two = ({"role": "user", "content": text} for text in ("hello", "goodbye"))
    assert affinity(messages=[system, one]) == affinity(messages=[system, two], model="other")
    assert affinity(messages=[one]) != affinity(messages=[two])
    assert affinity(system="a", messages=[one]) != affinity(system="b", messages=[one])
    assert affinity(instructions="a", input="x") != affinity(instructions="b", input="x")
    assert affinity(prompt="x" * 1000 + "a" * 90_000) == affinity(prompt="x" * 1000 + "a" * 99_000)
    assert affinity(prompt="x") != affinity(prompt="y")


def test_ten_megabytes_of_picture_leave_a_small_skeleton() -> None:
    picture = base64.b64encode(os.urandom(2_500_000)).decode()
    content = [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + picture}},
        {"type": "input_audio", "input_audio": {"data": picture, "format": "wav"}},
        {"type": "image", "source": {"type": "base64", "data": picture}},
        {"type": "image_url", "image_url": {"url": HTTP}},
    ]
    request = {"messages": [{"role": "user", "content": content}], "model": "qwen"}
    body = json.dumps(request).encode()
    skeleton = media_scan._skeleton(body)
    assert len(body) > 10_000_000
    assert len(skeleton) < 10_000
    assert [each.field for each in found(json.loads(skeleton))] == [
        "messages[0].content[3].image_url.url"
    ]
    assert peek(body).model == "qwen"


@pytest.mark.parametrize("offset", [0, 1, 2])
def test_no_character_is_cut_in_half(offset: int) -> None:
    text = "x" * offset + "€" * 100_000
    request = {"messages": [{"role": "user", "content": [{"type": "text", "text": text}]}]}
    assert not peek(json.dumps(request, ensure_ascii=False).encode()).media


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(max_size=3)
            | st.sampled_from(
                ["messages", "input", "content", "output", "image_url", "url", "source", "type"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(JSON, st.booleans())
def test_any_json_gets_an_answer(value: Any, as_ascii: bool) -> None:
    fields = value if isinstance(value, dict) else {"messages": value}
    body = json.dumps(fields, ensure_ascii=as_ascii).encode(errors="surrogatepass")
    try:
        seen = peek(body)
    except InvalidRequest:
        return
    assert seen.media == bool(found(json.loads(body)))


@given(st.binary(max_size=60))
@example(b"\xff\xfe{\x00}\x00")
def test_any_bytes_get_an_answer(body: bytes) -> None:
    try:
        peek(body)
    except InvalidRequest:
        return
    assert isinstance(json.loads(body), dict)


def parses(text: bytes) -> bool:
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except msgspec.DecodeError:
        return False
    return True


@given(
    st.lists(
        st.sampled_from(
            [
                '"',
                '"',
                "\\",
                "\\u00e9",
                "\\n",
                "{",
                "}",
                "[",
                "]",
                ",",
                ":",
                " ",
                "1",
                "data:",
                "aaaa",
            ]
        )
        | st.text(st.characters(min_codepoint=0x20, exclude_categories=["Cs"]), max_size=9),
        max_size=60,
    ).map("".join)
    | JSON.map(json.dumps)
)
@example('["aaaaaaaaaaaaaaaa","aaaaaaaaaaaaaaaaaaaaaaa"aaaaaaaaaaaaaaaaaaa"]')
@example('["aaaaaaaaaaaaaaaaaaaaa",1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,"a"]')
@example('["aaaaé\\"aaaaaaaaaéaaaaaaaaaaaaaaaaaa","aaaaaaaaaéaaaaaaaaaaaaaaaaa"]')
def test_a_skeleton_is_valid_exactly_when_its_body_is(text: str) -> None:
    body = text.encode()
    with mock.patch.multiple(media_scan, _STRIDE=4, _KEEP=3):
        skeleton = media_scan._skeleton(body)
    assert len(skeleton) <= len(body)
    assert parses(skeleton) == parses(body)
    if parses(body):
        assert shape(json.loads(skeleton)) == shape(json.loads(body))


def shape(value: Any) -> Any:
    """Structure with every string but its first characters forgotten."""
    if isinstance(value, list):
        return [shape(item) for item in value]
    if isinstance(value, dict):
        return [(shape(key), shape(item)) for key, item in value.items()]
    return value[:3] if isinstance(value, str) else repr(value)
