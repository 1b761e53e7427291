"""From an upload to a transcript: decode once, let the engines listen, put together what they say.

    upload ──decode──▶ PCM in a spool file ──┬──▶ Canary    ──segments──▶ ┐
                                             ├──▶ Pyannote  ──turns─────▶ ├─ align ─▶ Transcript
                                             └──▶ outline of the waveform ┘

All three read the file at the same time, each at its own pace, in slices: memory does not grow with
the recording. A transcript is not lost because its speakers are: then it carries a warning. But a
known speaker's sample that is no sample is the caller's mistake, and is refused.
Whoever stops listening (a client that leaves) cancels it all.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from backend.app.audio.align import align, label, reletter
from backend.app.audio.decode import Decoder, Recording
from backend.app.audio.peaks import Peaks
from backend.app.audio.spool import Spool, SpoolFile
from backend.app.audio.transcript import (
    Coverage,
    Diarization,
    Notice,
    Segment,
    Token,
    Transcript,
    Turn,
    Word,
)
from backend.app.errors import GatewayError, InvalidRequest
from backend.app.services.transcription_ask import Ask, KnownSpeaker, Speakers
from backend.app.services.transcription_wire import Registry, converse
from backend.app.workers import protocol

log = logging.getLogger(__name__)

SHORTEST_VOICE_S = 2.0
"""Of a known speaker's sample; OpenAI's contract. Longer than its 10 s is welcome."""
VOICES = "known_speaker_references"
_T = TypeVar("_T")


class TranscriptionService:
    """For use by one event loop."""

    def __init__(
        self,
        registry: Registry,
        spool: Spool,
        decoder: Decoder,
        *,
        idle_s: float,
    ) -> None:
        """`idle_s`: how long an engine may be silent in the middle of a request."""
        self.spool = spool
        self._registry = registry
        self._decoder = decoder
        self._idle_s = idle_s

    async def transcribe(self, upload: SpoolFile, ask: Ask) -> Transcript:
        """The finished transcript. Raises GatewayError."""
        async with aclosing(self.events(upload, ask)) as events:
            async for event in events:
                if isinstance(event, Transcript):
                    return event
        raise AssertionError("events() ends with a transcript")

    async def events(
        self, upload: SpoolFile, ask: Ask
    ) -> AsyncGenerator[Segment | Transcript, None]:
        """Segments as they are recognised, without speakers; at last the transcript.

        The texts of the segments joined by spaces are the text of the transcript. `upload` is
        closed as soon as it is decoded.
        """
        sources = ask.sources()
        async with AsyncExitStack() as stack:
            started = time.monotonic()
            voices = await self._voices(ask.speakers.known, stack) if ask.diarize else []
            recording = await stack.enter_async_context(self._decoder.recording(upload))
            upload.close()
            decoded_s = time.monotonic() - started
            speakers = outline = None
            if ask.diarize:
                job = self._diarize_or_why(recording, ask.speakers, voices)
                speakers = await stack.enter_async_context(_alongside(job))
            if ask.peaks:
                job_of_peaks = _outline(recording, ask.peaks)
                outline = await stack.enter_async_context(_alongside(job_of_peaks))
            segments = []
            done = protocol.Done(duration=recording.duration)
            async with aclosing(self._recognise(recording, ask, sources)) as messages:
                async for message in messages:
                    if isinstance(message, protocol.Segment):
                        segments.append(_segment(message))
                        yield segments[-1]
                    elif isinstance(message, protocol.Done):
                        done = message
                    if speakers is not None and speakers.done():
                        speakers.result()  # a mistake is told as soon as it is known
            transcript = _transcript(recording, ask, segments, done, decoded_s)
            if speakers is not None:
                names = [known.name for known in ask.speakers.known]
                found = await speakers
                transcript = await asyncio.to_thread(_with_speakers, transcript, found, names)
            if outline is not None:
                transcript = replace(transcript, peaks=await outline)
            yield transcript

    async def diarize(self, upload: SpoolFile, speakers: Speakers) -> Diarization:
        """Who spoke when. Raises GatewayError: here there is nothing to fall back on."""
        async with AsyncExitStack() as stack:
            voices = await self._voices(speakers.known, stack)
            recording = await stack.enter_async_context(self._decoder.recording(upload))
            upload.close()
            diarization = await self._diarize(recording, speakers, voices)
            return replace(diarization, warnings=recording.warnings + diarization.warnings)

    # ---- the engines ------------------------------------------------------------------------

    async def _recognise(
        self, recording: Recording, ask: Ask, sources: tuple[str, ...]
    ) -> AsyncGenerator[protocol.Message, None]:
        params = protocol.TranscribeParams(
            source=sources[0] if len(sources) == 1 else None,
            target=ask.target,
            candidates=sources if len(sources) > 1 else (),
            pnc=ask.pnc,
            timestamps=ask.timestamps,
            logprobs=ask.logprobs,
            samples=recording.samples,
        )
        talk = converse(
            self._registry, ask.model, "/transcribe", params, recording.pcm.slices, self._idle_s
        )
        async with aclosing(talk) as messages:
            async for message in messages:
                yield message

    async def _diarize_or_why(
        self, recording: Recording, speakers: Speakers, voices: Sequence[Recording]
    ) -> Diarization | Notice:
        try:
            return await self._diarize(recording, speakers, voices)
        except GatewayError as exc:
            if isinstance(exc, InvalidRequest) and exc.param == VOICES:
                raise
            reason = exc.message
        except Exception:
            log.exception("diarization failed unexpectedly")
            reason = "an unexpected error, which the log has."
        return Notice("diarization_failed", f"The speakers could not be told apart: {reason}")

    async def _diarize(
        self, recording: Recording, speakers: Speakers, voices: Sequence[Recording]
    ) -> Diarization:
        names = [known.name for known in speakers.known]
        params = protocol.DiarizeParams(
            num_speakers=speakers.exactly,
            min_speakers=speakers.at_least,
            max_speakers=speakers.at_most,
            references=tuple(
                protocol.Reference(name=name, samples=voice.samples)
                for name, voice in zip(names, voices, strict=True)
            ),
            samples=recording.samples,
        )
        turns: list[Turn] = []
        exclusive: list[Turn] = []
        pcm = partial(_one_after_the_other, [*voices, recording])
        talk = converse(self._registry, speakers.model, "/diarize", params, pcm, self._idle_s)
        try:
            async with aclosing(talk) as messages:
                async for message in messages:
                    if isinstance(message, protocol.Turn):
                        turn = Turn(message.start, message.end, message.speaker)
                        (exclusive if message.exclusive else turns).append(turn)
        except InvalidRequest as exc:
            if exc.code == "bad_audio" and names:  # the recording itself is our own PCM
                exc.param = VOICES
            raise
        warnings = tuple(_miscounted(speakers, len({turn.speaker for turn in turns})))
        return Diarization(recording.duration, *label(turns, exclusive, names), warnings)

    async def _voices(
        self, known: Sequence[KnownSpeaker], stack: AsyncExitStack
    ) -> list[Recording]:
        """The samples of known speakers, decoded; they last as long as `stack`."""
        voices = []
        for number, speaker in enumerate(known):
            param = f"{VOICES}[{number}]"
            opened = self._decoder.recording(speaker.audio, param)
            voice = await stack.enter_async_context(opened)
            speaker.audio.close()
            if voice.duration < SHORTEST_VOICE_S:
                raise InvalidRequest(
                    f"The sample of '{speaker.name}' has {voice.duration:.1f} s;"
                    f" at least {SHORTEST_VOICE_S:g} s are needed.",
                    param=param,
                )
            voices.append(voice)
        return voices


@contextlib.asynccontextmanager
async def _alongside(work: Coroutine[Any, Any, _T]) -> AsyncIterator[asyncio.Task[_T]]:
    """A task that has ended when the block is left, whether it was finished or not."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _outline(recording: Recording, columns: int) -> dict[str, Any]:
    peaks = Peaks(recording.samples, columns)
    async for data in recording.pcm.slices():
        await asyncio.to_thread(peaks.feed, data)
    return peaks.result()


