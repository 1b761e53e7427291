"""Speech to text without a gateway: decoding, speech detection and NeMo's batch in one process.

    python -m tools.bench.audio_pipeline MODEL [--cut-at-pause-s S] [--batch-audio-s S]

Reads one JSON object a line, answers with one a line; says `{"ready": true}` first. What it calls
is what the gateway calls (decoder, detector, cutter, model); what it lacks is all that is between:
no HTTP, no spool, no other process, no queue.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import sys
import time
from collections.abc import AsyncIterator, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from backend.app.audio.decode_child import rehearse
from backend.app.audio.decoding import Nobody, Sink, decode
from backend.app.workers.batching import Batcher, Limits
from backend.app.workers.canary import policy_of
from backend.app.workers.canary_job import BLOCK, Tools, transcribe
from backend.app.workers.canary_model import CanaryModel, Reading, Utterance, find_checkpoint
from backend.app.workers.cutting import Cutter
from backend.app.workers.protocol import SAMPLE_BYTES, SAMPLE_RATE, TranscribeParams
from backend.app.workers.vad import Detector, Silero

HEAD_BYTES = 1 << 20
LIMIT = 24 * 3600 * SAMPLE_RATE
CHUNK_S = 40.0


class Pipeline:
    def __init__(self, path: Path, pause_s: float | None, limits: Limits) -> None:
        import torch

        self._path = path
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._model = CanaryModel(path, self._device, lambda phase, detail: None)
        self._silero = Silero()
        self._policy = policy_of(CHUNK_S, pause_s)
        self._limits = limits
        self._threads = ThreadPoolExecutor(os.cpu_count())
        self._nemo: Any = None
        rehearse()

    def do(self, what: str, asked: dict[str, Any]) -> dict[str, Any]:
        if what == "files":
            return self.files(**asked)
        if what == "model":
            return self.model(**asked)
        return asyncio.run(self.waits(**asked))

    # ---- the pipeline -----------------------------------------------------------------------

    def files(
        self, paths: Sequence[str], languages: Sequence[str], clients: int, *, times: bool
    ) -> dict[str, Any]:
        """All files, `clients` at a time: decoded in threads, then one batch of their chunks."""
        texts: list[str] = []
        spent = {"decode": 0.0, "vad": 0.0, "model": 0.0}
        started = time.perf_counter()
        for at in range(0, len(paths), clients):
            wave = range(at, min(at + clients, len(paths)))
            heard = list(self._threads.map(self._hear, (paths[n] for n in wave)))
            items, owners = [], []
            for n, (chunks, decode_s, vad_s) in zip(wave, heard, strict=True):
                spent["decode"] += decode_s
                spent["vad"] += vad_s
                items += [Utterance(pcm, languages[n], languages[n], True) for pcm in chunks]
                owners += [n] * len(chunks)
            before = time.perf_counter()
            said = self._decode(items, times)
            spent["model"] += time.perf_counter() - before
            for n in wave:
                own = (text for text, owner in zip(said, owners, strict=True) if owner == n)
                texts.append(" ".join(text for text in own if text))
        return {"seconds": time.perf_counter() - started, "texts": texts, "stages": spent}

    def _hear(self, path: str) -> tuple[list[bytes], float, float]:
        started = time.perf_counter()
        pcm = _pcm(path)
        decoded = time.perf_counter()
        chunks = self._chunks(pcm)
        return chunks, decoded - started, time.perf_counter() - decoded

    def _chunks(self, pcm: bytes) -> list[bytes]:
        detector, cutter = Detector(self._silero), Cutter(self._policy)
        found = []
        for at in range(0, len(pcm), BLOCK):
            heard = detector.push(pcm[at : at + BLOCK])
            found += cutter.push(heard.ended, heard.known, heard.open_start, heard.loudness)
        found += cutter.finish(detector.finish(), len(pcm) // SAMPLE_BYTES)
        return [pcm[c.start * SAMPLE_BYTES : c.end * SAMPLE_BYTES] for c in found if c.speech]

    def _decode(self, items: Sequence[Utterance], times: bool) -> list[str]:
        said: list[str] = []
        batch: list[Utterance] = []
        for item in items:
            longest = max(len(one.pcm) for one in (*batch, item)) / SAMPLE_BYTES / SAMPLE_RATE
            full = longest * (len(batch) + 1) > self._limits.audio_s
            if batch and (full or len(batch) == self._limits.items):
                said += [reading.text for reading in self._model(times, batch)]
                batch = []
            batch.append(item)
        if batch:
            said += [reading.text for reading in self._model(times, batch)]
        return said

    # ---- the model by itself ----------------------------------------------------------------

    def model(self, path: str, language: str, count: int) -> dict[str, float]:
        """Seconds for `count` copies of a file's first chunk: one by one and as one batch by the
        worker's class, and as one batch by NeMo's own method, on a model that nobody touched."""
        import numpy as np

        pcm = self._chunks(_pcm(path))[0]
        items = [Utterance(pcm, language, language, True)] * count
        signals = [np.frombuffer(pcm, "<i2").astype(np.float32) / 32768] * count
        if self._nemo is None:
            from nemo.collections.asr.models import ASRModel

            checkpoint = str(find_checkpoint(self._path))
            self._nemo = ASRModel.restore_from(checkpoint, map_location=self._device).eval()
        found = {}
        started = time.perf_counter()
        alone = [self._model(False, [item])[0].text for item in items]
        found["one_by_one"] = time.perf_counter() - started
        started = time.perf_counter()
        together = [reading.text for reading in self._model(False, items)]
        found["batch"] = time.perf_counter() - started
        started = time.perf_counter()
        hypotheses = self._nemo.transcribe(
            signals,
            batch_size=count,
            source_lang=language,
            target_lang=language,
            pnc="yes",
            verbose=False,
        )
        found["nemo"] = time.perf_counter() - started
        texts = {*alone, *together, *(one.text.strip() for one in hypotheses)}
        if len(texts) > 1:
            raise ValueError(f"not the same text: {texts}")
        return found

    # ---- fairness ---------------------------------------------------------------------------

    async def waits(self, long: str, clip: str, count: int) -> dict[str, Any]:
        """Beside an endless recording, in the worker's own code: how many batches `count` clips,
        sent now and then, have to wait for, the one that runs when they arrive included."""
        served: dict[int, int] = {}
        started = running = 0
        sizes: list[int] = []

        def decode_batch(key: Hashable, items: Sequence[Utterance]) -> list[Reading]:
            nonlocal started, running
            started, running = started + 1, 1
            sizes.append(len(items))
            served.update({id(item): started for item in items})
            found = self._model(bool(key), items)
            running = 0
            return found

        body, sentence = _pcm(long), self._chunks(_pcm(clip))[0]

        async def endless() -> AsyncIterator[bytes]:
            while True:
                yield body

        waited: list[int] = []
        dice = random.Random(1)
        async with Batcher(decode_batch, self._limits) as batcher:
            tools = Tools(batcher, self._silero, self._threads, self._policy, self._model.languages)
            first = asyncio.Event()

            async def listen() -> None:
                params = TranscribeParams(source="en", timestamps=False)
                async with contextlib.aclosing(transcribe(params, tools, endless())) as messages:
                    async for _ in messages:
                        first.set()

            beside = asyncio.create_task(listen())
            arrival = asyncio.create_task(first.wait())
            await asyncio.wait({beside, arrival}, return_when=asyncio.FIRST_COMPLETED)
            if beside.done():
                beside.result()
            for _ in range(count):
                await asyncio.sleep(dice.random())
                item = Utterance(sentence, "en", "en", True)
                ticket = batcher.ticket()
                at, busy = started, running
                await ticket.decode(False, item, len(sentence) / SAMPLE_BYTES / SAMPLE_RATE)
                ticket.close()
                waited.append(served[id(item)] - at - 1 + busy)
            beside.cancel()
            await asyncio.gather(beside, return_exceptions=True)
        return {"batches": waited, "items": sizes}


def _pcm(path: str) -> bytes:
    with open(path, "rb", buffering=0) as upload:
        head = upload.read(HEAD_BYTES)
        upload.seek(0)
        pcm = os.memfd_create("pcm")
        try:
            report = decode(upload, head, Sink(pcm, LIMIT, Nobody()))
            return os.pread(pcm, int(report["done"]) * SAMPLE_BYTES, 0)
        finally:
            os.close(pcm)


def main() -> None:
    cli = argparse.ArgumentParser(prog="audio_pipeline")
    cli.add_argument("model", type=Path)
    cli.add_argument("--cut-at-pause-s", type=float)
    cli.add_argument("--batch-audio-s", type=float, default=Limits.audio_s)
    options = cli.parse_args()
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)  # what libraries print is no answer
        limits = Limits(audio_s=options.batch_audio_s)
        pipeline = Pipeline(options.model, options.cut_at_pause_s, limits)
        print(json.dumps({"ready": True}), file=answers, flush=True)
        for line in sys.stdin:
            asked = json.loads(line)
            found = pipeline.do(asked.pop("do"), asked)
            print(json.dumps(found), file=answers, flush=True)


if __name__ == "__main__":
    main()
