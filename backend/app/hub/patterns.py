"""Which files of a repository each kind of model needs."""

from __future__ import annotations

from backend.app.workers.hub_layout import Want

_NOT_OURS = ("original/*", "onnx/*", "openvino/*", "gguf/*", ".*")
"""The same weights again, in formats that no engine here reads; and git's own files."""

PIPELINE_PARTS = {
    "pyannote/speaker-diarization-3.1": (
        "pyannote/segmentation-3.0",
        "pyannote/wespeaker-voxceleb-resnet34-LM",
        "pyannote/speaker-diarization-community-1",
    ),
}
"""What well-known pipelines refer to, for those who ask before the first download."""


def chat(repo: str, revision: str | None = None) -> Want:
    """What vLLM reads: configuration, tokenizer, templates, safetensors."""
    return Want(
        repo,
        revision,
        allow=(
            "*.json",
            "*.safetensors",
            "*.txt",
            "*.jinja",
            "*.model",
            "tokenizer*",
            "*.tiktoken",
        ),
        ignore=_NOT_OURS,
        required=("config.json", "*.safetensors"),
    )


def nemo(repo: str, revision: str | None = None) -> Want:
    """One archive holds all of a NeMo model."""
    return Want(
        repo, revision, allow=("*.nemo", "*.json", "*.yaml"), ignore=(".*",), required=("*.nemo",)
    )


def pyannote(repo: str, revision: str | None = None) -> Want:
    """A pipeline's description and its parts, also those in other repositories."""
    return Want(
        repo,
        revision,
        allow=("*.yaml", "*.bin", "*.npz", "*.safetensors", "*.onnx", "*.ckpt"),
        ignore=(".*",),
        required=("config.yaml",),
        follow=True,
    )
