"""python -m tools.demo_models {qwen,canary,pyannote,all} [--check]

Makes demo models in `demo/` from nothing, or checks those that are there against the manifest with
the engines' own libraries. Making needs espeak-ng for the speech; checking does not.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import time

from .manifest import Manifest, load

MODELS = ("qwen", "canary", "pyannote")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.demo_models", description=__doc__)
    parser.add_argument("model", choices=(*MODELS, "all"))
    parser.add_argument("--check", action="store_true", help="verify what is there; make nothing")
    arguments = parser.parse_args()
    chosen = MODELS if arguments.model == "all" else (arguments.model,)
    # One thread, and no calls home: before any engine's library is imported.
    os.environ |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}
    os.environ |= {"PYANNOTE_METRICS_ENABLED": "0", "TOKENIZERS_PARALLELISM": "false"}
    manifest, misses = load(), list[str]()
    for model in chosen:
        started = time.process_time()
        if arguments.check:
            misses += check(model, manifest)
        else:
            make(model, manifest)
        print(f"{model}: {time.process_time() - started:.0f} CPU s", flush=True)
    print("\n".join(misses))
    return 1 if misses else 0


def make(model: str, manifest: Manifest) -> None:
    """Train one model and write it where the manifest says."""
    train = importlib.import_module(f"tools.demo_models.{model}.train").train
    if model == "qwen":
        train(manifest.chat, manifest.models["qwen"].where)
        return
    importlib.import_module("tools.demo_models.speech").write_recordings(manifest.speech)
    if model == "canary":
        train(manifest.speech, manifest.models["canary"].where)
    else:
        train(manifest.speech, *_pipelines(manifest))


def check(model: str, manifest: Manifest) -> list[str]:
    """What one model gets wrong."""
    verify = importlib.import_module(f"tools.demo_models.{model}.check").check
    misses: list[str]
    if model == "pyannote":
        misses = verify(manifest.speech, _pipelines(manifest))
    else:
        known = manifest.chat if model == "qwen" else manifest.speech
        misses = verify(known, manifest.models[model].where)
    return misses


def _pipelines(manifest: Manifest) -> list[object]:
    return [manifest.models[name].where for name in ("pyannote-3.1", "pyannote-community-1")]


if __name__ == "__main__":
    sys.exit(main())
