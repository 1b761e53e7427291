"""Recordings made for tests: good ones in every format, and hostile ones that pretend to be."""

from __future__ import annotations

import base64
import gzip
import io
import math
import random
import struct
import wave
import zipfile
from array import array
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache
from typing import Any

import av

AMPLITUDE = 8000
TONE_HZ = 440

Refusals = frozenset[int]
NEVER_AUDIO = frozenset({415})
EMPTY_OR_NOT = frozenset({400, 415})
ANYTHING_BUT_A_CRASH = frozenset({200, 400, 413, 415})


def tone(seconds: float, rate: int = 16_000, channels: int = 1) -> array[int]:
    """Interleaved s16 samples; every channel has the same."""
    step = 2 * math.pi * TONE_HZ / rate
    mono = (round(AMPLITUDE * math.sin(step * n)) for n in range(round(seconds * rate)))
    return array("h", (value for value in mono for _ in range(channels)))


def opposite(seconds: float, rate: int = 16_000, channels: int = 2) -> array[int]:
    """As `tone`, but every second channel is the negative of the one before."""
    both = tone(seconds, rate, channels)
    return array("h", (-value if number % 2 else value for number, value in enumerate(both)))


@cache
def wav(seconds: float = 2.0, rate: int = 16_000, channels: int = 1) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((channels, 2, rate, 0, "NONE", ""))
        writer.writeframes(tone(seconds, rate, channels).tobytes())
    return file.getvalue()


def riff(*chunks: tuple[bytes, bytes], form: bytes = b"WAVE", size: int | None = None) -> bytes:
    body = form + b"".join(
        name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
        for name, data in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body) if size is None else size) + body


def fmt(
    tag: int = 1, channels: int = 1, rate: int = 16_000, block: int = 2, bits: int = 16
) -> tuple[bytes, bytes]:
    per_second = (rate * block) & 0xFFFFFFFF
    return b"fmt ", struct.pack("<HHIIHH", tag, channels, rate, per_second, block, bits)


