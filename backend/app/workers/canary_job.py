"""One recording, from PCM that arrives to messages that leave.

    body -> speech detection -> chunks -> batcher -> believed? -> segments, in order
                                   ^                    |
                                   +--- cut differently +

Reading pauses while the request holds as many chunks as it may: memory is bounded, however long
the recording is and however slow its reader.
"""

from __future__ import annotations

import asyncio
import math
import time
import traceback
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from .batching import Batcher, Ticket
from .canary_model import Reading, Sentence, Utterance
from .coverage import WORTH_RETRYING, Account, missing
from .cutting import FRAME, Chunk, Cutter, Interval, Policy, recut, total
from .protocol import (
    SAMPLE_BYTES,
    SAMPLE_RATE,
    Done,
    Message,
    Progress,
    Segment,
    Span,
    Timings,
    Token,
    TranscribeParams,
    language_problem,
    seconds,
)
from .shell import Refused
from .vad import Detector, Silero

BLOCK = 128 * FRAME * SAMPLE_BYTES
"""Bytes (4 s) in which speech is looked for at a time."""
RETRIES = 2
"""How often a chunk may be divided again."""


@dataclass(frozen=True)
class Tools:
    """What all requests of a worker share."""

    batcher: Batcher[Utterance, Reading]
    silero: Silero
    threads: Executor
    policy: Policy
    languages: tuple[str, ...]


@dataclass(frozen=True)
class _Outcome:
    """What a chunk came to; its place in the answer is kept by whoever decodes it."""

    segments: list[Segment]
    gaps: tuple[Interval, ...]


@dataclass(frozen=True)
class _Piece:
    chunk: Chunk
    outcome: asyncio.Task[_Outcome] | None
    """None: nothing is said here."""


def check(params: TranscribeParams, known: Sequence[str]) -> None:
    """Raises Refused for what this model cannot do."""
    sources = [params.source] if params.source else list(params.candidates)
    if not sources:
        raise Refused("bad_request", "Neither a source language nor candidates were given.")
    for source in sources:
        problem = language_problem(source, params.target)
        if problem:
            raise Refused("bad_request", f"{problem[0]}: {problem[1]}")
        for code in (source, params.target or source):
            if code not in known:
                names = ", ".join(known)
                raise Refused("bad_request", f"This model does not know '{code}', only {names}.")


