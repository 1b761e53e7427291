"""The command line: vLLM's flags that matter here, and the misbehaviour asked for."""

from __future__ import annotations

import argparse
from collections.abc import Sequence


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """vLLM's other flags are accepted and ignored; an unknown `--fake-…` ends with status 2."""
    cli = argparse.ArgumentParser(prog="api_server", allow_abbrev=False)
    cli.add_argument("--model", required=True)
    cli.add_argument("--uds", required=True)
    cli.add_argument("--served-model-name", nargs="+")
    cli.add_argument("--max-model-len", type=int, default=0, help="in words; 0: no limit")
    cli.add_argument("--shutdown-timeout", type=float, default=0)
    cli.add_argument("--runner", default="generate", help="pooling: embeddings, and no text")

    fake = cli.add_argument_group("fake")
    flag = fake.add_argument
    flag("--fake-load-s", type=float, default=0.2, help="from start to listening")
    flag("--fake-kv-gib", type=float, help="says that it keeps so much for its cache")
    flag("--fake-never-ready", action="store_true", help="listens, but /health stays 503")
    flag("--fake-exit-at-start", type=int, metavar="CODE")
    flag("--fake-exit-after-s", type=float, metavar="S", help="after listening")
    flag("--fake-exit-code", type=int, default=0, help="for --fake-exit-after-s")
    flag("--fake-tps", type=float, default=0, help="tokens per second per request; 0: unlimited")
    flag("--fake-burst", type=int, default=1, help="tokens per pass of the loop when unlimited")
    flag("--fake-ttft-s", type=float, default=0, help="wait before the first token")
    flag("--fake-tokens", type=int, default=8, help="least answer length without max_tokens")
    flag("--fake-500-on", metavar="TEXT", help="a prompt with TEXT: 500, connection dropped")
    flag("--fake-unclosed-stream", action="store_true", help="streams lack their last event")
    flag("--fake-crash-after-requests", type=int, metavar="N", help="SIGKILL in the Nth stream")
    flag("--fake-half-frame", action="store_true", help="that stream is cut within a frame")
    flag("--fake-stop-mid-stream", type=int, metavar="N", help="SIGSTOP in the Nth stream")
    flag("--fake-hang-after-requests", type=int, metavar="N", help="then accepts, never answers")
    flag("--fake-keep-responses", action="store_true", help="answer for them by id")
    flag("--fake-ignore-term", action="store_true")
    flag("--fake-slow-term-s", type=float, default=0, help="from SIGTERM to exit, at least")
    flag("--fake-spawn-orphan", action="store_true", help="a child in its own session, TERM-proof")

    options, rest = cli.parse_known_args(argv)
    unknown = [word for word in rest if word.startswith("--fake-")]
    if unknown:
        cli.error(f"unknown: {' '.join(unknown)}")
    options.served_model_name = options.served_model_name or [options.model]
    return options
