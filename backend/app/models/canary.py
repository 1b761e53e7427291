"""CanaryASRModel: speech to text by NVIDIA Canary in our own NeMo worker."""

from __future__ import annotations

from backend.app.models.worker import WorkerModel
from backend.app.workers.protocol import TranscribeParams, encode_params

DEMO_PAUSE_S = "0.4"
"""The demo model knows single sentences: its worker cuts at every pause."""


class CanaryASRModel(WorkerModel):
    worker = "canary"
    route = "/transcribe"
    probe_params = encode_params(TranscribeParams(source="en", probe=True))

    def options(self) -> list[str]:
        batch = ["--batch-audio-s", str(self.settings.batch_max_audio_s)]
        return [*batch, "--cut-at-pause-s", DEMO_PAUSE_S] if self.spec.demo else batch
