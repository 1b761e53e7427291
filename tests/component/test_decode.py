"""Uploads become PCM: every format, hostile files, limits, deaths and cancellations."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import subprocess
import sys
from array import array
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from backend.app.audio import decode
from backend.app.audio.decode import Decoder, Recording
from backend.app.audio.sniff import sniff
from backend.app.audio.spool import SLICE_BYTES, Spool, SpoolFile
from backend.app.config import ConfigError
from backend.app.errors import (
    DeadlineExceeded,
    GatewayError,
    InvalidRequest,
    NoRoom,
    SpoolFull,
    TooLarge,
    UnsupportedMedia,
)
from tests.support import audio
from tests.support.gateway import eventually
from tests.support.loops import LOOPS, run_clean

ROOT = Path(__file__).resolve().parents[2]
BUDGET = 200_000_000
MAX_AUDIO_S = 300.0
Hostile = dict[str, tuple[bytes, audio.Refusals]]


@pytest.fixture(scope="module")
def hostile() -> Hostile:
    return audio.hostile()


@pytest.fixture(scope="module")
def slow() -> bytes:
    """Almost an hour of dear frames: seconds of work for any processor."""
    return 300 * audio.encoded("mp3", "libmp3lame", seconds=10.0)


ROOM = {"budget": 1 << 30, "max_audio_s": 20_000}
"""What `slow` needs."""


@contextlib.asynccontextmanager
async def decoding(
    tmp_path: Path, *, budget: int = BUDGET, max_audio_s: float = MAX_AUDIO_S
) -> AsyncIterator[tuple[Spool, Decoder]]:
    """A decoder that must leave the spool empty and no process behind."""
    spool = Spool(tmp_path, budget)
    decoder = Decoder(spool, max_audio_s=max_audio_s)
    try:
        yield spool, decoder
        assert spool.used == 0
    finally:
        server = server_of(decoder)
        await decoder.close()
        assert server is None or dead(server)
        assert os.listdir(tmp_path) == []


def server_of(decoder: Decoder) -> psutil.Process | None:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(decoder.server_pid) if decoder.server_pid else None
    return None


def dead(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    return True


@contextlib.asynccontextmanager
async def decoded(spool: Spool, decoder: Decoder, data: bytes) -> AsyncIterator[Recording]:
    with spool.file() as upload:
        await upload.write(data)
        async with decoder.recording(upload) as recording:
            yield recording


async def samples_of(recording: Recording) -> array[int]:
    pcm = b"".join([piece async for piece in recording.pcm.slices()])
    assert len(pcm) == 2 * recording.samples
    return array("h", pcm)


def pitch(samples: array[int]) -> float:
    """Of a tone, by its rising zero crossings."""
    rises = sum(a < 0 <= b for a, b in pairwise(samples))
    return rises / (len(samples) / 16_000)


@pytest.mark.parametrize("loop", LOOPS)
def test_every_format(loop: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with decoding(tmp_path) as (spool, decoder):
            for name, kind in audio.GOOD.items():
                async with decoded(spool, decoder, audio.encoded(*kind)) as recording:
                    samples = await samples_of(recording)
                    assert recording.duration == pytest.approx(2.0, abs=0.05), name
                    assert recording.warnings == (), name
                    middle = samples[8000:24_000]
                    assert pitch(middle) == pytest.approx(audio.TONE_HZ, abs=2), name
                    # equal channels mixed down keep their level: in float they would gain 3 dB
                    assert max(middle) == pytest.approx(audio.AMPLITUDE, rel=0.08), name

    run_clean(loop, main)


def test_every_shape(tmp_path: Path) -> None:
    async def main() -> None:
        async with decoding(tmp_path) as (spool, decoder):
            for rate in (8000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000):
                for channels in (1, 2, 3, 6, 8):
                    data = audio.wav(0.5, rate, channels)
                    async with decoded(spool, decoder, data) as recording:
                        samples = await samples_of(recording)
                        assert recording.duration == pytest.approx(0.5, abs=0.005)
                        assert pitch(samples[1000:7000]) == pytest.approx(audio.TONE_HZ, abs=3)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("container", "codec"),
    [("wav", "pcm_s16le"), ("wav", "pcm_f32le"), ("flac", "flac"), ("mp3", "libmp3lame")],
)
def test_channels_that_cancel_each_other(container: str, codec: str, tmp_path: Path) -> None:
    """One wire of a cable was swapped: mixed, nothing would be left."""
    data = audio.mux(container, codec, [(0.0, 2.0)], 48_000, "stereo", audio.opposite)

    async def main() -> None:
        async with (
            decoding(tmp_path) as (spool, decoder),
            decoded(spool, decoder, data) as recording,
        ):
            samples = await samples_of(recording)
            assert recording.duration == pytest.approx(2.0, abs=0.1)
            assert max(samples[8000:24_000]) == pytest.approx(audio.AMPLITUDE, rel=0.1)
            assert pitch(samples[8000:24_000]) == pytest.approx(audio.TONE_HZ, abs=2)
            assert [notice.code for notice in recording.warnings] == ["channels_cancel"]

    asyncio.run(main())


def test_our_own_format_comes_through_unchanged(tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            decoding(tmp_path) as (spool, decoder),
            decoded(spool, decoder, audio.wav(2.0)) as recording,
        ):
            assert await samples_of(recording) == audio.tone(2.0)

    asyncio.run(main())


def test_what_the_clock_skips_is_silence(tmp_path: Path) -> None:
    """A recorder that sent nothing for two seconds, and a video whose sound begins late."""
    gap = audio.mux("webm", "libopus", [(0.0, 1.0), (3.0, 1.0)], 48_000, "mono")
    late = audio.video("matroska", sound_from=2.5)

    async def main() -> None:
        async with decoding(tmp_path) as (spool, decoder):
            async with decoded(spool, decoder, gap) as recording:
                samples = await samples_of(recording)
                assert recording.duration == pytest.approx(4.0, abs=0.05)
                assert not any(samples[20_000:46_000])
                assert pitch(samples[50_000:62_000]) == pytest.approx(audio.TONE_HZ, abs=2)
            async with decoded(spool, decoder, late) as recording:
                samples = await samples_of(recording)
                assert recording.duration == pytest.approx(3.5, abs=0.01)
                assert not any(samples[:39_900])
                assert any(samples[40_000:40_100])

    asyncio.run(main())


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("wav", "truncated_audio"),
        ("mp3", "truncated_audio"),
        ("flac", "truncated_audio"),
        ("webm", "truncated_audio"),
        ("aac", "damaged_audio"),
    ],
)
def test_what_is_missing_is_said(name: str, code: str, tmp_path: Path) -> None:
    whole = audio.encoded(*audio.GOOD[name], seconds=10.0)

    async def main() -> None:
        async with (
            decoding(tmp_path) as (spool, decoder),
            decoded(spool, decoder, whole[: len(whole) * 3 // 5]) as recording,
        ):
            assert 3.5 < recording.duration < 6.5
            assert code in {notice.code for notice in recording.warnings}

    asyncio.run(main())


def test_bad_packets_are_left_out_and_counted(tmp_path: Path) -> None:
    data = bytearray(audio.encoded("mp3", "libmp3lame", seconds=10.0))
    middle = len(data) // 2
    data[middle : middle + 3000] = bytes(3000)

    async def main() -> None:
        async with (
            decoding(tmp_path) as (spool, decoder),
            decoded(spool, decoder, bytes(data)) as recording,
        ):
            assert 9.0 < recording.duration < 10.1
            assert recording.warnings

    asyncio.run(main())


def test_streamed_wav_headers_are_believed_to_know_nothing(tmp_path: Path) -> None:
    plain = audio.wav(2.0)

    async def main() -> None:
        async with decoding(tmp_path) as (spool, decoder):
            for size in (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x24\xf0\xff\x7f"):
                data = plain[:4] + size + plain[8:40] + size + plain[44:]
                async with decoded(spool, decoder, data) as recording:
                    assert recording.duration == 2.0, size
                    assert recording.warnings == (), size

    asyncio.run(main())


def test_hostile_files(tmp_path: Path, hostile: Hostile) -> None:
    """None breaks the gateway, none outlives its request, each has an answer that fits."""

    async def main() -> None:
        async with decoding(tmp_path) as (spool, decoder):

            async def status(data: bytes) -> int:
                try:
                    async with decoded(spool, decoder, data) as recording:
                        return 200 if 0 < recording.duration <= MAX_AUDIO_S else 0
                except GatewayError as exc:
                    return exc.status if exc.param == "file" else 0

            names = list(hostile)
            found = await asyncio.gather(*(status(hostile[name][0]) for name in names))
            wrong = {
                name: got
                for name, got in zip(names, found, strict=True)
                if got not in hostile[name][1]
            }
            assert wrong == {}
            server = server_of(decoder)
            assert server is not None
            eventually(lambda: not server.children(), what="every job is gone")
            async with decoded(spool, decoder, audio.wav()) as recording:
                assert recording.samples == 32_000

    assert len(hostile) >= 50
    asyncio.run(main())


def test_files_named_in_an_upload_are_not_read(tmp_path: Path) -> None:
    """Playlists of all kinds, under any name, lead nowhere."""
    beside = tmp_path / "beside"
    beside.mkdir()
    secret = beside / "secret.wav"
    secret.write_bytes(audio.wav())
    spooled = tmp_path / "spool"
    spooled.mkdir()
    playlists = [
        f"ffconcat version 1.0\nfile '{secret}'\n",
        f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:2,\n{secret}\n#EXT-X-ENDLIST\n",
        f"#EXTM3U\n#EXTINF:2,\nfile://{secret}\n",
        f"concat:{secret}|{secret}",
    ]

    async def main() -> None:
        async with decoding(spooled) as (spool, decoder):
            for text in playlists:
                with pytest.raises(UnsupportedMedia):
                    async with decoded(spool, decoder, text.encode()):
                        pass

    asyncio.run(main())


def test_refusals_name_what_was_found(tmp_path: Path, hostile: Hostile) -> None:
    m4a = audio.encoded(*audio.GOOD["m4a"])
    cases: list[tuple[bytes, type[GatewayError], str]] = [
        (b"", InvalidRequest, "empty"),
        (audio.HEADER_ALONE, InvalidRequest, "wav"),
        (hostile["pdf"][0], UnsupportedMedia, "PDF"),
        (hostile["zip with a recording"][0], UnsupportedMedia, "zip"),
        (audio.video("mp4"), UnsupportedMedia, "mp4 file with video but no audio"),
        (m4a[: len(m4a) * 3 // 5], UnsupportedMedia, "cut off before its index"),
        (audio.video("avi"), UnsupportedMedia, "AVI"),
        (hostile["wav of an unknown codec"][0], UnsupportedMedia, "not read here"),
        (audio.wav(MAX_AUDIO_S + 1, 8000), TooLarge, "300 s"),
    ]

    async def main() -> None:
        async with decoding(tmp_path) as (spool, decoder):
            for data, kind, words in cases:
                with pytest.raises(kind) as caught:
                    async with decoded(spool, decoder, data):
                        pass
                assert words in caught.value.message
                assert caught.value.param == "file"

    asyncio.run(main())


def test_sniff_tells_text_from_noise() -> None:
    assert sniff("héllo wörld ✓".encode()) == "plain text"
    assert sniff("héllo".encode()[:-4]) == "plain text"
    assert "begins with ff ff" in sniff(b"\xff" * 64)
    assert sniff(b"  <!DOCTYPE HTML>") == "an HTML page"


def test_the_limit_is_exact(tmp_path: Path) -> None:
    async def main() -> None:
        async with decoding(tmp_path, max_audio_s=2.0) as (spool, decoder):
            async with decoded(spool, decoder, audio.wav(2.0)) as recording:
                assert recording.duration == 2.0
            with pytest.raises(TooLarge):
                async with decoded(spool, decoder, audio.wav(2.001)):
                    pass

    asyncio.run(main())


def test_pcm_counts_against_the_budget(tmp_path: Path) -> None:
    upload = audio.encoded("flac", "flac", seconds=100.0, rate=8000, layout="mono")

    async def main() -> None:
        async with decoding(tmp_path, budget=2_000_000) as (spool, decoder):
            with pytest.raises(SpoolFull):
                async with decoded(spool, decoder, upload):
                    pass
            assert spool.used == 0
            async with decoded(spool, decoder, audio.wav()) as recording:
                assert spool.used == len(audio.wav()) + 2 * recording.samples

    asyncio.run(main())


class FullDisk(Spool):
    """From the second file on, writing fails as on a full disk."""

    count = 0

    @contextlib.contextmanager
    def file(self):  # type: ignore[no-untyped-def]
        with super().file() as made:
            self.count += 1
            if self.count > 1:
                os.dup2(os.open("/dev/full", os.O_RDWR), made.fd)
            yield made


def test_a_full_disk_is_said_wherever_it_is_met(tmp_path: Path) -> None:
    async def main() -> None:
        spool = FullDisk(tmp_path, BUDGET)
        decoder = Decoder(spool, max_audio_s=MAX_AUDIO_S)
        try:
            with pytest.raises(SpoolFull, match="disk"):
                async with decoded(spool, decoder, audio.wav()):
                    pass
            with pytest.raises(SpoolFull, match="disk"), spool.file() as upload:
                await upload.write(bytes(SLICE_BYTES))
            assert spool.used == 0
        finally:
            await decoder.close()

    asyncio.run(main())


def test_what_is_small_takes_no_descriptor(tmp_path: Path) -> None:
    async def main() -> None:
        spool = Spool(tmp_path, BUDGET)
        before = psutil.Process().num_fds()
        with spool.file() as small, spool.file() as large:
            await small.write(b"0123456789")
            assert await small.read(2, 3) == b"234"
            assert b"".join([piece async for piece in small.slices(5)]) == b"56789"
            await large.write(bytes(SLICE_BYTES))
            assert spool.used == 10 + SLICE_BYTES
            assert psutil.Process().num_fds() == before + 1
            await small.flush()
            assert os.pread(small.fd, 100, 0) == await small.read(0, 100) == b"0123456789"
        assert spool.used == 0

    asyncio.run(main())


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_too_many_open_files_is_said(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        spool = Spool(tmp_path, BUDGET)
        monkeypatch.setattr(os, "open", refuse)
        with spool.file() as file, pytest.raises(NoRoom) as caught:
            await file.write(bytes(SLICE_BYTES))
        assert caught.value.retry_after
        assert spool.used == 0

    def refuse(*_: object, **__: object) -> int:
        raise OSError(number, os.strerror(number))

    asyncio.run(main())


def test_spool_budget_is_shared_and_given_back(tmp_path: Path) -> None:
    async def main() -> None:
        spool = Spool(tmp_path, 1_000_000)
        with spool.file() as first, spool.file() as second:
            await first.write(bytes(600_000))
            with pytest.raises(SpoolFull) as caught:
                await second.write(bytes(600_000))
            assert caught.value.retry_after
            await second.write(bytes(400_000))
            first.close()
            assert spool.used == 400_000
            first.close()
            await second.write(b"x" * 600_000)
            await second.flush()
            assert await second.read(399_999, 2) == b"\0x"
        assert spool.used == 0

    asyncio.run(main())


def test_a_spool_that_cannot_be_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="SPOOL_DIR"):
        Spool(tmp_path / "nowhere", 1)


@pytest.mark.parametrize("loop", LOOPS)
def test_no_descriptor_is_left_open(loop: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with decoding(tmp_path) as (spool, decoder):

            def descriptors() -> tuple[int, int]:
                server = server_of(decoder)
                assert server is not None
                return psutil.Process().num_fds(), server.num_fds()

            async def several() -> None:
                for data in (audio.wav(), b"nothing", audio.wav(MAX_AUDIO_S + 1, 8000)):
                    with contextlib.suppress(GatewayError):
                        async with decoded(spool, decoder, data):
                            pass

            await several()
            # large files are closed in a thread
            before = min(descriptors() for _ in range(100))
            for _ in range(5):
                await several()
            eventually(lambda: descriptors() <= before, what="no more than at first")

    run_clean(loop, main)


async def job_of(decoder: Decoder) -> psutil.Process:
    """The process that decodes, once there is one."""
    while True:
        server = server_of(decoder)
        for job in server.children() if server else []:
            return job
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("loop", LOOPS)
def test_cancelling_kills_the_decoder(loop: str, tmp_path: Path, slow: bytes) -> None:
    async def main() -> None:
        async with decoding(tmp_path, **ROOM) as (spool, decoder):

            async def work() -> None:
                async with decoded(spool, decoder, slow):
                    raise AssertionError("too fast to be cancelled")

            task = asyncio.create_task(work())
            job = await job_of(decoder)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            eventually(lambda: dead(job), what="the decoder is dead")

    run_clean(loop, main)


def test_time_is_limited(tmp_path: Path, slow: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "WALL_PER_CPU", 1e-6)

    async def main() -> None:
        async with decoding(tmp_path, **ROOM) as (spool, decoder):
            with pytest.raises(DeadlineExceeded):
                async with decoded(spool, decoder, slow):
                    pass
            server = server_of(decoder)
            assert server is not None
            eventually(lambda: not server.children(), what="the decoder is dead")

    asyncio.run(main())


@pytest.mark.parametrize(
    ("limit", "value"),
    [("MEMORY_BYTES", 100 << 20), ("CPU_FLOOR_S", 1 - decode.CPU_PER_AUDIO_S * 20_000)],
)
def test_limits_of_the_kernel_hold(
    limit: str, value: float, tmp_path: Path, slow: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With too little of either the decoder dies, and the gateway says that it did."""
    monkeypatch.setattr(decode, limit, value)
    monkeypatch.setattr(decode, "WALL_PER_CPU", 1000)

    async def main() -> None:
        async with decoding(tmp_path, **ROOM) as (spool, decoder):
            with pytest.raises(UnsupportedMedia):
                async with decoded(spool, decoder, slow):
                    pass

    asyncio.run(main())


