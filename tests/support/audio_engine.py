"""An audio engine without a model: python -m tests.support.audio_engine KIND --uds SOCKET.

It hears something each full second that is not silent: as recogniser two words, their second in the
text; as diarizer two voices that take turns. `--end raise|exit|hang` says what happens after
`--after N` of them. `queued` in its health counts requests that were broken off.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, AsyncIterator

from backend.app.workers import shell
from backend.app.workers.protocol import (
    SAMPLE_BYTES,
    SAMPLE_RATE,
    Coverage,
    DiarizeParams,
    Done,
    Health,
    Message,
    Progress,
    Segment,
    Span,
    Timings,
    Token,
    TranscribeParams,
    Turn,
    Word,
    decode_params,
)

SECOND = SAMPLE_RATE * SAMPLE_BYTES


class Fake:
    def __init__(self, kind: str, end: str | None, after: int) -> None:
        self.route = f"/{kind}"
        self._end = end
        self._after = after
        self._broken_off = 0

    def load(self, phase: shell.Phase) -> None:
        pass

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        yield

    def health(self) -> Health:
        return Health(phase="", queued=self._broken_off)

    async def answer(
        self, params: str, body: AsyncIterator[bytes]
    ) -> AsyncGenerator[Message, None]:
        answer = self._transcribe if self.route == "/transcribe" else self._diarize
        try:
            async for message in answer(params, body):
                yield message
        except (asyncio.CancelledError, GeneratorExit):
            self._broken_off += 1
            raise

    async def _misbehave(self, heard: int) -> None:
        if self._end is None or heard != self._after:
            return
        if self._end == "exit":
            os._exit(9)
        if self._end == "raise":
            raise RuntimeError("secret detail")
        await asyncio.Event().wait()

    async def _transcribe(
        self, params: str, body: AsyncIterator[bytes]
    ) -> AsyncGenerator[Message, None]:
        asked = decode_params(params, TranscribeParams)
        source = asked.source or asked.candidates[0]
        target = asked.target or source
        heard, pcm, at = 0, b"", 0
        async for piece in body:
            pcm += piece
            while len(pcm) >= SECOND:
                second, pcm = pcm[:SECOND], pcm[SECOND:]
                if any(second):
                    await self._misbehave(heard)
                    heard += 1
                    yield _said(at, target, asked)
                at += 1
                yield Progress(phase="transcribing", done=at)
        samples = at * SAMPLE_RATE + len(pcm) // SAMPLE_BYTES
        if samples != asked.samples:
            raise shell.Refused("bad_audio", f"{samples} samples came, not {asked.samples}.")
        await self._misbehave(heard)
        yield Done(
            duration=samples / SAMPLE_RATE,
            language=source if heard else None,
            language_margin=None if asked.source else 0.5,
            coverage=Coverage(speech_seconds=heard, decoded_seconds=heard, gaps=_gaps(heard)),
            timings=Timings(vad=0.1, queue=0.2, model=0.3),
        )

    async def _diarize(
        self, params: str, body: AsyncIterator[bytes]
    ) -> AsyncGenerator[Message, None]:
        asked = decode_params(params, DiarizeParams)
        heard = 0
        async for piece in body:
            heard += len(piece) // SAMPLE_BYTES
            await self._misbehave(0)
        voices = sum(reference.samples for reference in asked.references)
        if heard != voices + (asked.samples or 0):
            raise shell.Refused("bad_audio", f"{heard} samples came.")
        if any(reference.name == "Nobody" for reference in asked.references):
            raise shell.Refused("bad_audio", "Nobody speaks in the sample of 'Nobody'.")
        names = [reference.name for reference in asked.references]
        speakers = [*names, "SPEAKER_00", "SPEAKER_01"][: asked.num_speakers or 2]
        for second in range((heard - voices) // SAMPLE_RATE):
            await self._misbehave(second)
            speaker = speakers[second % len(speakers)]
            yield Turn(start=second, end=second + 1.2, speaker=speaker)
            yield Turn(start=second, end=second + 1.0, speaker=speaker, exclusive=True)
        yield Done(duration=(heard - voices) / SAMPLE_RATE)


def _said(at: int, language: str, asked: TranscribeParams) -> Segment:
    first, second = Word(start=at, end=at + 0.4, word=f"word{at}", confidence=0.9), None
    second = Word(start=at + 0.5, end=at + 0.9, word=f"said{at}.", confidence=0.8)
    words = (first, second) if asked.timestamps else ()
    tokens = (Token(token=f" word{at}", logprob=-0.1), Token(token=f" said{at}.", logprob=-0.2))
    return Segment(
        start=at,
        end=at + 0.9,
        text=f"word{at} said{at}.",
        language=language,
        words=words,
        logprob=-0.15,
        tokens=tokens if asked.logprobs else (),
    )


def _gaps(heard: int) -> tuple[Span, ...]:
    """Seven seconds of speech have one in the middle that nobody understood."""
    return (Span(start=3.0, end=3.5),) if heard == 7 else ()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=("transcribe", "diarize"))
    parser.add_argument("--end", choices=("raise", "exit", "hang"))
    parser.add_argument("--after", type=int, default=0)
    shell.add_listen_arguments(parser)
    arguments = parser.parse_args()
    shell.serve(Fake(arguments.kind, arguments.end, arguments.after), arguments)
