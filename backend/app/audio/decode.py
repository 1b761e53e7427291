"""Uploads become recordings: mono 16 kHz s16le in a spool file, by processes of `decode_child`.

What a decoder may use is limited by the kernel (memory, CPU, file size, descriptors); here its wall
time is, and its output is charged to the spool's budget as it grows. However a caller ends, by
cancellation too, its decoder has been killed by then.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backend.app.audio.sniff import sniff
from backend.app.audio.spool import Spool, SpoolFile, room
from backend.app.audio.transcript import Notice
from backend.app.config import child_environment
from backend.app.errors import (
    DeadlineExceeded,
    GatewayError,
    Internal,
    InvalidRequest,
    SpoolFull,
    TooLarge,
    Unavailable,
    UnsupportedMedia,
)
from backend.app.waiting import within
from backend.app.workers.protocol import SAMPLE_BYTES, SAMPLE_RATE

log = logging.getLogger(__name__)

MEMORY_BYTES = 1 << 30
"""Address space of a decoder; 190 MB was the most that any file of the tests took."""
CPU_FLOOR_S = 30
CPU_PER_AUDIO_S = 0.02
"""Three times what the dearest format tried costs."""
WALL_PER_CPU = 4
MESSAGE_BYTES = 4096
HEAD_BYTES = 512
START_S = 60
"""Until a new fork server has loaded the decoder and begun its first job."""
FORK_S = 20
"""Until one that has worked before begins a job, which takes milliseconds."""
KILL_S = 10
"""Until a process that was killed is gone; one that hangs in a disk stays longer."""
DECLARED_SLACK_S = 0.5


@dataclass(frozen=True)
class Recording:
    """What became of an upload. Valid inside `Decoder.recording` only."""

    pcm: SpoolFile
    samples: int
    warnings: tuple[Notice, ...]

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.samples / SAMPLE_RATE


class Decoder:
    """Decodes uploads, a few at a time. For use by one event loop."""

    def __init__(self, spool: Spool, *, max_audio_s: float, slots: int | None = None) -> None:
        """`slots`: how many decode at once; the others wait."""
        self._spool = spool
        self._max_audio_s = max_audio_s
        self._slots = asyncio.Semaphore(slots or max(4, os.cpu_count() or 1))
        self._starting = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._control: socket.socket | None = None
        self._proven = False
        self._cpu_s = int(CPU_FLOOR_S + CPU_PER_AUDIO_S * max_audio_s)

    @property
    def _wall_s(self) -> float:
        """The most that one job takes."""
        return self._cpu_s * WALL_PER_CPU

    @property
    def server_pid(self) -> int | None:
        """Of the process that the decoders are forked from, once the first file was decoded."""
        return None if self._process is None else self._process.pid

    @contextlib.asynccontextmanager
    async def recording(self, upload: SpoolFile, param: str = "file") -> AsyncIterator[Recording]:
        """Decode all of `upload`; `param` is the field that messages name.

        Raises InvalidRequest (empty), UnsupportedMedia, TooLarge (longer than MAX_AUDIO_S),
        SpoolFull, NoRoom, Unavailable, DeadlineExceeded.
        """
        await upload.flush()
        if upload.size == 0:
            raise InvalidRequest("The file is empty.", param=param, code="empty_file")
        with self._spool.file() as pcm:
            async with self._slot():
                with room():
                    report = await self._decode(upload, pcm)
            if "error" in report:
                raise self._refusal(report, await upload.read(0, HEAD_BYTES), param)
            samples = int(report["done"])
            pcm.charge(samples * SAMPLE_BYTES)
            if samples == 0:
                raise InvalidRequest(
                    f"The file is a {report['container']} file without a single sample of audio"
                    " that could be decoded.",
                    param=param,
                    code="empty_file",
                )
            yield Recording(pcm, samples, tuple(_damage(report)))

    async def close(self) -> None:
        """Kill whatever still decodes. Idempotent."""
        self._proven = False
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            process, self._process = self._process, None
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            try:
                await within(KILL_S, process.wait())
            except asyncio.TimeoutError:
                log.warning("the decoders' fork server, pid %d, does not die", process.pid)

    # ---- one job ----------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        """One of the places to decode. Raises Unavailable when none is free for a job's time."""
        place = asyncio.ensure_future(self._slots.acquire())
        try:
            await asyncio.wait({place}, timeout=self._wall_s)
            if not place.done():
                raise Unavailable("Too many recordings are being decoded.", retry_after=30)
            yield
        finally:
            place.cancel()  # does nothing to a place that was taken
            place.add_done_callback(self._leave)

    def _leave(self, place: asyncio.Future[Any]) -> None:
        if not place.cancelled():
            self._slots.release()

    async def _decode(self, upload: SpoolFile, pcm: SpoolFile) -> dict[str, Any]:
        """The job's last report; `{"error": "killed"}` when it gave none."""
        for _ in range(2):
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            ours.setblocking(False)
            with ours:
                with theirs:
                    server = await self._submit([upload.fd, pcm.fd, theirs.fileno()])
                if not await _readable(ours, FORK_S if self._proven else START_S):
                    await self._give_up(server)
                    continue
                hello, descriptors, _, _ = socket.recv_fds(ours, MESSAGE_BYTES, 1)
                if not hello:
                    raise Internal
                if not descriptors:  # there was none left for it
                    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
                self._proven = True
                try:
                    report = await self._follow(ours, pcm)
                finally:
                    await _kill(descriptors[0])
            if report.get("error") == "killed" and server is not self._process:
                raise Unavailable("The decoder was started anew; try again.", retry_after=1)
            return report
        raise DeadlineExceeded("The decoder did not start in time.")

    async def _follow(self, report: socket.socket, pcm: SpoolFile) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._wall_s
        while await _readable(report, deadline - loop.time()):
            message = report.recv(MESSAGE_BYTES)
            if not message:
                return {"error": "killed"}
            said: dict[str, Any] = json.loads(message)
            if "why" in said:
                log.warning("a decoder failed: %s", said["why"])
            if "samples" not in said:
                return said
            pcm.charge(said["samples"] * SAMPLE_BYTES)
        raise DeadlineExceeded("Decoding the audio took too long.")

    async def _submit(self, descriptors: list[int]) -> asyncio.subprocess.Process:
        """Give a job to the fork server, starting it when there is none or it takes no more.

        What it does not read fills its socket, and a full one counts as its death.
        """
        job = json.dumps(
            {
                "max_samples": int(self._max_audio_s * SAMPLE_RATE),
                "cpu_s": self._cpu_s,
                "memory_bytes": MEMORY_BYTES,
            }
        ).encode()
        async with self._starting:
            for _ in range(2):
                if self._process is None or self._control is None:
                    await self._start()
                assert self._process is not None
                assert self._control is not None
                try:
                    socket.send_fds(self._control, [job], descriptors)
                    return self._process
                except (BlockingIOError, BrokenPipeError, ConnectionResetError):
                    await self.close()
        raise Internal

    async def _give_up(self, server: asyncio.subprocess.Process) -> None:
        """Kill a fork server that is stuck, unless another job has done so already."""
        async with self._starting:
            if server is self._process:
                log.warning("the decoders' fork server, pid %d, is stuck: killed", server.pid)
                await self.close()

    async def _start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        try:
            with theirs:
                program = str(Path(__file__).with_name("decode_child.py"))
                self._process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-I", program, str(os.getpid())),
                    stdin=theirs.fileno(),
                    stdout=asyncio.subprocess.DEVNULL,
                    env=child_environment(),
                    start_new_session=True,
                )
        except BaseException:
            ours.close()
            raise
        self._control = ours

    # ---- words ------------------------------------------------------------------------------

    def _refusal(self, report: dict[str, Any], head: bytes, param: str) -> GatewayError:
        error = report["error"]
        if error == "too_long":
            return TooLarge(
                f"The audio is longer than the {self._max_audio_s:g} s allowed here (MAX_AUDIO_S).",
                param=param,
                code="audio_too_long",
            )
        if error == "disk":
            return SpoolFull("The disk for uploads is full.", retry_after=30)
        if error == "no_audio":
            kinds = " and ".join(report["streams"]) or "nothing"
            what = f"a {report['container']} file with {kinds} but no audio track"
        elif error == "codec":
            codec = report["codec"]
            what = f"a {report['container']} file with audio of a kind not read here ({codec})"
        elif error == "killed":
            what = f"{sniff(head)} that broke the decoder or its limits"
        else:
            what = sniff(head)
        return UnsupportedMedia(
            f"The file is {what}. Send wav, mp3, flac, ogg, opus, m4a, mp4 or webm audio.",
            param=param,
            code="unsupported_audio",
            permanent=True,
        )