async def probe(
    params: TranscribeParams, tools: Tools, body: AsyncIterator[bytes]
) -> AsyncGenerator[Message, None]:
    """The whole way to the model and back for audio in which nobody need speak."""
    pcm = b"".join([piece async for piece in body])[: tools.policy.longest * SAMPLE_BYTES]
    source = params.source or params.candidates[0]
    utterance = Utterance(pcm[: len(pcm) // SAMPLE_BYTES * SAMPLE_BYTES], source, source, True)
    duration = seconds(len(utterance.pcm) // SAMPLE_BYTES)
    ticket = tools.batcher.ticket()
    try:
        await ticket.decode(params.timestamps, utterance, duration)
    finally:
        ticket.close()
    yield Done(duration=duration)


def transcribe(
    params: TranscribeParams, tools: Tools, body: AsyncIterator[bytes]
) -> AsyncGenerator[Message, None]:
    """Segments in order of time, progress after each chunk, and at last Done."""
    return _Transcription(params, tools).messages(body)


class _Transcription:
    def __init__(self, params: TranscribeParams, tools: Tools) -> None:
        self._params = params
        self._tools = tools
        self._source = params.source
        if self._source is None and len(params.candidates) == 1:
            self._source = params.candidates[0]
        self._margin: float | None = None
        self._detector = Detector(tools.silero)
        self._cutter = Cutter(tools.policy)
        self._pcm = bytearray()
        self._heard = 0
        self._timings = {"vad": 0.0, "queue": 0.0, "model": 0.0}
        self._account = Account()
        self._speech: list[Interval] = []
        self._results: asyncio.Queue[_Piece | None] = asyncio.Queue()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ticket: Ticket[Utterance, Reading] = tools.batcher.ticket()

    async def messages(self, body: AsyncIterator[bytes]) -> AsyncGenerator[Message, None]:
        reader = self._start(self._read(body))
        reader.add_done_callback(lambda _: self._results.put_nowait(None))
        expected = None if self._params.samples is None else seconds(self._params.samples)
        try:
            while (piece := await self._results.get()) is not None:
                if piece.outcome is not None:
                    outcome = await piece.outcome
                    self._account.add(piece.chunk.speech, outcome.gaps)
                    for segment in outcome.segments:
                        yield segment
                    self._ticket.release()
                done = seconds(piece.chunk.end)
                yield Progress(phase="transcribing", done=done, total=expected)
            await reader
            yield self._done()
        finally:
            self._ticket.close()
            for task in list(self._tasks):
                task.cancel()

    def _start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # known here; raised where the result is awaited, if it still is

    def _done(self) -> Done:
        spans = tuple(Span(start=seconds(a), end=seconds(b)) for a, b in self._speech)
        return Done(
            duration=seconds(self._heard),
            speech_spans=spans,
            coverage=self._account.coverage(),
            language=self._source,
            language_margin=self._margin,
            timings=Timings(**self._timings),
        )

    async def _read(self, body: AsyncIterator[bytes]) -> None:
        waiting = bytearray()
        async for piece in body:
            waiting += piece
            while len(waiting) >= BLOCK:
                await self._hear(bytes(waiting[:BLOCK]))
                del waiting[:BLOCK]
        await self._hear(bytes(waiting[: len(waiting) // SAMPLE_BYTES * SAMPLE_BYTES]))
        wanted = self._params.samples
        if wanted is not None and wanted != self._heard:
            message = f"The audio has {self._heard} samples, {wanted} were announced."
            raise Refused("bad_audio", message)
        last = self._detector.finish()
        self._speech.extend(last)
        for chunk in self._cutter.finish(last, self._heard):
            await self._dispatch(chunk)

    async def _hear(self, block: bytes) -> None:
        started = time.monotonic()
        loop = asyncio.get_running_loop()
        heard = await loop.run_in_executor(self._tools.threads, self._detector.push, block)
        self._timings["vad"] += time.monotonic() - started
        self._pcm += block
        self._heard += len(block) // SAMPLE_BYTES
        self._speech.extend(heard.ended)
        for chunk in self._cutter.push(heard.ended, heard.known, heard.open_start, heard.loudness):
            await self._dispatch(chunk)

    async def _dispatch(self, chunk: Chunk) -> None:
        pcm = bytes(self._pcm[: chunk.length * SAMPLE_BYTES])
        del self._pcm[: chunk.length * SAMPLE_BYTES]
        if not chunk.speech:
            self._results.put_nowait(_Piece(chunk, None))
            return
        await self._ticket.acquire()
        if self._source is None:
            await self._detect_language(pcm)
        self._results.put_nowait(_Piece(chunk, self._start(self._believed(chunk, pcm))))

    async def _detect_language(self, pcm: bytes) -> None:
        """By what the model itself finds likeliest; an empty text is the least likely."""
        tries = [self._decode(pcm, False, code) for code in self._params.candidates]
        readings = await asyncio.gather(*tries)
        scores = [-math.inf if reading.logprob is None else reading.logprob for reading in readings]
        best, second = sorted(scores, reverse=True)[:2]
        self._source = self._params.candidates[scores.index(best)]
        self._margin = None if math.isinf(second) else best - second

    async def _believed(self, chunk: Chunk, pcm: bytes, retries: int = RETRIES) -> _Outcome:
        """Decode; where the result does not account for the speech, decode again in other cuts."""
        outcome = await self._outcome(chunk, pcm)
        if not retries or total(outcome.gaps) < WORTH_RETRYING:
            return outcome
        again = []
        for part in recut(chunk, _loudness(pcm)):
            low, high = ((at - chunk.start) * SAMPLE_BYTES for at in (part.start, part.end))
            again.append(self._believed(part, pcm[low:high], retries - 1))
        parts = await asyncio.gather(*again)
        gaps = tuple(gap for part in parts for gap in part.gaps)
        if not parts or total(gaps) >= total(outcome.gaps):
            return outcome
        return _Outcome([segment for part in parts for segment in part.segments], gaps)

    async def _outcome(self, chunk: Chunk, pcm: bytes) -> _Outcome:
        source = self._source or ""
        target = self._params.target or source
        try:
            reading = await self._decode(pcm, self._params.timestamps, source)
        except Refused:
            raise
        except Exception:
            if not self._params.timestamps:
                raise
            # the aligner fails on texts that do not fit the audio; the text itself may be fine
            traceback.print_exc()
            reading = await self._decode(pcm, False, source)
        words = None
        if reading.sentences and source == target:
            words = [
                (chunk.start + _samples(word.start), chunk.start + _samples(word.end))
                for sentence in reading.sentences
                for word in sentence.words
            ]
        gaps = missing(chunk.speech, reading.text, words)
        return _Outcome(segments_of(chunk, reading, target, self._params.logprobs), gaps)

    async def _decode(self, pcm: bytes, timestamps: bool, source: str) -> Reading:
        target = self._params.target or source
        utterance = Utterance(pcm, source, target, self._params.pnc)
        audio_s = seconds(len(pcm) // SAMPLE_BYTES)
        decoded = await self._ticket.decode(timestamps, utterance, audio_s)
        self._timings["queue"] += decoded.queue_s
        self._timings["model"] += decoded.model_s
        return decoded.result


def segments_of(chunk: Chunk, reading: Reading, language: str, logprobs: bool) -> list[Segment]:
    """A reading in the recording's own time. Without aligned sentences it is one segment, from the
    first speech to the last."""
    if not reading.text:
        return []
    first, last = chunk.speech[0][0], chunk.speech[-1][1]
    offset = seconds(chunk.start)
    whole = (Sentence(reading.text, seconds(first) - offset, seconds(last) - offset, ()),)
    sentences = reading.sentences or whole
    shares = _share(reading.tokens, sentences) if logprobs else [()] * len(sentences)
    return [
        Segment(
            start=_place(offset, sentence.start),
            end=_place(offset, sentence.end),
            text=sentence.text,
            language=language,
            words=tuple(
                msgspec.structs.replace(
                    word, start=_place(offset, word.start), end=_place(offset, word.end)
                )
                for word in sentence.words
            ),
            logprob=reading.logprob,
            tokens=share,
        )
        for sentence, share in zip(sentences, shares, strict=True)
    ]


def _share(tokens: Sequence[Token], sentences: Sequence[Sentence]) -> list[tuple[Token, ...]]:
    """Each sentence's own tokens, counted by words."""
    shares: list[list[Token]] = [[] for _ in sentences]
    at, left = 0, len(sentences[0].words)
    for i, token in enumerate(tokens):
        if token.token.startswith(" ") or i == 0:
            while not left and at + 1 < len(sentences):
                at += 1
                left = len(sentences[at].words)
            left -= 1
        shares[at].append(token)
    return [tuple(share) for share in shares]


def _place(offset: float, at: float) -> float:
    return round(offset + at, 6)  # finer than a sample, without the dust of binary fractions


def _samples(at: float) -> int:
    return round(at * SAMPLE_RATE)


def _loudness(pcm: bytes) -> list[float]:
    samples = np.frombuffer(pcm, dtype="<i2")
    frames = samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME)
    return np.square(frames.astype(np.float32)).mean(axis=1).tolist()  # type: ignore[no-any-return]
