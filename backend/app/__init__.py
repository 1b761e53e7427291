"""The gateway: one FastAPI process in front of engine child processes."""

__version__ = "0.1.0"
