"""The rewrite of a request: every remote medium goes in, everything else stays as it came."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.app.errors import InvalidRequest
from backend.app.services.media import MAX_MEDIA, inline_remote
from backend.app.services.media_fetch import MediaFetcher, Medium
from backend.app.services.media_scan import Reference, references
from tests.support.media_web import MIB, PNG, Web, fetcher, never, plays


class Canned(MediaFetcher):
    """Knows every URL; what it gives is the URL."""

    async def fetch(self, url: str, kind: str, field: str, deadline: float) -> Medium:
        return Medium(f"{kind}/x", url.encode())


def rewritten(request: Any) -> Any:
    canned = Canned(max_bytes=MIB, max_pixels=1, timeout_s=20)
    return json.loads(asyncio.run(inline_remote(json.dumps(request).encode(), canned)))


def as_data(url: str, kind: str = "image") -> str:
    return f"data:{kind}/x;base64,{base64.b64encode(url.encode()).decode()}"


def test_each_dialect_gets_its_own_form() -> None:
    def part(key: str, value: Any, **more: Any) -> dict[str, Any]:
        return {"type": key, key: value, **more}

    def chat(*parts: Any) -> dict[str, Any]:
        return {"model": "q", "seed": 2**70, "messages": [{"role": "user", "content": list(parts)}]}

    a, b, inline = "https://x/a", "http://x/b?c=\u00e9#d", "data:image/png;base64,AAAA"
    text = {"type": "text", "text": f"{a} \u00e9\U0001f600"}
    assert rewritten(
        chat(
            part("image_url", {"url": a, "detail": "low"}, uuid="1"),
            text,
            part("image_url", {"url": inline}),
            part("audio_url", {"url": b}),
            part("video_url", b),
        )
    ) == chat(
        part("image_url", {"url": as_data(a), "detail": "low"}, uuid="1"),
        text,
        part("image_url", {"url": inline}),
        part("audio_url", {"url": as_data(b, "audio")}),
        part("video_url", as_data(b, "video")),
    )
    url = {"type": "url", "url": a, "extra": 1}
    bytes_ = {
        "type": "base64",
        "media_type": "image/x",
        "data": base64.b64encode(a.encode()).decode(),
        "extra": 1,
    }
    for source, other in ((url, bytes_),):
        result = {"type": "tool_result", "content": [text, {"type": "image", "source": source}]}
        wanted = {"type": "tool_result", "content": [text, {"type": "image", "source": other}]}
        assert rewritten(chat({"type": "image", "source": source}, result)) == chat(
            {"type": "image", "source": other}, wanted
        )
    item = {"type": "function_call_output", "output": [{"type": "input_image", "image_url": a}]}
    after = {**item, "output": [{"type": "input_image", "image_url": as_data(a)}]}
    assert rewritten({"input": [item], "stream": True}) == {"input": [after], "stream": True}


def test_bytes_of_other_fields_stay_as_they_came() -> None:
    picture = b'{"content":[{"image_url":"http://x"}]}'
    body = (
        b'{ "seed":1.10E+2, "tools":[{"a":1.0,"a":"\\u0041"}],"input":[{"a":1.0 }],"messages":[%b]}'
        % picture
    )
    canned = Canned(max_bytes=MIB, max_pixels=1, timeout_s=20)
    after = asyncio.run(inline_remote(body, canned))
    kept = b'{"seed":1.10E+2,"tools":[{"a":1.0,"a":"\\u0041"}],"input":[{"a":1.0 }],"messages":[{'
    assert after.startswith(kept)
    untouched = b' {"messages" : [ ] } '
    assert asyncio.run(inline_remote(untouched, canned)) is untouched


LEAF = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
NAMES = st.text().filter(lambda name: name != "file_url")  # documents are refused
URLS = st.sampled_from(["http://x/a", "https://x/b", "data:image/png;base64,AA", "", "x"])
PART = st.recursive(
    st.fixed_dictionaries({"type": st.just("text"), "text": st.text()})
    | st.builds(lambda url: {"image_url": {"url": url}}, URLS)
    | st.builds(lambda url: {"audio_url": url}, URLS)
    | st.builds(lambda url: {"type": "image", "source": {"type": "url", "url": url}}, URLS)
    | st.dictionaries(NAMES, LEAF),
    lambda parts: st.builds(
        lambda content, more: {**more, "content": content},
        st.lists(parts, max_size=3),
        st.dictionaries(NAMES, LEAF),
    ),
    max_leaves=8,
)


@given(st.lists(PART, max_size=5), st.dictionaries(NAMES, LEAF))
def test_nothing_but_remote_media_changes(parts: list[Any], more: dict[str, Any]) -> None:
    before = {**more, "messages": parts}
    try:
        after = rewritten(before)
    except InvalidRequest:  # a lone surrogate
        with pytest.raises(UnicodeEncodeError):
            json.dumps(before, ensure_ascii=False).encode()
        return

    def remote(document: Any) -> list[Reference]:
        return [each for each in references(document["messages"], "messages") if not each.inline]

    assert not remote(after)
    for each in remote(before):  # what ought to have happened, done by hand
        if each.key == "source":
            data = base64.b64encode(each.url.encode()).decode()
            each.holder["source"] = {"type": "base64", "media_type": "image/x", "data": data}
        else:
            each.holder[each.key] = as_data(each.url, each.kind)
    assert after == before


def pictures(*urls: str) -> bytes:
    content = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return json.dumps({"messages": [{"role": "user", "content": content}]}).encode()


def rewrite_refused(body: bytes, words: str, param: str, **changes: Any) -> None:
    async def run() -> None:
        client = fetcher(**changes)
        try:
            with pytest.raises(InvalidRequest, match=words) as caught:
                await inline_remote(body, client)
            assert caught.value.param == param
        finally:
            await client.close()

    asyncio.run(run())


def test_the_field_is_named() -> None:
    field = "messages[0].content[1].image_url.url"
    body = pictures("data:image/png;base64,AA", "file:///etc/passwd")
    rewrite_refused(body, "only http, https and data URLs", field)
    rewrite_refused(pictures("", "http://[::1]/"), "not public", field)
    rewrite_refused(pictures("", "http://x/"), "switched off", field, enabled=False)
    document = {"messages": [{"content": [{"source": {"type": "url", "url": "http://x"}}]}]}
    body = json.dumps(document).encode()
    rewrite_refused(body, "documents are not fetched", "messages[0].content[0].source.url")


def test_there_may_be_only_so_many() -> None:
    body = pictures(*["http://127.0.0.1/"] * (MAX_MEDIA + 1))
    rewrite_refused(body, "33 remote media", f"messages[0].content[{MAX_MEDIA}].image_url.url")


def test_together_they_may_be_only_so_large() -> None:
    async def run() -> None:
        async with Web(plays(PNG.ljust(MIB))) as web:
            client = fetcher()
            assert len(await inline_remote(pictures(*[web.url()] * 2), client)) > 2 * MIB
            with pytest.raises(InvalidRequest, match="too large together"):
                await inline_remote(pictures(*[web.url()] * 3), client)
            await client.close()

    asyncio.run(run())


def test_four_at_once() -> None:
    class Counting(Canned):
        running = most = 0

        async def fetch(self, url: str, kind: str, field: str, deadline: float) -> Medium:
            self.running += 1
            self.most = max(self.most, self.running)
            for _ in range(20):  # rounds of the loop, in which every other fetch could begin
                await asyncio.sleep(0)
            self.running -= 1
            return await super().fetch(url, kind, field, deadline)

    counting = Counting(max_bytes=MIB, max_pixels=1, timeout_s=20)
    asyncio.run(inline_remote(pictures(*(f"http://x/{i}" for i in range(20))), counting))
    assert counting.most == 4


def test_each_comes_to_its_place_whatever_comes_first() -> None:
    async def run() -> None:
        first = asyncio.Event()

        async def late(writer: asyncio.StreamWriter) -> None:
            await first.wait()
            await plays(PNG + b"late")(writer)

        async def early(writer: asyncio.StreamWriter) -> None:
            await plays(PNG + b"early")(writer)
            first.set()

        async with Web(late) as one, Web(early) as two:
            client = fetcher()
            after = json.loads(await inline_remote(pictures(one.url(), two.url()), client))
            await client.close()
        urls = [part["image_url"]["url"] for part in after["messages"][0]["content"]]
        contents = [base64.b64decode(url.partition(",")[2]) for url in urls]
        assert contents == [PNG + b"late", PNG + b"early"]

    asyncio.run(run())


def test_one_failure_ends_the_others() -> None:
    async def run() -> None:
        async with Web(never) as slow, Web(plays(b"", status="404 Not Found")) as absent:
            client = fetcher()
            with pytest.raises(InvalidRequest, match="answered 404"):
                await inline_remote(pictures(slow.url(), absent.url()), client)
            await asyncio.wait_for(slow.left.wait(), 20)
            await client.close()

    asyncio.run(run())


def test_a_caller_who_leaves_ends_the_fetch() -> None:
    async def run() -> None:
        async with Web(never) as slow:
            client = fetcher()
            task = asyncio.ensure_future(inline_remote(pictures(slow.url()), client))
            await asyncio.wait_for(slow.arrived.wait(), 20)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.wait_for(slow.left.wait(), 20)
            await client.close()

    asyncio.run(run())
