"""Which model made a response, so that its id alone leads to the engine that keeps it."""

from __future__ import annotations

import re
from collections import OrderedDict

REMEMBERED = 10_000
_ID = re.compile(rb'"id"\s*:\s*"(resp_[\w-]{1,128})"')
_LOOKED_AT = 4096
"""Bytes of an answer's beginning; the id stands in the first hundred."""


class Makers:
    """Response id to model key, for the newest responses. For use by one event loop."""

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._remembered = remembered
        self._makers: OrderedDict[str, str] = OrderedDict()

    def note(self, key: str, beginning: bytes) -> None:
        """A model's answer begins so."""
        found = _ID.search(beginning, 0, _LOOKED_AT)
        if found:
            self._makers[found[1].decode()] = key
            if len(self._makers) > self._remembered:
                self._makers.popitem(last=False)

    def of(self, response_id: str) -> str | None:
        """The key of the model that made it; None when that is not known any more."""
        return self._makers.get(response_id)
