"""A client of the Pyannote worker, and what the demo recordings hold."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp

from backend.app.workers import protocol as p
from backend.app.workers.hub_layout import RepoDir
from backend.app.workers.pyannote_config import FALLBACK
from tools.bench.scores import Row
from tools.demo_models.manifest import Manifest, Recording

from .conftest import RunningWorker

DEADLINE_S = 240.0
PIECE = 65_536


@dataclass(frozen=True)
class Answer:
    turns: list[Row]
    exclusive: list[Row]
    vectors: dict[str, list[float]]

    @property
    def speakers(self) -> list[str]:
        """In order of first appearance."""
        return list(dict.fromkeys(who for *_, who in sorted(self.turns)))


@dataclass(frozen=True)
class Worker:
    """`name`: of the demo pipeline whose weights it has."""

    name: str
    process: RunningWorker

    def run(
        self, *works: Callable[[aiohttp.ClientSession], Awaitable[list[p.Message]]]
    ) -> list[list[p.Message]]:
        """All at a time, one answer for each."""

        async def main() -> list[list[p.Message]]:
            async with aiohttp.ClientSession(
                "http://worker",
                connector=aiohttp.UnixConnector(self.process.socket, limit=0),
                timeout=aiohttp.ClientTimeout(DEADLINE_S),
            ) as session:
                return list(await asyncio.gather(*(work(session) for work in works)))

        return asyncio.run(main())

    def messages(self, pcm: bytes, **params: Any) -> list[p.Message]:
        return self.run(asking(pcm, **params))[0]

    def diarize(self, pcm: bytes, **params: Any) -> Answer:
        messages = self.messages(pcm, **params)
        done = messages[-1]
        assert isinstance(done, p.Done), done
        said = [message for message in messages if isinstance(message, p.Turn)]
        turns, exclusive = (
            [(turn.start, turn.end, turn.speaker) for turn in said if turn.exclusive is kind]
            for kind in (False, True)
        )
        assert turns == sorted(turns)
        assert exclusive == sorted(exclusive)
        assert all(a[1] <= b[0] for a, b in pairwise(exclusive))
        return Answer(turns, exclusive, done.embeddings)


async def pieces(pcm: bytes) -> AsyncIterator[bytes]:
    """A body of unknown length."""
    for at in range(0, len(pcm), PIECE):
        yield pcm[at : at + PIECE]


def asking(
    pcm: bytes, **params: Any
) -> Callable[[aiohttp.ClientSession], Awaitable[list[p.Message]]]:
    async def work(session: aiohttp.ClientSession) -> list[p.Message]:
        headers = {p.PARAMS_HEADER: p.encode_params(p.DiarizeParams(**params))}
        async with session.post("/diarize", data=pieces(pcm), headers=headers) as answer:
            return list(p.Lines().feed(await answer.read()))

    return work


def hub_cache(pipeline: Path, cache: Path) -> Path:
    """The demo pipeline spread over repositories, as the published 3.1 is. Returns its snapshot."""
    commit = "0123456789" * 4
    parts = {"demo/segmentation": "segmentation", "demo/embedding": "embedding", FALLBACK: "plda"}
    for repo, part in parts.items():
        directory = RepoDir(cache, repo)
        place = directory.snapshot(commit) / ("plda" if repo == FALLBACK else "")
        place.mkdir(parents=True)
        for file in (pipeline / part).iterdir():
            (place / file.name).symlink_to(file)
        directory.ref(None).parent.mkdir()
        directory.ref(None).write_text(commit)
    lines = (pipeline / "config.yaml").read_text().splitlines()
    lines = [line.replace("$model/", "demo/") for line in lines if "plda:" not in line]
    main = RepoDir(cache, "demo/diarization").snapshot(commit)
    main.mkdir(parents=True)
    (main / "config.yaml").write_text("\n".join(lines))
    return main


def until(turns: Sequence[Row], length: float) -> list[Row]:
    """In order of time, and no later than the recording: pyannote may hear someone go on in the
    silence with which it fills the last stretch up."""
    return sorted((a, min(b, length), who) for a, b, who in turns if a < length)


def dialogue(manifest: Manifest, name: str) -> Recording:
    return next(r for r in manifest.speech.recordings if name in r.file)


def cut(pcm: bytes, start: float, end: float) -> bytes:
    return pcm[round(start * p.SAMPLE_RATE) * 2 : round(end * p.SAMPLE_RATE) * 2]


def voices(manifest: Manifest, pcm: dict[str, bytes], *names: str) -> dict[str, bytes]:
    """A sample of each of these from the dialogue of two, of the seconds that OpenAI asks for."""
    recording = dialogue(manifest, "dialogue-two")
    turns, body = recording.times, pcm[recording.file]
    return {
        name: b"".join(cut(body, a, b) for a, b, who in turns if who == name)[: 8 * 32_000]
        for name in names
    }


def with_voices(samples: dict[str, bytes], body: bytes) -> dict[str, Any]:
    references = tuple(p.Reference(name=n, samples=len(b) // 2) for n, b in samples.items())
    return {"pcm": b"".join(samples.values()) + body, "references": references}


def repeated(
    manifest: Manifest, pcm: dict[str, bytes], names: Sequence[str]
) -> tuple[bytes, list[Row]]:
    """Recordings one after the other, with the truth about all of it."""
    body, truth = b"", list[Row]()
    for name in names:
        recording = dialogue(manifest, name)
        at = len(body) / 32_000
        truth += [(at + a, at + b, who) for a, b, who in recording.times]
        body += pcm[recording.file]
    return body, truth
