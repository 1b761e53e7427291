"""From the bytes of an untrusted upload to mono 16 kHz s16le, by FFmpeg's demuxers and decoders.

    bytes ─▶ Packets ─frames─▶ Clock, Balance, Converter ─▶ Sink

Of FFmpeg only the listed demuxers and audio decoders may be used. Runs in the processes of
`decode_child` and imports nothing of the gateway: whatever goes wrong here goes wrong there.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from typing import Any, Protocol

import av
import av.error

RATE = 16_000
FLUSH_BYTES = 1 << 20
REORDERED_S = 0.25
"""A jump of the file's clock below this is jitter; above it, audio is missing."""
LONGEST_GAP_S = 600.0
"""Beyond it the clock is broken rather than the audio."""
BAD_IN_A_ROW = 1000
"""So many packets without one that decodes, and the rest is given up."""
FORMATS = "wav,w64,aiff,au,caf,mp3,aac,flac,ogg,mov,matroska,mpeg,amr"
DECODERS = re.compile(
    r"pcm_\w+|adpcm_(ms|ima_wav|ima_qt|yamaha)|aac|aac_latm|alac|mp[123](float)?|flac|opus|vorbis"
    r"|speex|ac3|eac3|amrnb|amrwb|gsm|gsm_ms"
)
LISTED = ",".join(sorted(name for name in av.codecs_available if DECODERS.fullmatch(name)))
TOTAL_IN_MP3 = re.compile(rb"\xff[\xe0-\xff]..(?:.{9}|.{17}|.{32})(?:Xing|Info)", re.DOTALL)
PIPED_WAV = 0x7FFF0000
"""Sizes from here on mean that whoever wrote the header did not know them."""
CANCELLED = 0.1
"""A mix below this share of its louder channel: the two are each other's opposite."""
SAMPLE_TYPES = {"s16": "h", "s32": "i", "flt": "f", "dbl": "d"}
PROBE_WAV_BYTES = "16384"
"""FFmpeg would otherwise search 5 MB of samples for other codecs in disguise: 19 ms a file."""
UNREADABLE = (av.error.FFmpegError, ValueError, ArithmeticError, IndexError, MemoryError)


class Report(Protocol):
    def send(self, data: bytes, /) -> int: ...


def tell(report: Report, message: dict[str, Any]) -> None:
    report.send(json.dumps(message).encode())


class Nobody:
    """Hears no reports."""

    def send(self, data: bytes) -> int:
        return len(data)


class Refused(Exception):
    """Why there is no PCM: a code, and facts for the message that the gateway words."""

    def __init__(self, code: str, **facts: Any) -> None:
        super().__init__(code)
        self.report = {"error": code, **facts}


