"""The demo diarization pipelines: who of the manifest's voices speaks when."""
