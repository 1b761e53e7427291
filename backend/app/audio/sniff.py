"""What a file is, by its first bytes, in words for the message that refuses it. Pure."""

from __future__ import annotations

import codecs

_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"%PDF", "a PDF document"),
    (0, b"PK\x03\x04", "a zip archive or an office document"),
    (0, b"PK\x05\x06", "an empty zip archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"BZh", "a bzip2 archive"),
    (0, b"\xfd7zXZ\x00", "an xz archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (0, b"Rar!", "a RAR archive"),
    (0, b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (257, b"ustar", "a tar archive"),
    (0, b"\x89PNG", "a PNG image"),
    (0, b"\xff\xd8\xff", "a JPEG image"),
    (0, b"GIF8", "a GIF image"),
    (8, b"WEBP", "a WebP image"),
    (0, b"II*\x00", "a TIFF image"),
    (0, b"MM\x00*", "a TIFF image"),
    (0, b"\x7fELF", "a program"),
    (0, b"MZ", "a Windows program"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a WMA or WMV file"),
    (0, b"FLV\x01", "a Flash video"),
    (8, b"AVI ", "an AVI video"),
    (0, b"\x00\x00\x01\xba", "an MPEG program stream without readable audio"),
    (0, b"MThd", "a MIDI file, which holds notes and no sound"),
    (0, b".snd", "an AU file without readable audio"),
    (0, b"FORM", "an AIFF file without readable audio"),
    (0, b"caff", "a CAF file without readable audio"),
    (0, b"#!AMR", "an AMR file without readable audio"),
    (0, b"ID3", "an MP3 file without readable audio"),
    (0, b"fLaC", "a FLAC file without readable audio"),
    (0, b"OggS", "an Ogg file without readable audio"),
    (8, b"WAVE", "a WAV file without readable audio"),
    (4, b"ftyp", "an MP4 file without readable audio, or one cut off before its index"),
    (0, b"\x1a\x45\xdf\xa3", "a WebM or Matroska file without readable audio"),
    (0, b"#EXTM3U", "a playlist"),
    (0, b"ffconcat", "a playlist"),
    (0, b"SQLite format 3", "an SQLite database"),
)
_TEXTS: tuple[tuple[bytes, str], ...] = (
    (b"<!doctype html", "an HTML page"),
    (b"<html", "an HTML page"),
    (b"<?xml", "an XML document"),
    (b"<svg", "an SVG image"),
    (b"{", "a JSON document"),
    (b"[", "a JSON document"),
)


def sniff(head: bytes) -> str:
    """Name what begins with `head` (64 bytes do for nearly all, 512 for tar), with its article."""
    for offset, magic, name in _SIGNATURES:
        if head[offset : offset + len(magic)] == magic:
            return name
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for beginning, name in _TEXTS:
        if text.startswith(beginning):
            return name
    if text and _is_text(head):
        return "plain text"
    return f"of a kind nobody here knows (it begins with {head[:8].hex(' ')})"


def _is_text(head: bytes) -> bool:
    """UTF-8 without control characters. The last letter may be cut."""
    try:
        letters = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return all(letter.isprintable() or letter in "\t\r\n\f\ufeff" for letter in letters)