def test_a_dead_server_is_replaced(tmp_path: Path) -> None:
    async def main() -> None:
        async with decoding(tmp_path) as (spool, decoder):
            async with decoded(spool, decoder, audio.wav()):
                pass
            first = server_of(decoder)
            assert first is not None
            first.kill()
            eventually(lambda: dead(first), what="the server is dead")
            async with decoded(spool, decoder, audio.wav()) as recording:
                assert recording.samples == 32_000
            assert server_of(decoder) != first

    asyncio.run(main())


def test_a_stuck_server_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped, it neither dies nor answers; the job that meets it is done by its successor."""

    async def main() -> None:
        async with decoding(tmp_path) as (spool, decoder):
            async with decoded(spool, decoder, audio.wav()):
                pass
            monkeypatch.setattr(decode, "FORK_S", 0.1)
            first = server_of(decoder)
            assert first is not None
            first.suspend()
            found = await asyncio.gather(*(samples(spool, decoder) for _ in range(3)))
            assert found == [32_000] * 3
            assert dead(first)

    async def samples(spool: Spool, decoder: Decoder) -> int:
        async with decoded(spool, decoder, audio.wav()) as recording:
            return recording.samples

    asyncio.run(main())


def test_a_server_that_reads_nothing_never_blocks_the_loop(tmp_path: Path) -> None:
    """Jobs given up on have filled its socket; the next one starts another server at once."""

    async def main() -> None:
        async with decoding(tmp_path) as (spool, decoder):
            async with decoded(spool, decoder, audio.wav()):
                pass
            first = server_of(decoder)
            assert first is not None
            first.suspend()
            assert decoder._control is not None
            with contextlib.suppress(BlockingIOError):
                while decoder._control.send(b"a job that nobody waits for any more"):
                    pass
            async with decoded(spool, decoder, audio.wav()) as recording:
                assert recording.samples == 32_000
            assert server_of(decoder) != first
            assert dead(first)

    asyncio.run(main())


def test_decoders_die_with_the_gateway(tmp_path: Path, slow: bytes) -> None:
    """Killed without a chance to clean up, in the middle of a job."""
    file = tmp_path / "slow.mp3"
    file.write_bytes(slow)
    program = f"""
