"""The outline of a waveform."""

from __future__ import annotations

from array import array

from hypothesis import given
from hypothesis import strategies as st

from backend.app.audio import peaks
from backend.app.audio.peaks import Peaks


def outline(samples: list[int], columns: int, piece: int = 1000) -> dict[str, object]:
    found = Peaks(len(samples), columns)
    for start in range(0, len(samples), piece):
        found.feed(array("h", samples[start : start + piece]).tobytes())
    return found.result()


def test_lowest_and_highest_of_each_column() -> None:
    found = outline([0, 256, -512, 1024, 0, 0, 32767, -32768], 2)
    assert found == {
        "version": 2,
        "channels": 1,
        "sample_rate": 16_000,
        "samples_per_pixel": 4,
        "bits": 8,
        "length": 2,
        "data": [-2, 4, -128, 127],
    }


@given(
    st.lists(st.integers(-32768, 32767), max_size=300),
    st.integers(1, 400),
    st.integers(1, 50),
)
def test_pieces_do_not_matter(samples: list[int], columns: int, piece: int) -> None:
    found = outline(samples, columns, piece)
    per_column = found["samples_per_pixel"]
    assert isinstance(per_column, int)
    expected = []
    for start in range(0, len(samples), per_column):
        column = samples[start : start + per_column]
        expected += [min(column) >> 8, max(column) >> 8]
    assert found["data"] == expected
    assert found["length"] == len(expected) // 2 <= columns


def test_long_recordings_are_looked_at_here_and_there() -> None:
    samples = 10 * peaks.EXAMINED
    found = Peaks(samples, 100)
    for _ in range(10):
        found.feed(bytes([0, 1]) * peaks.EXAMINED)
    assert found.result()["data"] == [1, 1] * 100
