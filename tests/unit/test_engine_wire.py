"""Reading an engine's answer, however its bytes arrive, and writing a request's head."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.app.engines._wire import MAX_HEAD, Answer, request_head
from backend.app.engines.launcher import Address
from backend.app.errors import EngineError

UNIX = Address(socket="/run/x")
TCP = Address(host="10.0.0.5", port=8100, token="s3cret")


@dataclass(frozen=True)
class Case:
    raw: bytes
    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    keep_alive: bool
    until_close: bool = False


TOKEN = st.text("abcdefgXYZ-0123456789", min_size=1, max_size=12).map(str.encode)
VALUE = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20).map(str.encode)
TEXT = st.binary(max_size=60)


@st.composite
def answers(draw: st.DrawFn) -> Case:
    head = b"".join(
        b"HTTP/1.1 10%d Wait\r\nx-hint: 1\r\n\r\n" % code
        for code in draw(st.lists(st.sampled_from((0, 2, 3)), max_size=2))
    )
    fields = [
        (b"X-" + name, value) for name, value in draw(st.lists(st.tuples(TOKEN, VALUE), max_size=4))
    ]
    framing = draw(st.sampled_from(("length", "chunked", "close", "none")))
    status = 204 if framing == "none" else draw(st.sampled_from((200, 201, 404, 500)))
    body = b"" if framing == "none" else draw(TEXT)
    version = b"1.1"
    tail = body
    extra: list[tuple[bytes, bytes]] = []
    if framing == "length":
        version = draw(st.sampled_from((b"1.1", b"1.0")))
        extra = [(b"Content-Length", b"%d" % len(body))]
    elif framing == "chunked":
        cuts = sorted(draw(st.lists(st.integers(0, len(body)), max_size=4)))
        parts = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
        extra = [(b"Transfer-Encoding", b"chunked")]
        extension = draw(st.sampled_from((b"", b";x=1")))
        frames = (b"%x%b\r\n%b\r\n" % (len(part), extension, part) for part in parts if part)
        trailer = draw(st.sampled_from((b"", b"X-Sum: 1\r\n")))
        tail = b"".join(frames) + b"0\r\n" + trailer + b"\r\n"
    lines = b"".join(name + b": " + value + b"\r\n" for name, value in fields + extra)
    raw = head + b"HTTP/%b %d Some Words\r\n" % (version, status) + lines + b"\r\n" + tail
    kept = [(name.lower(), value) for name, value in fields]
    if framing == "length":
        kept.append((b"content-length", extra[0][1]))
    keep_alive = framing != "close" and version == b"1.1"
    return Case(raw, status, tuple(kept), body, keep_alive, framing == "close")


@given(answers(), st.data())
def test_any_split_of_an_answer_reads_the_same(case: Case, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(1, len(case.raw) - 1), max_size=12)))
    check(case, [case.raw[a:b] for a, b in zip([0, *cuts], [*cuts, None], strict=True)])


@given(answers())
def test_an_answer_that_comes_byte_by_byte_reads_the_same(case: Case) -> None:
    check(case, [case.raw[i : i + 1] for i in range(len(case.raw))])


def check(case: Case, parts: list[bytes]) -> None:
    answer = Answer(head_only=False)
    body = b""
    for part in parts:
        assert not answer.complete
        answer.feed(part)
        body += answer.take()
    assert answer.complete is not case.until_close
    assert (answer.keep_alive, answer.status) == (case.keep_alive, case.status)
    assert (tuple(answer.headers), body) == (case.headers, case.body)
    answer.feed_eof()
    assert answer.complete


@given(answers(), st.data())
def test_a_truncated_answer_is_never_complete(case: Case, data: st.DataObject) -> None:
    if case.until_close:
        return  # cannot be told from a shorter one
    answer = Answer(head_only=False)
    answer.feed(case.raw[: data.draw(st.integers(0, len(case.raw) - 1))])
    answer.feed_eof()
    assert not answer.complete


@given(st.binary(max_size=200), answers())
def test_garbage_raises_nothing_but_engine_error(garbage: bytes, case: Case) -> None:
    for raw in (garbage, case.raw[: len(case.raw) // 2] + garbage, case.raw + garbage):
        answer = Answer(head_only=False)
        try:
            answer.feed(raw)
            answer.feed(garbage)
        except EngineError:
            assert not answer.keep_alive


def test_a_second_answer_in_the_same_read_leaves_the_first_intact() -> None:
    answer = Answer(head_only=False)
    with pytest.raises(EngineError):
        answer.feed(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 500 No\r\n\r\n")
    assert answer.complete
    assert not answer.keep_alive
    assert (answer.status, answer.take()) == (200, b"ok")


def test_the_answer_to_head_has_no_body() -> None:
    answer = Answer(head_only=True)
    answer.feed(b"HTTP/1.1 200 OK\r\ncontent-length: 200\r\n\r\n")
    assert answer.complete
    assert answer.headers == [(b"content-length", b"200")]


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * MAX_HEAD + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: yyyyyyyyyy\r\n" * (MAX_HEAD // 12),
        b"HTTP/1.1 200 " + b"O" * (2 * MAX_HEAD),
        b"HTTP/1.1 100 Go\r\nx: y\r\n\r\n" * (MAX_HEAD // 16),
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx: " + b"y" * (2 * MAX_HEAD),
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;" + b"y" * (2 * MAX_HEAD),
    ],
    ids=["value", "many", "reason", "interim", "trailer", "extension"],
)
@pytest.mark.parametrize("step", [1 << 20, 1000])
def test_no_part_of_an_answer_but_its_body_may_be_endless(raw: bytes, step: int) -> None:
    answer = Answer(head_only=False)

    def feed_all() -> None:
        for start in range(0, len(raw), step):
            answer.feed(raw[start : start + step])

    with pytest.raises(EngineError):
        feed_all()


def test_a_body_may_go_on_for_ever() -> None:
    answer = Answer(head_only=False)
    answer.feed(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    for _ in range(MAX_HEAD // 2):
        answer.feed(b"1\r\n")
        answer.feed(b"x")
        answer.feed(b"\r\n")
        assert answer.take() == b"x"


def test_what_concerns_the_connection_only_is_not_passed_on() -> None:
    answer = Answer(head_only=False)
    answer.feed(
        b"HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Private\r\nKeep-Alive: timeout=5\r\n"
        b"X-Private: 1\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    assert answer.headers == [(b"content-type", b"text/plain")]


def test_the_head_of_a_request_on_a_unix_socket() -> None:
    sent = [(b"Accept", b"*/*"), (b"Host", b"evil"), (b"Connection", b"close"), (b"TE", b"x")]
    sent += [(b"Content-Length", b"7"), (b"Authorization", b"Bearer key"), (b"Expect", b"100")]
    assert request_head("POST", "/v1/x?y=1", sent, UNIX, 2) == (
        b"POST /v1/x?y=1 HTTP/1.1\r\nhost: engine\r\ncontent-length: 2\r\nAccept: */*\r\n\r\n"
    )
    assert request_head("GET", "/health", [], UNIX, 0) == (
        b"GET /health HTTP/1.1\r\nhost: engine\r\n\r\n"
    )


def test_the_token_of_a_remote_engine_replaces_the_callers_key() -> None:
    assert request_head("POST", "/x", [(b"authorization", b"Bearer key")], TCP, None) == (
        b"POST /x HTTP/1.1\r\nhost: 10.0.0.5:8100\r\nauthorization: Bearer s3cret\r\n"
        b"transfer-encoding: chunked\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("method", "target", "header"),
    [
        ("GET", "/x HTTP/1.1\r\nx: y", (b"a", b"b")),
        ("GET", "/a b", (b"a", b"b")),
        ("GET X", "/", (b"a", b"b")),
        ("GET", "/", (b"a", b"b\r\nx: y")),
        ("GET", "/", (b"a\n", b"b")),
    ],
)
def test_nothing_breaks_out_of_its_line(
    method: str, target: str, header: tuple[bytes, bytes]
) -> None:
    with pytest.raises(ValueError, match="not a"):
        request_head(method, target, [header], UNIX, 0)
