"""The outline of a waveform, in the JSON that audiowaveform and its players use. Pure."""

from __future__ import annotations

from array import array
from typing import Any

from backend.app.workers.protocol import SAMPLE_RATE

EXAMINED = 4_000_000
"""About so many samples are looked at (46 ns each), evenly spread, however long it is."""


class Peaks:
    """Fed the PCM (mono s16le) in order, in pieces of any even size; holds two numbers a column."""

    def __init__(self, samples: int, columns: int) -> None:
        self._per_column = max(1, -(-samples // columns))
        self._stride = max(1, min(samples // EXAMINED, self._per_column))
        self._at = 0
        self._low = array("h")
        self._high = array("h")

    def feed(self, pcm: bytes) -> None:
        samples = array("h", pcm)
        begin = 0
        while begin < len(samples):
            column, offset = divmod(self._at, self._per_column)
            end = min(len(samples), begin + self._per_column - offset)
            part = samples[begin : end : self._stride]
            low, high = min(part), max(part)
            if column == len(self._low):
                self._low.append(low)
                self._high.append(high)
            else:
                self._low[column] = min(low, self._low[column])
                self._high[column] = max(high, self._high[column])
            self._at += end - begin
            begin = end

    def result(self) -> dict[str, Any]:
        """Lowest and highest value of each column in turn, from -128 to 127."""
        return {
            "version": 2,
            "channels": 1,
            "sample_rate": SAMPLE_RATE,
            "samples_per_pixel": self._per_column,
            "bits": 8,
            "length": len(self._low),
            "data": [
                value >> 8 for pair in zip(self._low, self._high, strict=True) for value in pair
            ],
        }
