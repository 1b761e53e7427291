"""One recording, from PCM that arrives to turns that leave.

    body -> temporary file -> known voices
                           -> window, window, … -> one set of speakers -> names -> turns

The body is taken as fast as it comes and kept on disk: whoever sends it need not wait for the
model, and memory is bounded by one window however long the recording is and however many wait.
Between its windows a long recording lets others have the model.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass
from typing import IO, Protocol

from .protocol import (
    SAMPLE_BYTES,
    SAMPLE_RATE,
    DiarizeParams,
    Done,
    Message,
    Progress,
    Timings,
    Turn,
    seconds,
)
from .pyannote_queue import ModelThread
from .pyannote_types import Counts, Found, Hook, Vector, labels
from .pyannote_voices import SAME_VOICE, recognise
from .pyannote_windows import Window, plan, whole
from .shell import Refused

MOST_SPEAKERS = 100
EXACTLY_ONE = Counts(1, 1)


@dataclass(frozen=True)
class Policy:
    """How long recordings are cut (samples), and when two voices are one."""

    longest: int = 900 * SAMPLE_RATE
    overlap: int = 60 * SAMPLE_RATE
    same: float = SAME_VOICE


class Model(Protocol):
    """What is asked of PyannoteModel."""

    def __call__(self, pcm: bytes, counts: Counts, hook: Hook) -> Found: ...

    def probe(self, pcm: bytes, hook: Hook) -> None: ...


@dataclass(frozen=True)
class Tools:
    """What all requests of a worker share."""

    model: Model
    thread: ModelThread
    policy: Policy


def check(params: DiarizeParams, longest: int) -> Counts:
    """How many speakers are asked for. Raises Refused for what makes no sense, naming the field.

    `longest`: of a known voice's sample.
    """
    for name in ("num_speakers", "min_speakers", "max_speakers"):
        value = getattr(params, name)
        if value is not None and not 1 <= value <= MOST_SPEAKERS:
            raise Refused("bad_request", f"{name}: {value} is not between 1 and {MOST_SPEAKERS}.")
    exactly, least, most = params.num_speakers, params.min_speakers, params.max_speakers
    if least is not None and most is not None and least > most:
        raise Refused("bad_request", f"min_speakers: {least} is above max_speakers ({most}).")
    if exactly is not None and not (least or 1) <= exactly <= (most or exactly):
        message = f"num_speakers: {exactly} contradicts min_speakers or max_speakers."
        raise Refused("bad_request", message)
    names = [reference.name for reference in params.references]
    if len(set(names)) < len(names):
        raise Refused("bad_request", "references: two known voices have the same name.")
    for reference in params.references:
        if not 1 <= reference.samples <= longest:
            length = f"{seconds(reference.samples):g} s"
            message = f"The sample of '{reference.name}' has {length}."
            raise Refused("bad_audio", f"{message} At most {seconds(longest):g} s are taken.")
    return Counts(exactly or least, exactly or most)


async def probe(tools: Tools, body: AsyncIterator[bytes]) -> AsyncGenerator[Message, None]:
    """The whole way to the model and back for audio in which nobody need speak."""
    pcm = b"".join([piece async for piece in body])[: tools.policy.longest * SAMPLE_BYTES]
    pcm = pcm[: len(pcm) // SAMPLE_BYTES * SAMPLE_BYTES]
    await tools.thread.call(lambda hook: tools.model.probe(pcm, hook), lambda *_: None)
    yield Done(duration=seconds(len(pcm) // SAMPLE_BYTES))


async def diarize(
    params: DiarizeParams, tools: Tools, body: AsyncIterator[bytes]
) -> AsyncGenerator[Message, None]:
    """Progress, then all turns, the exclusive ones last, each in order of time; at last Done.

    Progress is in seconds of the recording, for each phase; of "voices" it counts the known ones.
    """
    counts = check(params, tools.policy.longest)
    progress: asyncio.Queue[Progress | None] = asyncio.Queue()
    job = _Job(params, counts, tools, progress)
    work = asyncio.ensure_future(job.run(body))
    work.add_done_callback(lambda _: progress.put_nowait(None))
    try:
        while (step := await progress.get()) is not None:
            yield step
        for message in await work:
            yield message
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


class _Job:
    def __init__(
        self,
        params: DiarizeParams,
        counts: Counts,
        tools: Tools,
        progress: asyncio.Queue[Progress | None],
    ) -> None:
        self._params = params
        self._counts = counts
        self._tools = tools
        self._progress = progress
        self._queue_s = 0.0
        self._model_s = 0.0

    async def run(self, body: AsyncIterator[bytes]) -> list[Message]:
        with tempfile.TemporaryFile() as file:
            heard = await self._receive(body, file)
            start, known = 0, dict[str, Vector]()
            for number, reference in enumerate(self._params.references):
                self._tell("voices", number, len(self._params.references))
                stretch = (start, start + reference.samples)
                known[reference.name] = await self._known(file, reference.name, stretch)
                start += reference.samples
            total = seconds(heard - start)
            found = await self._recording(file, start, heard)
        return self._messages(named(found, known, self._tools.policy.same), total)

    async def _recording(self, file: IO[bytes], start: int, end: int) -> Found:
        """Who speaks when in these samples of the file."""
        policy = self._tools.policy
        windows = plan(end - start, policy.longest, policy.overlap) if end > start else []
        if len(windows) == 1:
            return await self._window(file, start, windows[0], self._counts, seconds(end - start))
        # one of many windows may be without some of the speakers, so that there is no least number
        counts = Counts(most=self._counts.most)
        parts = [
            await self._window(file, start, window, counts, seconds(end - start))
            for window in windows
        ]
        return await asyncio.to_thread(whole, windows, parts, self._counts, policy.same)

    async def _receive(self, body: AsyncIterator[bytes], file: IO[bytes]) -> int:
        """Samples heard, known voices included."""
        announced = self._params.samples
        wanted = sum(reference.samples for reference in self._params.references)
        heard = 0
        try:
            async for piece in body:
                heard += len(piece)
                if announced is not None and heard > (wanted + announced) * SAMPLE_BYTES:
                    raise Refused("bad_audio", f"More than the announced {announced} samples came.")
                await asyncio.to_thread(file.write, piece)
        except OSError as exc:
            message = f"The recording cannot be kept on disk: {exc.strerror}."
            raise Refused("engine_error", message, retryable=True) from exc
        heard //= SAMPLE_BYTES
        if heard < wanted + (announced or 0):
            message = f"The audio has {heard} samples, {wanted + (announced or 0)} were announced."
            raise Refused("bad_audio", message)
        return heard

    async def _known(self, file: IO[bytes], name: str, stretch: tuple[int, int]) -> Vector:
        found = await self._call(file, stretch, EXACTLY_ONE, lambda *_: None)
        for vector in found.vectors.values():
            return vector
        message = f"Nobody can be heard in the sample of '{name}'."
        raise Refused("bad_audio", message)

    async def _window(
        self, file: IO[bytes], start: int, window: Window, counts: Counts, total: float
    ) -> Found:
        own = seconds(window.own_start), seconds(window.own_end)

        def tell(step: str, share: float) -> None:
            self._tell(step, own[0] + share * (own[1] - own[0]), total)

        found = await self._call(file, (start + window.start, start + window.end), counts, tell)
        return found.shifted(seconds(window.start)) if window.start else found

    async def _call(
        self, file: IO[bytes], stretch: tuple[int, int], counts: Counts, tell: Hook
    ) -> Found:
        first, last = (at * SAMPLE_BYTES for at in stretch)

        def work(hook: Hook) -> Found:
            file.seek(first)
            return self._tools.model(file.read(last - first), counts, hook)

        called = await self._tools.thread.call(work, tell)
        self._queue_s += called.queue_s
        self._model_s += called.model_s
        return called.result

    def _tell(self, phase: str, done: float, total: float) -> None:
        self._progress.put_nowait(Progress(phase=phase, done=done, total=total))

    def _messages(self, found: Found, total: float) -> list[Message]:
        def said(exclusive: bool) -> list[Turn]:
            turns = sorted(found.exclusive if exclusive else found.turns)
            return [Turn(start=a, end=b, speaker=who, exclusive=exclusive) for a, b, who in turns]

        done = Done(
            duration=total,
            embeddings={speaker: vector.tolist() for speaker, vector in found.vectors.items()},
            timings=Timings(queue=self._queue_s, model=self._model_s),
        )
        return [*said(False), *said(True), done]


def named(found: Found, known: Mapping[str, Vector], same: float) -> Found:
    """Known voices by their names; others as they were, but never by a name that is known."""
    recognised = recognise(found.vectors, known, same)
    free = labels({*known, *found.seconds()})
    names = {
        speaker: recognised.get(speaker) or (next(free) if speaker in known else speaker)
        for speaker in found.seconds()
    }
    return found.renamed(names)
