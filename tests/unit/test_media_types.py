"""Formats by their bytes; the measure of an image without decoding it. Pillow is the judge."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from backend.app.services.media_types import image_size, may_be, sniff

IMAGES: dict[str, tuple[str, dict[str, Any]]] = {
    "PNG": ("image/png", {}),
    "JPEG": ("image/jpeg", {}),
    "JPEG, progressive": ("image/jpeg", {"progressive": True}),
    "JPEG, with a profile": ("image/jpeg", {"icc_profile": b"p" * 200_000}),
    "GIF": ("image/gif", {}),
    "BMP": ("image/bmp", {}),
    "WEBP": ("image/webp", {}),
    "WEBP, lossless": ("image/webp", {"lossless": True}),
    "WEBP, extended": ("image/webp", {"icc_profile": b"profile"}),
}


def encode(name: str, width: int, height: int) -> bytes:
    out = io.BytesIO()
    image = Image.new("RGB", (width, height), "red")
    image.save(out, name.partition(",")[0], **IMAGES[name][1])
    return out.getvalue()


@pytest.mark.parametrize("size", [(1, 1), (640, 3), (300, 1025)])
@pytest.mark.parametrize("name", IMAGES)
def test_images_are_known_and_measured(name: str, size: tuple[int, int]) -> None:
    data = encode(name, *size)
    mime = sniff("image", data)
    assert mime == IMAGES[name][0]
    assert image_size(mime, data) == size
    assert sniff("audio", data) is None


def test_a_bitmap_stored_top_down_has_a_positive_height() -> None:
    data = bytearray(encode("BMP", 4, 5))
    data[22:26] = (-5).to_bytes(4, "little", signed=True)
    assert image_size("image/bmp", bytes(data)) == (4, 5)


@pytest.mark.parametrize(
    ("kind", "head", "mime"),
    [
        ("audio", b"RIFF\x24\0\0\0WAVEfmt ", "audio/wav"),
        ("audio", b"ID3\x04", "audio/mpeg"),
        ("audio", b"\xff\xfb\x90\x64", "audio/mpeg"),
        ("audio", b"\xff\xf1\x50\x80", "audio/aac"),
        ("audio", b"fLaC\0", "audio/flac"),
        ("audio", b"OggS\0", "audio/ogg"),
        ("audio", b"\0\0\0\x20ftypM4A ", "audio/mp4"),
        ("video", b"\0\0\0\x20ftypisom", "video/mp4"),
        ("video", b"\x1aE\xdf\xa3", "video/webm"),
        ("video", b"RIFF\x24\0\0\0AVI LIST", "video/x-msvideo"),
        ("video", b"GIF89a", "image/gif"),
        ("video", b"G" + b"\xff" * 187 + b"G", "video/mp2t"),
        ("image", b"<svg xmlns='http://www.w3.org/2000/svg'/>", None),
        ("image", b"%!PS-Adobe-3.0 EPSF-3.0", None),
        ("image", b"BM, as text begins", None),
        ("image", b"<!doctype html>", None),
        ("image", b"RIFF\x24\0\0\0WAVEfmt ", None),
        ("image", b"", None),
        ("video", b"#EXTM3U\n", None),
        ("video", b"ffconcat version 1.0\n", None),
        ("audio", b"#EXTM3U\n", None),
    ],
)
def test_formats_are_told_by_their_first_bytes(kind: str, head: bytes, mime: str | None) -> None:
    assert sniff(kind, head) == mime


def test_what_a_server_may_declare() -> None:
    assert may_be("image", "image/x-unheard-of")
    assert may_be("video", "application/octet-stream")
    assert may_be("audio", "video/mp4")
    assert not may_be("image", "text/html")
    assert not may_be("image", "video/mp4")
    assert not may_be("image", "application/json")


@given(st.sampled_from(list(IMAGES)), st.data())
def test_a_broken_header_has_no_size(name: str, data: st.DataObject) -> None:
    whole = encode(name, 40, 30)
    at = data.draw(st.integers(0, len(whole) - 1))
    rest = data.draw(st.binary(max_size=12))
    size = image_size(IMAGES[name][0], whole[:at] + rest)
    assert size is None or min(size) > 0


def test_a_jpeg_of_fillers_is_given_up() -> None:
    assert image_size("image/jpeg", b"\xff\xd8" + b"\xff" * 1_000_000) is None
    assert image_size("image/jpeg", b"\xff\xd8" + b"\xff\xe0\0\0" * 1_000_000) is None
