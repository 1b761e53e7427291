"""How many cases a property gets whose cases are dear: engines are started, files written."""

from __future__ import annotations

from typing import Any

from hypothesis import settings

DEEP = settings.default is not None and settings.default.max_examples > 1000
"""`pytest --hypothesis-profile deep`, which holds before a test's module is read."""


def cases(usual: int, deep: int, **more: Any) -> settings:
    """The profile's settings, but so many cases, and so many in the deep one."""
    return settings(max_examples=deep if DEEP else usual, **more)
