"""What a medium is, told by its first bytes and never by what a server says about it. Pure."""

from __future__ import annotations

import re
import struct

_SIGNATURES: dict[str, tuple[tuple[str, re.Pattern[bytes]], ...]] = {
    kind: tuple((mime, re.compile(pattern, re.DOTALL)) for mime, pattern in table)
    for kind, table in {
        "image": (
            ("image/png", rb"\x89PNG\r\n\x1a\n"),
            ("image/jpeg", rb"\xff\xd8\xff"),
            ("image/gif", rb"GIF8[79]a"),
            ("image/webp", rb"RIFF.{4}WEBP"),
            ("image/bmp", rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0"),
        ),
        "audio": (
            ("audio/wav", rb"RIFF.{4}WAVE"),
            ("audio/mpeg", rb"ID3|\xff[\xe2\xe3\xf2\xf3\xfa\xfb]"),
            ("audio/aac", rb"\xff[\xf0\xf1\xf8\xf9]"),
            ("audio/flac", rb"fLaC"),
            ("audio/ogg", rb"OggS"),
            ("audio/mp4", rb".{4}ftyp"),
            ("audio/webm", rb"\x1aE\xdf\xa3"),
            ("audio/aiff", rb"FORM.{4}AIF[FC]"),
        ),
        "video": (
            ("video/mp4", rb".{4}ftyp"),
            ("video/webm", rb"\x1aE\xdf\xa3"),
            ("video/x-msvideo", rb"RIFF.{4}AVI "),
            ("video/ogg", rb"OggS"),
            ("video/mpeg", rb"\0\0\x01\xba"),
            ("video/mp2t", rb"G.{187}G"),
            ("image/gif", rb"GIF8[79]a"),
        ),
    }.items()
}

_DECLARED = {
    "image": ("image/",),
    "audio": ("audio/", "video/", "application/ogg"),  # a sound track in a film's container
    "video": ("video/", "image/gif", "application/ogg"),
}
_UNDECLARED = ("application/octet-stream", "binary/octet-stream")

_MAX_JPEG_MARKERS = 1000
_JPEG_BARE = frozenset({0x01, *range(0xD0, 0xD9)})
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def accepted(kind: str) -> str:
    """The formats we take for `kind`, as the value of an Accept header."""
    return ", ".join(mime for mime, _ in _SIGNATURES[kind])


def may_be(kind: str, content_type: str) -> bool:
    """Whether a server that declares `content_type` may be sending that kind of medium."""
    return content_type.startswith(_DECLARED[kind]) or content_type in _UNDECLARED


def sniff(kind: str, data: bytes) -> str | None:
    """The MIME type of `data` when it is a medium of that kind in a format we take."""
    return next((mime for mime, magic in _SIGNATURES[kind] if magic.match(data)), None)


def image_size(mime: str, data: bytes) -> tuple[int, int] | None:
    """Width and height from an image's header, in pixels; None when the header is broken."""
    try:
        width, height = _SIZES[mime](data)
    except (struct.error, IndexError, ValueError):
        return None
    return (width, height) if width > 0 and height > 0 else None


def _png(data: bytes) -> tuple[int, int]:
    if data[12:16] != b"IHDR":
        raise ValueError
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def _gif(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from("<HH", data, 6)
    return width, height


def _bmp(data: bytes) -> tuple[int, int]:
    core = data[14] == 12
    width, height = struct.unpack_from("<HH" if core else "<ii", data, 18)
    return width, abs(height)  # negative: stored top down


def _webp(data: bytes) -> tuple[int, int]:
    chunk = data[12:16]
    if chunk == b"VP8X":
        return (
            int.from_bytes(data[24:27], "little") + 1,
            int.from_bytes(data[27:30], "little") + 1,
        )
    if chunk == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if chunk != b"VP8 ":
        raise ValueError
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF


def _jpeg(data: bytes) -> tuple[int, int]:
    at = 2
    for _ in range(_MAX_JPEG_MARKERS):
        if data[at] != 0xFF:
            raise ValueError
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        elif marker in _JPEG_BARE:
            at += 2
        else:
            (length,) = struct.unpack_from(">H", data, at + 2)
            at += 2 + length
    raise ValueError


_SIZES = {
    "image/png": _png,
    "image/gif": _gif,
    "image/bmp": _bmp,
    "image/webp": _webp,
    "image/jpeg": _jpeg,
}
