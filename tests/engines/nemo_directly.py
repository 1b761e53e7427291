"""What NeMo answers by itself: python -m tests.engines.nemo_directly MODEL < jobs > answers.

Jobs are [[name, file of s16le samples, source, target, pnc], …]; answers are
{name: [text, [[word, start, end], …], [[segment, start, end], …]]} on the last line.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from nemo.collections.asr.models import ASRModel


def main() -> None:
    model: Any = ASRModel.restore_from(sys.argv[1], map_location="cpu").eval()
    answers = {}
    for name, path, source, target, pnc in json.load(sys.stdin):
        audio = np.frombuffer(Path(path).read_bytes(), "<i2").astype(np.float32) / 32768
        # twice: for a single array NeMo takes its own way of cutting and merging
        hypothesis = model.transcribe(
            [audio, audio],
            batch_size=2,
            source_lang=source,
            target_lang=target,
            pnc="yes" if pnc else "no",
            timestamps=True,
            verbose=False,
        )[0]
        times = hypothesis.timestamp
        words = [[w["word"], w["start"], w["end"]] for w in times["word"]]
        segments = [[s["segment"], s["start"], s["end"]] for s in times["segment"]]
        answers[name] = [hypothesis.text, words, segments]
    print(json.dumps(answers))


if __name__ == "__main__":
    main()