def _damage(report: dict[str, Any]) -> Iterator[Notice]:
    if report["cancelled"]:
        yield Notice(
            "channels_cancel",
            "The two channels are each other's opposite, and mixed they are silence:"
            " the louder one alone was read.",
        )
    if report["bad"]:
        yield Notice(
            "damaged_audio",
            f"{report['bad']} packets of the file could not be decoded and were left out.",
        )
    decoded = report["done"] / SAMPLE_RATE
    declared = report["declared_s"]
    if declared is not None and declared - decoded > max(DECLARED_SLACK_S, 0.01 * declared):
        yield Notice(
            "truncated_audio",
            f"The file declares {declared:.1f} s of audio; {decoded:.1f} s could be read.",
        )
    elif report["broken_off"]:
        yield Notice("truncated_audio", f"The file could be read for {decoded:.1f} s only.")


async def _kill(pidfd: int) -> None:
    """Returns when the process is gone, or after KILL_S, unless cancelled once more."""
    try:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        if not await _readable(pidfd, KILL_S):
            log.warning("a decoder that was killed does not die")
    finally:
        os.close(pidfd)


async def _readable(fd: int | socket.socket, timeout: float) -> bool:
    """False when nothing came in time. Not by `wait_for`, which may swallow a cancellation."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[bool] = loop.create_future()

    def settle(value: bool) -> None:
        if not ready.done():
            ready.set_result(value)

    loop.add_reader(fd, settle, True)
    timer = loop.call_later(timeout, settle, False)
    try:
        return await ready
    finally:
        loop.remove_reader(fd)
        timer.cancel()
