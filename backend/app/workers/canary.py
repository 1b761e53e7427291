"""The Canary engine: python -m backend.app.workers.canary --model PATH --uds SOCKET.

`--model` is a .nemo file or a directory that holds one. Listens at once, is ready when it has
transcribed a second of audio. See `protocol.py` for what it speaks.
"""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import AsyncGenerator, AsyncIterator, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# before anything reads them: no look at the Hub, and on a CPU one thread of two that would
# otherwise stall each other (142 ms a step instead of 399 to 1598)
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from . import shell
from .allocator import Trimmer
from .batching import Batcher, Limits
from .canary_job import Tools, check, probe, transcribe
from .canary_model import CanaryModel, Reading, Utterance
from .cutting import Policy
from .protocol import (
    SAMPLE_BYTES,
    SAMPLE_RATE,
    Health,
    Message,
    TranscribeParams,
    decode_params,
)
from .vad import Detector, Silero


class Canary:
    """One model, one batcher."""

    route = "/transcribe"

    def __init__(self, path: Path, device: str, limits: Limits, policy: Policy) -> None:
        self._path = path
        self._device = device
        self._policy = policy
        self._batcher: Batcher[Utterance, Reading] = Batcher(self._decode, limits)
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="vad")
        self._trim = Trimmer()
        self._model: CanaryModel | None = None
        self._tools: Tools | None = None

    def load(self, phase: shell.Phase) -> None:
        model = CanaryModel(self._path, self._device, phase)
        phase("warm-up", "one second of audio")
        self._model = model
        silero = Silero()
        second = bytes(SAMPLE_RATE * SAMPLE_BYTES)
        Detector(silero).push(second)
        language = model.languages[0] if model.languages else "en"
        for timestamps in (False, True):
            model(timestamps, [Utterance(second, language, language, True)])
        self._tools = Tools(self._batcher, silero, self._threads, self._policy, model.languages)

    def _decode(self, key: Hashable, items: Sequence[Utterance]) -> Sequence[Reading]:
        assert self._model is not None
        readings = self._model(bool(key), items)
        self._trim()
        return readings

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with self._batcher:
            yield

    async def answer(
        self, params: str, body: AsyncIterator[bytes]
    ) -> AsyncGenerator[Message, None]:
        assert self._tools is not None
        wanted = decode_params(params, TranscribeParams)
        check(wanted, self._tools.languages)
        tools = self._tools
        found = probe(wanted, tools, body) if wanted.probe else transcribe(wanted, tools, body)
        async with contextlib.aclosing(found):
            async for message in found:
                yield message

    def health(self) -> Health:
        languages = self._model.languages if self._model else ()
        return Health(phase="", languages=languages, queued=self._batcher.queued)


def policy_of(longest_s: float, pause_s: float | None) -> Policy:
    """Without `pause_s`, a recording that fits is never cut; with it, each such pause cuts."""
    longest = round(longest_s * SAMPLE_RATE)
    if pause_s is None:
        return Policy(longest=longest)
    pause = round(pause_s * SAMPLE_RATE)
    skip = max(SAMPLE_RATE, pause + 1)
    return Policy(longest=longest, pause=pause, skip=skip, margin=pause // 2, whole=False)


def main() -> None:
    parser = argparse.ArgumentParser(prog="canary", description=__doc__)
    shell.add_model_arguments(parser, "a .nemo file, or a directory that holds one")
    parser.add_argument("--batch-items", type=int, default=Limits.items)
    parser.add_argument("--batch-audio-s", type=float, default=Limits.audio_s)
    parser.add_argument("--batch-wait-ms", type=float, default=Limits.wait_s * 1000)
    parser.add_argument(
        "--max-chunk-s", type=float, default=40.0, help="longest audio the model is given"
    )
    parser.add_argument(
        "--cut-at-pause-s",
        type=float,
        help="cut at every pause so long, even what would fit: for a model of single sentences",
    )
    args = parser.parse_args()
    if not 2 <= args.max_chunk_s <= 40:
        parser.error("--max-chunk-s: from 2 to 40; beyond 40 s Canary omits words")
    limits = Limits(args.batch_items, args.batch_audio_s, args.batch_wait_ms / 1000)
    policy = policy_of(args.max_chunk_s, args.cut_at_pause_s)
    shell.serve(Canary(args.model, args.device, limits, policy), args)


if __name__ == "__main__":
    main()
