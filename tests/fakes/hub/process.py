"""Starts the fake Hub and tells it how to behave."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, Request, build_opener

_OPENER = build_opener(ProxyHandler({}))
NOISE_BYTES = 1 << 24
ROOT = Path(__file__).resolve().parents[3]


@dataclass
class FakeHub:
    root: Path
    url: str
    storage: str

    def add(self, repo: str, files: dict[str, bytes | int | str]) -> Path:
        """Files by name; a number stands for so many bytes of noise."""
        base = self.root / repo
        for name, content in files.items():
            path = base / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, int):
                _noise(path, content, f"{repo}/{name}")
            else:
                path.write_bytes(content.encode() if isinstance(content, str) else content)
        return base

    def set(self, **change: Any) -> None:
        """See `state.State.update`; `forget=True` empties what was seen."""
        body = json.dumps(change).encode()
        _OPENER.open(Request(self.url + "/fake/set", data=body, method="POST"), timeout=10).close()

    def fault(self, match: str, do: str, **more: Any) -> None:
        """From now on this fault and no other."""
        self.set(faults=[{"match": match, "do": do, **more}])

    def well(self) -> None:
        self.set(faults=[])

    def seen(self, part: str = "", method: str = "GET") -> list[dict[str, Any]]:
        """The requests so far whose path contains `part`."""
        with _OPENER.open(self.url + "/fake/seen", timeout=10) as answer:
            seen: list[dict[str, Any]] = json.load(answer)
        return [s for s in seen if part in s["path"] and s["method"] == method]


def _noise(path: Path, size: int, seed: str) -> None:
    noise = random.Random(seed)
    with path.open("wb") as file:
        for begin in range(0, size, NOISE_BYTES):
            file.write(noise.randbytes(min(NOISE_BYTES, size - begin)))


@contextmanager
def fake_hub(root: Path) -> Iterator[FakeHub]:
    root.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "tests.fakes.hub.server", str(root)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            url, storage = process.stdout.readline().split()
            yield FakeHub(root, url, storage)
        finally:
            process.kill()
