"""PyannoteDiarizationModel: who spoke when, by a pyannote pipeline in our own worker."""

from __future__ import annotations

from backend.app.directories import usable_cache_dir
from backend.app.models.worker import WorkerModel
from backend.app.workers.protocol import DiarizeParams, encode_params

DEMO_SAME_VOICE = "0.12"
"""Samples of one demo voice are at most 0.11 apart, those of two at least 0.12: Claire and Emma are
the nearest (`python -m tools.bench.speakers --only curve`)."""


class PyannoteDiarizationModel(WorkerModel):
    worker = "pyannote"
    route = "/diarize"
    probe_params = encode_params(DiarizeParams(probe=True))

    def options(self) -> list[str]:
        """Where the repositories are to which the pipeline refers; how near voices are the same."""
        cache = ["--cache", str(usable_cache_dir(self.settings)[0])]
        return [*cache, "--same-voice", DEMO_SAME_VOICE] if self.spec.demo else cache
