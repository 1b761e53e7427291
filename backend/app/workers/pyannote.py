"""The Pyannote engine: python -m backend.app.workers.pyannote --model DIR --uds SOCKET.

`--model` is a directory with a pipeline's config.yaml. Listens at once, is ready when it has
diarized a second of audio. See `protocol.py` for what it speaks.
"""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

# before anything reads them: no telemetry, no look at the Hub, and on a CPU one thread of two that
# would otherwise stall each other
os.environ["PYANNOTE_METRICS_ENABLED"] = "0"
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from . import shell
from .protocol import (
    SAMPLE_BYTES,
    SAMPLE_RATE,
    DiarizeParams,
    Health,
    Message,
    decode_params,
)
from .pyannote_job import Policy, Tools, diarize, probe
from .pyannote_model import PyannoteModel
from .pyannote_queue import ModelThread


class Pyannote:
    """One pipeline, one thread for it."""

    route = "/diarize"

    def __init__(self, directory: Path, cache: Path, device: str, policy: Policy) -> None:
        self._where = directory, cache, device
        self._policy = policy
        self._thread = ModelThread()
        self._tools: Tools | None = None

    def load(self, phase: shell.Phase) -> None:
        model = PyannoteModel(*self._where, phase)
        phase("warm-up", "one second of audio")
        model.probe(bytes(SAMPLE_RATE * SAMPLE_BYTES), lambda *_: None)
        self._tools = Tools(model, self._thread, self._policy)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        yield

    async def answer(
        self, params: str, body: AsyncIterator[bytes]
    ) -> AsyncGenerator[Message, None]:
        assert self._tools is not None
        wanted = decode_params(params, DiarizeParams)
        tools = self._tools
        found = probe(tools, body) if wanted.probe else diarize(wanted, tools, body)
        async with contextlib.aclosing(found):
            async for message in found:
                yield message

    def health(self) -> Health:
        return Health(phase="", queued=self._thread.queued)


def main() -> None:
    parser = argparse.ArgumentParser(prog="pyannote", description=__doc__)
    shell.add_model_arguments(parser, "a directory with a pipeline's config.yaml")
    parser.add_argument("--cache", type=Path, help="the Hub cache with what the pipeline refers to")
    parser.add_argument(
        "--window-s", type=float, default=900, help="longest audio that is diarized at once"
    )
    parser.add_argument(
        "--overlap-s", type=float, default=60, help="what two windows share of a longer recording"
    )
    parser.add_argument(
        "--same-voice",
        type=float,
        default=Policy.same,
        help="cosine distance up to which two voices are one, from 0 to 2",
    )
    args = parser.parse_args()
    if not 0 <= args.overlap_s <= args.window_s / 2:
        parser.error("--overlap-s: at most half of --window-s")
    longest, overlap = (round(s * SAMPLE_RATE) for s in (args.window_s, args.overlap_s))
    policy = Policy(longest, overlap, args.same_voice)
    cache = args.cache or args.model.parent
    shell.serve(Pyannote(args.model, cache, args.device, policy), args)


if __name__ == "__main__":
    main()
