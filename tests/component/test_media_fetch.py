"""Remote media against real sockets: what is fetched, what is refused, and that nothing leaks."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from pathlib import Path
from typing import Any

import pytest

from backend.app.errors import InvalidRequest
from backend.app.services.media_fetch import PORTS, Medium, is_public
from tests.support.media_web import (
    MIB,
    PNG,
    Answer,
    Names,
    Web,
    drips,
    fetcher,
    never,
    plays,
    pours,
)

WAV = b"RIFF\x24\0\0\0WAVEfmt the rest"
MP4 = b"\0\0\0\x20ftypisom the rest"

# A certificate that nobody trusts, and its key: made for this test, of no worth elsewhere.
KEY = (
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgrUNyJpuWnLaoO5+OsJ4AiC6fU9A83daZ"
    "GQya34QB1aOhRANCAASgY/HhNEwWADo/wOLUt5o2Xh/zPgpYDfJxA2LbR4m9TwSH5voJvuL6fzVqxJES"
    "KOQWMCTV+2k5BcAI4LfBZf0J"
)
CERT = (
    "MIIBmDCCAT6gAwIBAgIUUzk06VvxomeSWDSMx3aq6gbtIGEwCgYIKoZIzj0EAwIwFTETMBEGA1UEAwwK"
    "bWVkaWEudGVzdDAgFw0yNjExMjMxODA4MTFaGA8yMTI2MTAzMDE4MDgxMVowFTETMBEGA1UEAwwKbWVk"
    "aWEudGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABKBj8eE0TBYAOj/A4tS3mjZeH/M+ClgN8nED"
    "YttHib1PBIfm+gm+4vp/NWrEkRIo5BYwJNX7aTkFwAjgt8Fl/QmjajBoMB0GA1UdDgQWBBTeaYzj38fC"
    "xI5O9hWDS4f+DnUy4zAfBgNVHSMEGDAWgBTeaYzj38fCxI5O9hWDS4f+DnUy4zAPBgNVHRMBAf8EBTAD"
    "AQH/MBUGA1UdEQQOMAyCCm1lZGlhLnRlc3QwCgYIKoZIzj0EAwIDSAAwRQIhAPUo/b4Uz1niDhoelG4V"
    "FUi5QcIasCzMkn31XI/lab9iAiBdYuqccjQqqxEuoBhAHCv1K+F0szVHYLeCxsQ1l0ABEA=="
)


async def fetch(url: str, kind: str = "image", **changes: Any) -> Medium:
    client = fetcher(**changes)
    deadline = asyncio.get_running_loop().time() + client.timeout_s
    try:
        return await client.fetch(url, kind, "messages[0].url", deadline)
    finally:
        await client.close()


def fetched(answer: Answer, kind: str = "image", **changes: Any) -> tuple[Medium, Web]:
    async def run() -> tuple[Medium, Web]:
        async with Web(answer) as web:
            return await fetch(web.url(), kind, **changes), web

    return asyncio.run(run())


def refused(answer: Answer, words: str, kind: str = "image", **changes: Any) -> Web:
    async def run() -> Web:
        async with Web(answer) as web:
            with pytest.raises(InvalidRequest, match=words) as caught:
                await fetch(web.url(), kind, **changes)
            assert caught.value.param == "messages[0].url"
            assert caught.value.message.startswith("messages[0].url: ")
            return web

    return asyncio.run(run())


# --- what is fetched


@pytest.mark.parametrize(
    ("kind", "body", "declared", "mime"),
    [
        ("image", PNG, "image/png", "image/png"),
        ("image", PNG, "IMAGE/JPEG; charset=x", "image/png"),
        ("image", PNG, "application/octet-stream", "image/png"),
        ("audio", WAV, "audio/x-wav", "audio/wav"),
        ("video", MP4, "video/mp4", "video/mp4"),
        ("audio", MP4, "video/mp4", "audio/mp4"),
    ],
)
def test_a_medium_comes_with_the_type_its_bytes_tell(
    kind: str, body: bytes, declared: str, mime: str
) -> None:
    medium, web = fetched(plays(body, f"Content-Type: {declared}"), kind)
    assert medium == Medium(mime, body)
    assert web.connections == 1


def test_a_request_gives_nothing_away() -> None:
    _, web = fetched(plays(PNG, "Content-Type: image/png", "Set-Cookie: a=b"))
    head = web.hits[0].decode().lower()
    assert "accept-encoding: identity\r\n" in head
    assert "accept: image/png, image/jpeg" in head
    for header in ("cookie", "authorization", "referer", "x-forwarded-for"):
        assert f"{header}:" not in head


def test_no_cookie_is_kept() -> None:
    async def run() -> None:
        async with Web(plays(PNG, "Content-Type: image/png", "Set-Cookie: a=b; Path=/")) as web:
            client = fetcher(resolver=Names(["127.0.0.1"]))
            deadline = asyncio.get_running_loop().time() + client.timeout_s
            for _ in range(2):
                await client.fetch(web.url(host="media.test"), "image", "f", deadline)
            await client.close()
            assert "cookie:" not in b"".join(web.hits).decode().lower()

    asyncio.run(run())


def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert fetched(plays())[1].connections == 1


# --- what is refused: addresses

NUMBERS = [
    "127.0.0.1",
    "127.1",
    "0",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "0177.0.0.1",
    "017700000001",
    "0.0.0.0",
    "[::1]",
    "[::]",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
    "[fe80::1%25lo]",
    "127。0。0。1",
    "①②⑦.⓪.⓪.①",
    "169.254.169.254",
    "public.test@127.0.0.1",
    "public.test:80@127.0.0.1",
    "@127.0.0.1",
]
NO_NAMES = ["a..b", "x" * 64]  # the system cannot even ask for these
NAMES = [
    "public.test",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "127.0.0.1.",
    "127.0.0.1%00",
    "127.0.0.1%2f",
    "public.test%40127.0.0.1",
    "-",
    "%",
    "[",
    "[::1",
    "1.2.3.4.5",
    "999.1.1.1",
    "_",
    "*",
]


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("host", [*NUMBERS, *NAMES, *NO_NAMES])
def test_no_way_to_write_it_reaches_loopback(host: str, scheme: str) -> None:
    async def run() -> None:
        async with Web(plays()) as web:
            # Numbers go to the system, which knows more forms than we do; names all point here.
            names = Names(["127.0.0.1"]) if host in NAMES else None
            url = web.url(host=host, scheme=scheme)
            with pytest.raises(InvalidRequest) as caught:
                await fetch(url, allow=is_public, resolver=names)
            assert "127.0.0.1" not in caught.value.message
            assert web.connections == 0

    asyncio.run(run())


FOREIGN = """
http://public.test\\@127.0.0.1:PORT/
http://127.0.0.1:PORT\\@public.test/
http:\\\\127.0.0.1:PORT\\
http://127.0.0.1:PORT /
\x20http://127.0.0.1:PORT/
http://127.0.0.1:PORT/\rX: y
ht\ttp://127.0.0.1:PORT/
http://127.0.0.1:PORT/\x00
http://user@127.0.0.1:PORT/
http://user:secret@127.0.0.1:PORT/
http://:secret@127.0.0.1:PORT/
http:127.0.0.1:PORT/
http:///127.0.0.1:PORT/
//127.0.0.1:PORT/
127.0.0.1:PORT/a.png
file:///etc/passwd
FILE:///etc/passwd
file://127.0.0.1:PORT/
ftp://127.0.0.1:PORT/
gopher://127.0.0.1:PORT/
ws://127.0.0.1:PORT/
http+unix://127.0.0.1:PORT/
unix:///run/engine.sock
javascript:alert(1)
blob:http://127.0.0.1:PORT/
jar:http://127.0.0.1:PORT/
/etc/passwd
http://127.0.0.1:PORT1/
http://127.0.0.1:port/
""".strip("\n").split("\n")


@pytest.mark.parametrize("template", [*FOREIGN, "http://127.0.0.1:PORT/" + "x" * 9000])
def test_malformed_and_foreign_urls_are_refused_although_the_address_would_do(
    template: str,
) -> None:
    async def run() -> None:
        async with Web(plays()) as web:
            with pytest.raises(InvalidRequest):
                await fetch(template.replace("PORT", str(web.port)))
            assert web.connections == 0

    asyncio.run(run())


def test_only_the_usual_ports_by_default() -> None:
    async def run() -> None:
        for port in (22, 6379, 8000, 8265):
            with pytest.raises(InvalidRequest, match="port is not allowed"):
                await fetch(f"http://1.1.1.1:{port}/a.png", ports=PORTS)

    asyncio.run(run())


def test_a_name_is_looked_up_once_and_that_very_address_is_connected() -> None:
    async def run() -> None:
        async with Web(plays()) as web:
            names = Names(["127.0.0.1"], ["127.0.0.2"])
            client = fetcher(resolver=names)
            deadline = asyncio.get_running_loop().time() + 20
            url = web.url(host="rebinding.test")
            assert (await client.fetch(url, "image", "f", deadline)).data == PNG
            assert names.asked == ["rebinding.test"]
            with pytest.raises(InvalidRequest, match="not public"):  # judged anew each time
                await client.fetch(url, "image", "f", deadline)
            assert names.asked == ["rebinding.test"] * 2
            await client.close()
            assert web.connections == 1

    asyncio.run(run())


def test_an_address_refused_is_not_made_good_by_another() -> None:
    async def run() -> None:
        async with Web(plays()) as web:
            names = Names(["127.0.0.2", "127.0.0.1"])
            with pytest.raises(InvalidRequest, match="not public"):
                await fetch(web.url(host="mixed.test"), resolver=names)
            assert web.connections == 0

    asyncio.run(run())


# --- what is refused: answers


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See", "307 T", "308 P", "304 N"])
def test_a_redirect_is_not_followed(status: str) -> None:
    async def run() -> None:
        async with (
            Web(plays()) as inside,
            Web(plays(b"", f"Location: {inside.url()}", status=status)) as web,
        ):
            with pytest.raises(InvalidRequest, match="redirects are not followed"):
                await fetch(web.url())
            assert (web.connections, inside.connections) == (1, 0)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (plays(b"", status="404 Not Found"), "answered 404"),
        (plays(PNG, status="500 Oops"), "answered 500"),
        (plays(PNG, status="206 Partial Content"), "answered 206"),
        (plays(PNG, "Content-Type: text/html"), "does not declare it as image"),
        (plays(PNG, "Content-Type: video/mp4"), "does not declare it as image"),
        (plays(b"<svg/>", "Content-Type: image/svg+xml"), "not one of image/png"),
        (plays(b"<!doctype html>"), "not one of image/png"),
        (plays(WAV), "not one of image/png"),
        (plays(b""), "not one of image/png"),
        (plays(PNG[:12]), "header is broken"),
        (plays(PNG[:16] + struct.pack(">II", 1001, 1000)), "1001 x 1000 pixels"),
        (plays(PNG, "Content-Encoding: gzip"), "compressed"),
        (plays(PNG, "Content-Encoding: br"), "compressed"),
        (plays(PNG.ljust(MIB + 1)), "larger than 1 MiB"),
        (plays(PNG, length=MIB + 1), "larger than 1 MiB"),
        (pours, "larger than 1 MiB"),
        (plays(PNG, length=500), "broke the transfer off"),
        (plays(PNG, length=-5), "cannot be reached"),
    ],
)
def test_a_wrong_answer_is_refused(answer: Answer, words: str) -> None:
    refused(answer, words)


def test_a_playlist_is_no_film() -> None:
    playlist = b"#EXTM3U\n#EXTINF:5,\nhttp://127.0.0.1/\n"
    refused(plays(playlist, "Content-Type: video/mp4"), "not one of video/mp4", "video")
    refused(plays(playlist, "Content-Type: application/x-mpegurl"), "declare it as video", "video")


def test_what_is_no_http_is_refused() -> None:
    async def speaks(writer: asyncio.StreamWriter) -> None:
        writer.write(b"+OK redis, secret inside\r\n\r\n")
        await writer.drain()

    async def hangs_up(writer: asyncio.StreamWriter) -> None:
        pass

    refused(speaks, "cannot be reached")
    refused(hangs_up, "broke the transfer off")


def test_a_port_where_nobody_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(InvalidRequest, match="cannot be reached"):
            asyncio.run(fetch(f"http://127.0.0.1:{port}/a.png"))


@pytest.mark.parametrize("answer", [never, drips])
def test_a_slow_server_meets_the_deadline_and_is_left(answer: Answer) -> None:
    async def run() -> None:
        async with Web(answer) as web:
            with pytest.raises(InvalidRequest, match=r"within 0\.3 s"):
                await fetch(web.url(), timeout_s=0.3)
            await asyncio.wait_for(web.left.wait(), 20)

    asyncio.run(run())


def test_a_certificate_must_be_trusted(tmp_path: Path) -> None:
    pem = tmp_path / "server.pem"
    label = "PRIVATE KEY"
    pem.write_text(
        f"-----BEGIN {label}-----\n{KEY}\n-----END {label}-----\n"
        f"-----BEGIN CERTIFICATE-----\n{CERT}\n-----END CERTIFICATE-----\n"
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)

    async def run() -> None:
        async with Web(plays(), context) as web:
            names = Names(["127.0.0.1"])
            with pytest.raises(InvalidRequest, match="no trusted TLS"):
                await fetch(web.url(host="media.test", scheme="https"), resolver=names)
            assert web.hits == []

    asyncio.run(run())
