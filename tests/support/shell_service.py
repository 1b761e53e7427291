"""A worker without a model: python -m tests.support.shell_service --uds SOCKET [--fail REASON].

Loading takes until a line comes on stdin. The parameters say what a request does; `queued` in its
health counts the requests that were cancelled.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncGenerator, AsyncIterator

from backend.app.workers import shell
from backend.app.workers.protocol import Done, Health, Message, Progress


class Counting:
    route = "/transcribe"

    def __init__(self, reason: str | None) -> None:
        self._reason = reason
        self._cancelled = 0
        self._ran = False

    def load(self, phase: shell.Phase) -> None:
        phase("weights", "a line")
        sys.stdin.readline()
        if self._reason:
            raise ValueError(self._reason)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        self._ran = True
        yield

    async def answer(
        self, params: str, body: AsyncIterator[bytes]
    ) -> AsyncGenerator[Message, None]:
        """Tells how many bytes have come so far, each time more than `every` have; then acts."""
        asked = json.loads(params)
        if asked.get("refuse"):
            raise shell.Refused(asked["refuse"], "no", retryable=asked.get("retryable", False))
        total, told = 0, 0
        try:
            async for piece in body:
                total += len(piece)
                if total - told >= asked.get("every", 1 << 40):
                    told = total
                    yield Progress(phase="reading", done=total)
                    if asked.get("stall"):
                        await asyncio.sleep(asked["stall"])
            if asked.get("raise"):
                raise RuntimeError("secret detail")
            if asked.get("wait"):
                yield Progress(phase="waiting", done=total)
                await asyncio.sleep(asked["wait"])
            yield Done(duration=total)
        except (asyncio.CancelledError, GeneratorExit):
            self._cancelled += 1
            raise

    def health(self) -> Health:
        assert self._ran
        return Health(phase="", queued=self._cancelled)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--fail")
    shell.add_listen_arguments(parser)
    arguments = parser.parse_args()
    shell.serve(Counting(arguments.fail), arguments)