def audio_frame(samples: array[int], rate: int, layout: str, start: float) -> Any:
    channels = 1 if layout == "mono" else 2
    frame: Any = av.AudioFrame(format="s16", layout=layout, samples=len(samples) // channels)
    frame.planes[0].update(samples.tobytes())
    frame.sample_rate = rate
    frame.time_base = Fraction(1, rate)
    frame.pts = round(start * rate)
    return frame


@cache
def encoded(
    container: str, codec: str, seconds: float = 2.0, rate: int = 48_000, layout: str = "stereo"
) -> bytes:
    """A tone in any format that can be written."""
    return mux(container, codec, [(0.0, seconds)], rate, layout)


def mux(
    container: str,
    codec: str,
    spans: Sequence[tuple[float, float]],
    rate: int,
    layout: str,
    sound: Callable[[float, int, int], array[int]] = tone,
) -> bytes:
    """Tones of (start, length) in seconds; between them the clock of the file jumps."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as out:
        stream: Any = out.add_stream(codec, rate=rate)
        stream.codec_context.layout = layout
        channels = 1 if layout == "mono" else 2
        size = 960 if "opus" in codec else 1024
        resampler = av.AudioResampler(
            format=stream.codec_context.format.name, layout=layout, rate=rate, frame_size=size
        )
        for start, length in spans:
            frame = audio_frame(sound(length, rate, channels), rate, layout, start)
            at = frame.pts
            for part in resampler.resample(frame):
                part.pts = at
                at += part.samples
                for packet in stream.encode(part):
                    out.mux(packet)
        for packet in stream.encode(None):
            out.mux(packet)
    return file.getvalue()


def video(container: str = "mp4", width: int = 64, *, sound_from: float | None = None) -> bytes:
    """A second of MPEG-4 video, black; with a second of tone that begins later, if asked for."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as out:
        stream: Any = out.add_stream("mpeg4", rate=25)
        stream.width = stream.height = width
        stream.pix_fmt = "yuv420p"
        sound: Any = None
        if sound_from is not None:
            sound = out.add_stream("pcm_s16le", rate=16_000)
            sound.codec_context.layout = "mono"
        for _ in range(25):
            for packet in stream.encode(av.VideoFrame(width, width, "yuv420p")):
                out.mux(packet)
        for packet in stream.encode(None):
            out.mux(packet)
        if sound_from is not None:
            for packet in sound.encode(audio_frame(tone(1.0), 16_000, "mono", sound_from)):
                out.mux(packet)
    return file.getvalue()


GOOD: dict[str, tuple[str, str]] = {
    "wav": ("wav", "pcm_s16le"),
    "wav-24": ("wav", "pcm_s24le"),
    "wav-float": ("wav", "pcm_f32le"),
    "wav-mulaw": ("wav", "pcm_mulaw"),
    "aiff": ("aiff", "pcm_s16be"),
    "au": ("au", "pcm_s16be"),
    "caf": ("caf", "pcm_s16le"),
    "mp3": ("mp3", "libmp3lame"),
    "flac": ("flac", "flac"),
    "ogg-opus": ("ogg", "libopus"),
    "ogg-flac": ("ogg", "flac"),
    "m4a": ("ipod", "aac"),
    "m4a-alac": ("ipod", "alac"),
    "mp4": ("mp4", "aac"),
    "webm": ("webm", "libopus"),
    "mkv": ("matroska", "aac"),
    "aac": ("adts", "aac"),
    "mpeg": ("mpeg", "mp2"),
}


HEADER_ALONE = riff(fmt(), (b"data", b""))


def truncated() -> dict[str, bytes]:
    """Each good file without its last two fifths."""
    files = {name: encoded(*kind) for name, kind in GOOD.items()}
    return {f"{name} truncated": data[: len(data) * 3 // 5] for name, data in files.items()}


def flipped(seed: int = 1) -> dict[str, bytes]:
    """Each good file with one byte in two hundred changed, its beginning too."""
    found = {}
    for name, kind in GOOD.items():
        dice = random.Random(f"{name} {seed}")
        data = bytearray(encoded(*kind))
        for _ in range(len(data) // 200):
            data[dice.randrange(len(data))] = dice.randrange(256)
        found[f"{name} flipped"] = bytes(data)
    return found


def hostile() -> dict[str, tuple[bytes, Refusals]]:
    """Name -> file and the statuses with which it may end."""
    pcm = tone(0.5).tobytes()
    data = b"data", pcm
    files: dict[str, tuple[bytes, Refusals]] = {
        "one byte": (b"\0", EMPTY_OR_NOT),
        "zeros": (bytes(1 << 20), NEVER_AUDIO),
        "ones": (b"\xff" * (1 << 20), ANYTHING_BUT_A_CRASH),
        "plain text": (b"Hello, this is not audio.\n" * 100, NEVER_AUDIO),
        "html": (b"<!DOCTYPE html><html><body>audio.wav</body></html>", NEVER_AUDIO),
        "json": (b'{"file": "audio.wav"}', NEVER_AUDIO),
        "pdf": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n", NEVER_AUDIO),
        "png bomb": (_png(0x7FFFFFFF, 0x7FFFFFFF), NEVER_AUDIO),
        "gif bomb": (b"GIF89a\xff\xff\xff\xff\xf7\0\0" + bytes(800), NEVER_AUDIO),
        "gzip bomb": (gzip.compress(bytes(50 << 20)), NEVER_AUDIO),
        "zip with a recording": (_zip(wav()), NEVER_AUDIO),
        "elf": (b"\x7fELF\x02\x01\x01" + bytes(500), NEVER_AUDIO),
        "ffconcat": (b"ffconcat version 1.0\nfile /etc/passwd\n", NEVER_AUDIO),
        "hls": (b"#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n", NEVER_AUDIO),
        "sdp": (b"v=0\no=- 0 0 IN IP4 127.0.0.1\nm=audio 9 RTP/AVP 0\n", NEVER_AUDIO),
        "dash": (b'<?xml version="1.0"?><MPD><BaseURL>/etc/passwd</BaseURL></MPD>', NEVER_AUDIO),
        "midi": (b"MThd\0\0\0\x06\0\0\0\x01\0\x60", NEVER_AUDIO),
        "wav header alone": (HEADER_ALONE, EMPTY_OR_NOT),
        "wav without data": (riff(fmt()), EMPTY_OR_NOT),
        "wav without format": (riff(data), EMPTY_OR_NOT),
        "wav of no channels": (riff(fmt(channels=0), data), ANYTHING_BUT_A_CRASH),
        "wav of 65535 channels": (riff(fmt(channels=65535), data), ANYTHING_BUT_A_CRASH),
        "wav at 0 Hz": (riff(fmt(rate=0), data), EMPTY_OR_NOT),
        "wav at 1 Hz": (riff(fmt(rate=1), data), frozenset({413, 415})),
        "wav at 4 GHz": (riff(fmt(rate=0xFFFFFFFF), data), ANYTHING_BUT_A_CRASH),
        "wav of 0 bits": (riff(fmt(bits=0), data), ANYTHING_BUT_A_CRASH),
        "wav of 64 bits": (riff(fmt(bits=64, block=8), data), ANYTHING_BUT_A_CRASH),
        "wav of block 0": (riff(fmt(block=0), data), ANYTHING_BUT_A_CRASH),
        "wav adpcm of block 0": (riff(fmt(tag=2, block=0, bits=4), data), ANYTHING_BUT_A_CRASH),
        "wav of an unknown codec": (riff(fmt(tag=0x4242), data), NEVER_AUDIO),
        "wav that says mp3": (riff(fmt(tag=0x55), data), ANYTHING_BUT_A_CRASH),
        "wav that says opus": (riff(fmt(tag=0x704F), data), ANYTHING_BUT_A_CRASH),
        "wav with a giant chunk": (
            riff(fmt()) + b"LIST" + b"\xff\xff\xff\x7f" + pcm,
            ANYTHING_BUT_A_CRASH,
        ),
        "flac without frames": (
            b"fLaC\x80\0\0\x22" + b"\xff" * 34 + bytes(100),
            ANYTHING_BUT_A_CRASH,
        ),
        "flac with a giant picture": (
            b"fLaC\0\0\0\x22" + bytes(34) + b"\x06\xff\xff\xff" + bytes(64),
            ANYTHING_BUT_A_CRASH,
        ),
        "mp3 with a giant tag": (
            b"ID3\x04\0\0\x7f\x7f\x7f\x7f" + encoded("mp3", "libmp3lame"),
            ANYTHING_BUT_A_CRASH,
        ),
        "mp3 of headers alone": (b"\xff\xfb\x90\x64" * 10_000, ANYTHING_BUT_A_CRASH),
        "ogg of a thousand streams": (_ogg_streams(1000), ANYTHING_BUT_A_CRASH),
        "opus of 255 channels": (_opus_channels(255), ANYTHING_BUT_A_CRASH),
        "mp4 of nothing": (b"\0\0\0\x18ftypisom\0\0\2\0isomiso2", EMPTY_OR_NOT),
        "mp4 with a giant box": (
            b"\0\0\0\x18ftypisom\0\0\2\0isomiso2\0\0\0\1moov" + b"\xff" * 8 + bytes(64),
            EMPTY_OR_NOT,
        ),
        "mp4 of nested boxes": (_nested_boxes(5000), EMPTY_OR_NOT),
        "mp4 with lying tables": (_lying_tables(), ANYTHING_BUT_A_CRASH),
        "mp4 with a giant picture": (_giant_picture(), NEVER_AUDIO),
        "mp4 of video alone": (video("mp4"), NEVER_AUDIO),
        "mkv of video alone": (video("matroska"), NEVER_AUDIO),
        "avi": (video("avi"), NEVER_AUDIO),
        "mkv of unknown sizes": (
            b"\x1a\x45\xdf\xa3\x01" + b"\xff" * 7 + b"\x18\x53\x80\x67\x01" + b"\xff" * 200,
            EMPTY_OR_NOT,
        ),
        "au of no channels": (
            b".snd" + struct.pack(">IIIII", 24, 0xFFFFFFFF, 3, 16_000, 0) + pcm,
            ANYTHING_BUT_A_CRASH,
        ),
        "aiff at infinite rate": (_aiff_rate(b"\x7f\xff" + b"\x80" + bytes(7)), EMPTY_OR_NOT),
        "caf with lying sizes": (
            b"caff\0\1\0\0desc" + b"\x7f" + b"\xff" * 7 + bytes(64),
            EMPTY_OR_NOT,
        ),
        "amr without frames": (b"#!AMR\n", EMPTY_OR_NOT),
        "amr of noise": (b"#!AMR\n" + _noise(20_000, 7), ANYTHING_BUT_A_CRASH),
        "flac bomb": (
            encoded("flac", "flac", seconds=400.0, rate=8000, layout="mono"),
            frozenset({413}),
        ),
    }
    for seed in range(3):
        files[f"noise {seed}"] = (_noise(200_000, seed), ANYTHING_BUT_A_CRASH)
    for kind in (truncated(), flipped(1), flipped(2)):
        for name, content in kind.items():
            files[f"{name} {len(files)}"] = (content, ANYTHING_BUT_A_CRASH)
    return files


def data_url(file: bytes, kind: str = "audio/wav") -> str:
    return f"data:{kind};base64,{base64.b64encode(file).decode()}"


def _noise(size: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(size)


def _png(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", width, height) + b"\x08\6\0\0\0"


def _zip(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("recording.wav", content)
    return file.getvalue()


def _ogg_streams(count: int) -> bytes:
    head = b"OpusHead\x01\x01\0\0" + struct.pack("<I", 48_000) + b"\0\0\0"
    return b"".join(
        b"OggS\0\2" + bytes(8) + struct.pack("<III", number, 0, 0) + bytes([1, len(head)]) + head
        for number in range(count)
    )


def _opus_channels(channels: int) -> bytes:
    data = bytearray(encoded("ogg", "libopus"))
    at = data.index(b"OpusHead")
    data[at + 9] = channels
    return bytes(data)


def _nested_boxes(depth: int) -> bytes:
    boxes = b""
    for _ in range(depth):
        boxes = struct.pack(">I", len(boxes) + 8) + b"moov" + boxes
    return b"\0\0\0\x18ftypisom\0\0\2\0isomiso2" + boxes


def _lying_tables() -> bytes:
    data = bytearray(encoded("mp4", "aac"))
    for name in (b"stsz", b"stsc", b"stts", b"stco"):
        at = data.index(name)
        data[at + 8 : at + 16] = b"\xff" * 8
    return bytes(data)


def _giant_picture() -> bytes:
    data = bytearray(video("mp4"))
    at = data.index(b"mp4v")
    data[at + 28 : at + 32] = b"\xff" * 4
    return bytes(data)


def _aiff_rate(rate: bytes) -> bytes:
    common = struct.pack(">HIH", 1, 1000, 16) + rate
    body = b"AIFFCOMM" + struct.pack(">I", len(common)) + common
    body += b"SSND" + struct.pack(">I", 2008) + bytes(2008)
    return b"FORM" + struct.pack(">I", len(body)) + body
