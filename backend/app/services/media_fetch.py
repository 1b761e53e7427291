"""Fetch one remote medium for a caller without becoming a caller's hand inside our network.

The rules: http and https on the usual ports; no user name in the URL; the host is looked up once
and the very address about to be connected must be public; no redirect, no proxy, no cookie, no
decompression; size, time and pixels are capped; what came must look like what was asked for.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable, Container
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import NamedTuple

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from backend.app.errors import InvalidRequest
from backend.app.services.media_types import accepted, image_size, may_be, sniff
from backend.app.waiting import within

IPAddress = IPv4Address | IPv6Address

PORTS = frozenset({80, 443})
"""Pictures live on web servers; whatever else listens on a host is not to be poked at."""
MAX_CONNECTIONS = 16
_MAX_URL = 8192
_CHUNK = 256 * 1024
_FORBIDDEN = re.compile(r"[\\\s\x00-\x1f\x7f]")
"""Characters that URL parsers disagree about."""

_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
# What `is_global` lets pass, at least in some of the Pythons we run on.
_NOT_PUBLIC_V4 = (
    IPv4Network("168.63.129.16/32"),  # the host beneath an Azure machine
    IPv4Network("192.0.0.0/24"),  # protocol assignments
    IPv4Network("192.88.99.0/24"),  # 6to4 relays
)
_NOT_PUBLIC_V6 = (
    IPv6Network("2001::/23"),  # protocol assignments, Teredo among them
    IPv6Network("2002::/16"),  # 6to4
    IPv6Network("3fff::/20"),  # documentation
)


class Medium(NamedTuple):
    """What was fetched. `mime` is told by the bytes."""

    mime: str
    data: bytes


class Refused(Exception):
    """Why a URL was not fetched, in words that continue « messages[0]…url: »."""


def is_public(address: IPAddress) -> bool:
    """True for unicast addresses of the open internet only, whatever form they come in."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address in _NAT64:
            return is_public(IPv4Address(int(address) & 0xFFFFFFFF))
        special = any(address in network for network in _NOT_PUBLIC_V6)
        return address in _GLOBAL_UNICAST and address.is_global and not special
    special = any(address in network for network in _NOT_PUBLIC_V4)
    return address.is_global and not (address.is_multicast or address.is_reserved or special)


class MediaFetcher:
    """One guarded HTTP client for all requests; close it at shutdown.

    `max_bytes` holds for each medium, `max_pixels` for each image, `timeout_s` for all media of
    one request together. `allow` decides about each address before it is connected.
    """

    def __init__(
        self,
        *,
        max_bytes: int,
        max_pixels: int,
        timeout_s: float,
        enabled: bool = True,
        allow: Callable[[IPAddress], bool] = is_public,
        ports: Container[int] = PORTS,
        resolver: AbstractResolver | None = None,
    ) -> None:
        self.max_bytes = max_bytes
        self.max_pixels = max_pixels
        self.timeout_s = timeout_s
        self.enabled = enabled
        self._allow = allow
        self._ports = ports
        self._resolver = resolver
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def fetch(self, url: str, kind: str, field: str, deadline: float) -> Medium:
        """The image, audio or video at `url`; `deadline` in the loop's time.

        Raises InvalidRequest naming `field` and the reason.
        """
        left = deadline - asyncio.get_running_loop().time()
        try:
            return await within(left, self._fetch(self._check(url), kind))
        except Refused as exc:
            reason = str(exc)
        except asyncio.TimeoutError:
            reason = f"the media of this request could not be fetched within {self.timeout_s:g} s"
        except aiohttp.ClientConnectorDNSError:
            reason = "the host is not known"
        except aiohttp.ClientSSLError:
            reason = "no trusted TLS connection to the host is possible"
        except ValueError:  # aiohttp.InvalidURL, and UnicodeError for labels no name server knows
            reason = "the URL is not valid"
        except (aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError):
            reason = "the server broke the transfer off"
        except (aiohttp.ClientError, OSError):
            reason = "the server cannot be reached"
        raise InvalidRequest(f"{field}: {reason}.", param=field, code="media_not_fetched")

    def _check(self, text: str) -> URL:
        """Parse once; the same object is what gets connected."""
        if not self.enabled:
            raise Refused("remote media are switched off here; send a data: URL")
        if len(text) > _MAX_URL or _FORBIDDEN.search(text):
            raise Refused("the URL is not valid")
        try:
            url = URL(text)
            port = url.port
        except ValueError:
            raise Refused("the URL is not valid") from None
        if url.scheme not in {"http", "https"}:
            raise Refused("only http, https and data URLs are accepted")
        if "@" in url.raw_authority:
            raise Refused("user names in URLs are not accepted")
        if port not in self._ports:
            raise Refused("this port is not allowed")
        return url

    async def _fetch(self, url: URL, kind: str) -> Medium:
        headers = {"Accept": accepted(kind), "Accept-Encoding": "identity"}
        async with self._client().get(url, headers=headers, allow_redirects=False) as answer:
            if 300 <= answer.status < 400:
                raise Refused("the server redirects, and redirects are not followed")
            if answer.status != 200:
                raise Refused(f"the server answered {answer.status}")
            if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
                raise Refused("the server sends it compressed, which is not accepted")
            if not may_be(kind, answer.content_type.lower()):
                raise Refused(f"the server does not declare it as {kind}")
            data = await self._read(answer)
        mime = sniff(kind, data)
        if mime is None:
            raise Refused(f"the content is not one of {accepted(kind)}")
        if kind == "image":
            self._check_pixels(mime, data)
        return Medium(mime, data)

    async def _read(self, answer: aiohttp.ClientResponse) -> bytes:
        too_large = Refused(f"it is larger than {self.max_bytes / 2**20:g} MiB")
        if (answer.content_length or 0) > self.max_bytes:
            raise too_large
        data = bytearray()
        async for chunk in answer.content.iter_chunked(_CHUNK):
            data += chunk
            if len(data) > self.max_bytes:
                raise too_large
        return bytes(data)

    def _check_pixels(self, mime: str, data: bytes) -> None:
        size = image_size(mime, data)
        if size is None:
            raise Refused("the image's header is broken")
        if size[0] * size[1] > self.max_pixels:
            raise Refused(
                f"the image has {size[0]} x {size[1]} pixels, and at most "
                f"{self.max_pixels} are accepted"
            )

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            connector = aiohttp.TCPConnector(
                resolver=self._resolver,
                use_dns_cache=False,  # one look-up for one connection, never a second opinion
                force_close=True,
                limit=MAX_CONNECTIONS,
                happy_eyeballs_delay=None,  # a refused address ends the attempt
                socket_factory=self._guarded_socket,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
                headers={"User-Agent": "servertestllm"},
            )
        return self._session

    def _guarded_socket(
        self, info: tuple[int, int, int, str, tuple[str | int | bytes, ...]]
    ) -> socket.socket:
        """The last word: called with exactly the address that is connected next."""
        family, kind, protocol, _, address = info
        if not self._allow(ip_address(str(address[0]).partition("%")[0])):
            raise Refused("the host's address is not public")
        return socket.socket(family, kind, protocol)
