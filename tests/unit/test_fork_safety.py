"""A fork takes logging's lock, then the import lock: none may do it the other way round."""

from __future__ import annotations

import subprocess
import sys

from tests.support.pythons import ROOT

WATCH = """
import _imp, logging
import backend.app.main
wanted, real = [], logging.Manager.getLogger
def watched(self, name):
    if _imp.lock_held():
        wanted.append(name)
    return real(self, name)
logging.Manager.getLogger = watched
from backend.app.gpu.probe import GPUtil, read_gpus
read_gpus(None)
print(wanted)
"""


def test_looking_for_gpus_wants_no_logger_under_the_import_lock() -> None:
    asked = subprocess.run(
        [sys.executable, "-c", WATCH], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert asked.returncode == 0, asked.stderr
    assert asked.stdout.strip() == "[]"