class Sink:
    """Where PCM goes; counts samples, tells of progress, stops at the limit."""

    def __init__(self, fd: int, limit: int, report: Report) -> None:
        self._fd = fd
        self._limit = limit
        self._report = report
        self._buffer = bytearray()
        self.samples = 0

    def write(self, pcm: memoryview | bytes) -> None:
        self._buffer += pcm
        self.samples += len(pcm) // 2
        if self.samples > self._limit:
            raise Refused("too_long")
        if len(self._buffer) >= FLUSH_BYTES:
            self.flush()

    def restart(self) -> None:
        """Forget everything written so far."""
        self._buffer.clear()
        os.ftruncate(self._fd, 0)
        os.lseek(self._fd, 0, os.SEEK_SET)
        self.samples = 0

    def silence(self, samples: int) -> None:
        while samples > 0:
            part = min(samples, FLUSH_BYTES // 2)
            self.write(bytes(2 * part))
            samples -= part

    def flush(self) -> None:
        rest = memoryview(self._buffer)
        self._buffer = bytearray()
        try:
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError as exc:
            raise Refused("disk", errno=exc.errno) from None
        tell(self._report, {"samples": self.samples})


class Balance:
    """How loud two channels and their mix are, by 16 samples of every fourth frame."""

    def __init__(self) -> None:
        self._frames = 0
        self._left = self._right = self._mix = 0.0

    def hear(self, frame: Any) -> None:
        self._frames += 1
        kind: Any = SAMPLE_TYPES.get(frame.format.packed.name)
        if self._frames % 4 != 1 or kind is None or frame.layout.nb_channels != 2:
            return
        views: Any = [memoryview(plane).cast("B").cast(kind) for plane in frame.planes]
        left, right, width = (*views, 1) if len(views) == 2 else (views[0], views[0][1:], 2)
        some = slice(0, width * frame.samples, width * max(1, frame.samples // 16))
        for one, other in zip(left[some], right[some], strict=False):
            self._left += abs(one)
            self._right += abs(other)
            self._mix += abs(one + other) / 2

    def alone(self) -> int | None:
        """The channel to take by itself, because the mix of both is next to nothing."""
        louder = max(self._left, self._right)
        return int(self._right > self._left) if self._mix < CANCELLED * louder else None


class Converter:
    """Frames of any shape to mono 16 kHz s16: the mix of all channels, or one of two.

    Integer samples on purpose: in float the downmix of equal channels comes out 3 dB too loud.
    """

    def __init__(self, sink: Sink, channel: int | None = None) -> None:
        self._sink = sink
        self._format = ("s16", "mono") if channel is None else ("s16p", "stereo")
        self._plane = channel or 0
        self._shape: tuple[str, str, int] | None = None
        self._resampler: Any = None

    def push(self, frame: Any) -> None:
        shape = (frame.format.name, frame.layout.name, frame.sample_rate)
        if shape != self._shape:
            self.flush()
            form, layout = self._format
            self._resampler = av.AudioResampler(format=form, layout=layout, rate=RATE)
            self._shape = shape
        frame.pts = None
        self._pull(frame)

    def flush(self) -> None:
        if self._resampler is not None:
            self._pull(None)
            self._resampler = self._shape = None

    def _pull(self, frame: Any) -> None:
        for out in self._resampler.resample(frame):
            self._sink.write(memoryview(out.planes[self._plane])[: 2 * out.samples])


class Clock:
    """Keeps times true: what the file's own clock skips becomes silence of that length.

    Recorders skip on purpose (Opus sends nothing while nobody speaks), and damage skips too.
    """

    def __init__(self, origin_s: float) -> None:
        self._origin = origin_s

    def missing(self, frame: Any, written: int) -> int:
        """Samples of silence that belong before this frame."""
        if frame.pts is None or frame.time_base is None:
            return 0
        gap = float(frame.pts * frame.time_base) - self._origin - written / RATE
        if abs(gap) < REORDERED_S:
            return 0
        if 0 < gap <= LONGEST_GAP_S:
            return round(gap * RATE)
        self._origin += gap
        return 0


class Packets:
    """The frames of one stream. Damage is counted, and passed over."""

    def __init__(self, container: Any, stream: Any) -> None:
        self._container = container
        self._stream = stream
        self.bad = 0
        self.broken_off = False

    def __iter__(self) -> Iterator[Any]:
        in_a_row = 0
        try:
            for packet in self._container.demux(self._stream):
                try:
                    frames = packet.decode()
                except UNREADABLE:
                    self.bad += 1
                    in_a_row += 1
                    if in_a_row > BAD_IN_A_ROW:
                        self.broken_off = True
                        return
                    continue
                in_a_row = 0
                yield from frames
        except UNREADABLE:
            self.broken_off = True


def wav_seconds(head: bytes) -> float | None:
    """What the header says, which FFmpeg overrules by the size of the file."""
    at, per_second = 12, 0
    while at + 8 <= len(head):
        size = int.from_bytes(head[at + 4 : at + 8], "little")
        if head[at : at + 4] == b"fmt ":
            per_second = int.from_bytes(head[at + 16 : at + 20], "little")
        elif head[at : at + 4] == b"data":
            return size / per_second if per_second and 0 < size < PIPED_WAV else None
        at += 8 + size + size % 2
    return None


def declared_seconds(container: Any, stream: Any, head: bytes) -> float | None:
    """How long the file says it is, where that is more than an estimate of FFmpeg's."""
    kind = container.format.name
    if kind in {"ogg", "aac", "amr", "mpeg"} or (kind == "mp3" and not TOTAL_IN_MP3.search(head)):
        return None
    if kind == "wav":
        return wav_seconds(head)
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return None if container.duration is None else container.duration / 1e6


def decode(upload: Any, head: bytes, sink: Sink) -> dict[str, Any]:
    """The last report of a job that went well. Raises Refused."""
    balance = Balance()
    report = convert(upload, head, sink, balance)
    channel = balance.alone()
    if channel is not None:
        upload.seek(0)
        sink.restart()
        report = convert(upload, head, sink, balance, channel)
    return report | {"cancelled": channel is not None}


def convert(
    upload: Any, head: bytes, sink: Sink, balance: Balance, channel: int | None = None
) -> dict[str, Any]:
    """All of one upload into the sink: its channels mixed, or one of two."""
    options = {"format_whitelist": FORMATS, "protocol_whitelist": "", "codec_whitelist": LISTED}
    if head[:4] == b"RIFF":
        options["probesize"] = PROBE_WAV_BYTES
    try:
        container = av.open(
            upload, "r", options=options, metadata_errors="ignore", buffer_size=1 << 16
        )
    except UNREADABLE:
        raise Refused("not_audio") from None
    with container:
        kind = container.format.name.split(",")[0].replace("mov", "mp4")  # as most know it
        if not container.streams.audio:
            raise Refused(
                "no_audio", container=kind, streams=sorted({s.type for s in container.streams})
            )
        stream = container.streams.best("audio") or container.streams.audio[0]
        codec = "unknown" if stream.codec_context is None else stream.codec_context.name
        if not DECODERS.fullmatch(codec):
            raise Refused("codec", container=kind, codec=codec)
        stream.thread_type = "NONE"
        declared = declared_seconds(container, stream, head)
        clock = Clock((container.start_time or 0) / 1e6)
        converter = Converter(sink, channel)
        packets = Packets(container, stream)
        odd = 0
        for frame in packets:
            try:
                sink.silence(clock.missing(frame, sink.samples))
                balance.hear(frame)
                converter.push(frame)
            except UNREADABLE:
                odd += 1
        converter.flush()
        sink.flush()
    return {
        "done": sink.samples,
        "container": kind,
        "codec": codec,
        "bad": packets.bad + odd,
        "broken_off": packets.broken_off,
        "declared_s": declared,
        "cpu_s": time.process_time(),
    }
