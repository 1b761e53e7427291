"""Put remote media into a request, so that the engine has nothing left to fetch."""

from __future__ import annotations

import asyncio
import base64

import msgspec

from backend.app.errors import InvalidRequest
from backend.app.services.media_fetch import MediaFetcher, Medium
from backend.app.services.media_scan import (
    MEDIA_FIELDS,
    Peek,
    Reference,
    decode,
    parts,
    peek,
    references,
)

__all__ = ["MAX_MEDIA", "MediaFetcher", "Peek", "inline_remote", "peek"]

MAX_MEDIA = 32
"""Remote media in one request."""
_AT_ONCE = 4
_TOTAL_FACTOR = 2
"""All media of a request together may be so many times as large as the largest single one."""


async def inline_remote(body: bytes, fetcher: MediaFetcher) -> bytes:
    """`body` with each remote medium replaced by its bytes: `data:` URLs, base64 sources.

    Fields that hold no remote medium keep their bytes exactly. Raises InvalidRequest naming the
    field of the medium that cannot be had; nothing keeps running then.
    """
    fields = decode(body, dict[str, msgspec.Raw])
    documents = {name: parts(fields[name], name) for name in MEDIA_FIELDS if name in fields}
    remote = {
        name: [each for each in references(document, name) if not each.inline]
        for name, document in documents.items()
    }
    wanted = [each for found in remote.values() for each in found]
    if not wanted:
        return body
    if len(wanted) > MAX_MEDIA:
        raise InvalidRequest(
            f"The request names {len(wanted)} remote media; at most {MAX_MEDIA} are fetched.",
            param=wanted[MAX_MEDIA].field,
        )
    for each, medium in zip(wanted, await _fetch_all(wanted, fetcher), strict=True):
        _put(each, medium)
    for name, found in remote.items():
        if found:
            fields[name] = msgspec.Raw(msgspec.json.encode(documents[name]))
    return msgspec.json.encode(fields)


async def _fetch_all(wanted: list[Reference], fetcher: MediaFetcher) -> list[Medium]:
    deadline = asyncio.get_running_loop().time() + fetcher.timeout_s
    slots = asyncio.Semaphore(_AT_ONCE)
    left = fetcher.max_bytes * _TOTAL_FACTOR

    async def one(reference: Reference) -> Medium:
        nonlocal left
        field = reference.field
        if reference.kind == "file":
            raise InvalidRequest(
                f"{field}: documents are not fetched; send text or images.", param=field
            )
        async with slots:
            medium = await fetcher.fetch(reference.url, reference.kind, field, deadline)
        left -= len(medium.data)
        if left < 0:
            raise InvalidRequest(
                f"{field}: the media of this request are too large together.", param=field
            )
        return medium

    tasks = [asyncio.ensure_future(one(each)) for each in wanted]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _put(reference: Reference, medium: Medium) -> None:
    encoded = base64.b64encode(medium.data)
    if reference.key == "source":
        source = reference.holder["source"]
        del source["url"]
        # Raw goes into the new body as it is: base64 needs no look for characters to escape.
        source |= {
            "type": "base64",
            "media_type": medium.mime,
            "data": msgspec.Raw(b'"%b"' % encoded),
        }
    else:
        data_url = b'"data:%b;base64,%b"' % (medium.mime.encode(), encoded)
        reference.holder[reference.key] = msgspec.Raw(data_url)
