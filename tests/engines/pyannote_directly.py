"""What pyannote.audio answers by itself: python -m tests.engines.pyannote_directly DIR < jobs.

Jobs are [[name, file of s16le samples, {arguments of the pipeline}], …]; the last line printed is
{name: [turns, exclusive turns, {speaker: vector}]}, a turn being [start, end, speaker].
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pyannote.audio import Pipeline


def main() -> None:
    torch.set_num_threads(1)
    pipeline: Any = Pipeline.from_pretrained(sys.argv[1])
    answers = {}
    for name, path, arguments in json.load(sys.stdin):
        samples = np.frombuffer(Path(path).read_bytes(), "<i2").astype(np.float32) / 32768
        file = {"waveform": torch.from_numpy(samples)[None], "sample_rate": 16000, "uri": name}
        found = pipeline(file, **arguments)
        turns, exclusive = (
            [
                [segment.start, segment.end, who]
                for segment, _, who in one.itertracks(yield_label=True)
            ]
            for one in (found.speaker_diarization, found.exclusive_speaker_diarization)
        )
        labels = found.speaker_diarization.labels()
        vectors = dict(zip(labels, found.speaker_embeddings.tolist(), strict=True))
        answers[name] = [turns, exclusive, vectors]
    print(json.dumps(answers))


if __name__ == "__main__":
    main()
