"""Asking the disk of the models, which may be a network's and not answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from backend.app.errors import Unavailable
from backend.app.waiting import aside

T = TypeVar("T")

ANSWER_S = 30.0
"""How long it may take."""
RETRY_S = 30.0


async def on_disk(call: Callable[[], T], seconds: float = ANSWER_S) -> T:
    """What a blocking call gives. Raises Unavailable when the disk does not answer in time."""
    try:
        return await aside(seconds, call)
    except asyncio.TimeoutError:
        raise Unavailable(
            f"The disk of the models did not answer within {seconds:g} s. Is it a network's, and is"
            " that there?",
            code="disk_silent",
            retry_after=RETRY_S,
        ) from None