async def _one_after_the_other(recordings: Sequence[Recording]) -> AsyncIterator[bytes]:
    for recording in recordings:
        async for data in recording.pcm.slices():
            yield data


# ---- putting together -------------------------------------------------------------------------


def _segment(heard: protocol.Segment) -> Segment:
    return Segment(
        start=heard.start,
        end=heard.end,
        text=heard.text,
        language=heard.language,
        words=tuple(Word(w.start, w.end, w.word, w.confidence) for w in heard.words),
        logprob=heard.logprob,
        tokens=tuple(Token(token.token, token.logprob) for token in heard.tokens),
    )


def _transcript(
    recording: Recording,
    ask: Ask,
    segments: Sequence[Segment],
    done: protocol.Done,
    decoded_s: float,
) -> Transcript:
    coverage = None
    warnings = recording.warnings
    if done.coverage is not None:
        gaps = tuple((gap.start, gap.end) for gap in done.coverage.gaps)
        coverage = Coverage(done.coverage.speech_seconds, done.coverage.decoded_seconds, gaps)
        if gaps:
            warnings += (_gap_notice(gaps),)
    timings = {"decode": decoded_s}
    if done.timings is not None:
        timings |= {
            "vad": done.timings.vad,
            "queue": done.timings.queue,
            "model": done.timings.model,
        }
    return Transcript(
        duration=recording.duration,
        text=" ".join(segment.text for segment in segments),
        segments=tuple(segments),
        task=ask.task,
        language=done.language,
        language_margin=done.language_margin,
        target=ask.target or done.language,
        coverage=coverage,
        warnings=warnings,
        timings=timings,
    )


def _gap_notice(gaps: Sequence[tuple[float, float]]) -> Notice:
    seconds = sum(end - start for start, end in gaps)
    first = f"{gaps[0][0]:.1f} s to {gaps[0][1]:.1f} s"
    more = f" and {len(gaps) - 1} more" if len(gaps) > 1 else ""
    return Notice(
        "speech_not_recognised",
        f"{seconds:.1f} s of speech gave no text that can be believed: {first}{more}.",
    )


def _miscounted(asked: Speakers, found: int) -> Iterator[Notice]:
    """Said when not as many could be told apart as the caller said."""
    wanted = None
    if asked.exactly is not None and found != asked.exactly:
        wanted = f"{asked.exactly} speakers were"
    elif asked.at_least is not None and found < asked.at_least:
        wanted = f"At least {asked.at_least} speakers were"
    elif asked.at_most is not None and found > asked.at_most:
        wanted = f"At most {asked.at_most} speakers were"
    if wanted is not None:
        yield Notice("speakers_not_as_asked", f"{wanted} asked for; {found} could be told apart.")


def _with_speakers(
    transcript: Transcript, found: Diarization | Notice, known: Sequence[str]
) -> Transcript:
    if isinstance(found, Notice):
        return replace(transcript, warnings=(*transcript.warnings, found))
    return replace(
        transcript,
        segments=reletter(align(transcript.segments, found), known),
        diarized=True,
        warnings=transcript.warnings + found.warnings,
    )
