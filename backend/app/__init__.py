"""The gateway: one FastAPI process in front of engine child processes."""

import shlex
import sys

__version__ = "0.1.0"

COMMAND = f"{shlex.quote(sys.executable)} -m backend.app"
"""What to type on this machine, in the project's folder, to give this gateway a command."""