import asyncio, sys
from pathlib import Path
from backend.app.audio.decode import Decoder
from backend.app.audio.spool import Spool

async def main():
    spool = Spool(Path({str(tmp_path)!r}), 10**9)
    decoder = Decoder(spool, max_audio_s=20_000)
    async def work():
        while True:
            with spool.file() as upload:
                await upload.write(Path({str(file)!r}).read_bytes())
                async with decoder.recording(upload):
                    pass
    task = asyncio.create_task(work())
    while decoder.server_pid is None:
        await asyncio.sleep(0.01)
    print(decoder.server_pid, flush=True)
    await task

asyncio.run(main())
"""
    gateway = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert gateway.stdout is not None
    with gateway, gateway.stdout:
        server = psutil.Process(int(gateway.stdout.readline()))
        job = eventually(lambda: next(iter(server.children()), None), what="a job")
        gateway.send_signal(signal.SIGKILL)
        gateway.wait(10)

        eventually(lambda: dead(server) and dead(job), what="server and job are dead")


def test_many_at_once_wait_for_a_slot(tmp_path: Path) -> None:
    async def main() -> None:
        spool = Spool(tmp_path, BUDGET)
        decoder = Decoder(spool, max_audio_s=MAX_AUDIO_S, slots=2)
        most = 0

        async def one() -> int:
            nonlocal most
            async with decoded(spool, decoder, audio.encoded("mp3", "libmp3lame")) as recording:
                server = server_of(decoder)
                assert server is not None
                most = max(most, len(server.children()))
                return recording.samples

        try:
            found = await asyncio.gather(*(one() for _ in range(20)))
            assert len(set(found)) == 1
            assert most <= 2
            assert spool.used == 0
        finally:
            await decoder.close()

    asyncio.run(main())


def test_a_writer_that_is_cancelled_leaves_the_file_to_its_thread(tmp_path: Path) -> None:
    """The descriptor must not be closed, and so reused, under a thread that still writes."""

    async def main() -> None:
        spool = Spool(tmp_path, BUDGET)
        for _ in range(50):
            with spool.file() as file:
                task = asyncio.create_task(write(file))
                await asyncio.sleep(0)
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        assert spool.used == 0

    async def write(file: SpoolFile) -> None:
        await file.write(bytes(4 * SLICE_BYTES))

    before = psutil.Process().num_fds()
    asyncio.run(main())
    assert psutil.Process().num_fds() == before
