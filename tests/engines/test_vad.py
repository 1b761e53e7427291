"""Our layout of Silero's network against the one in its wheel."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from backend.app.workers.cutting import FRAME
from backend.app.workers.protocol import SAMPLE_RATE
from backend.app.workers.vad import Detector, Silero, SpeechSpans
from tools.demo_models.manifest import Manifest

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def wheel() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import silero_vad

        return silero_vad, silero_vad.load_silero_vad()


@pytest.fixture(scope="module")
def silero() -> Silero:
    return Silero()


def spans_of(pcm: bytes, silero: Silero, block: int) -> list[tuple[int, int]]:
    detector = Detector(silero)
    spans = []
    for at in range(0, len(pcm), block * 2):
        spans += detector.push(pcm[at : at + block * 2]).ended
    return spans + detector.finish()


@pytest.mark.parametrize("block", [FRAME, 7 * FRAME, 128 * FRAME, 10**9 // FRAME * FRAME])
def test_speech_is_where_silero_hears_it(
    wheel: Any, silero: Silero, manifest: Manifest, pcm: dict[str, bytes], block: int
) -> None:
    module, model = wheel
    for recording in manifest.speech.recordings:
        samples = torch.from_numpy(np.frombuffer(pcm[recording.file], "<i2").copy()).float()
        wanted = module.get_speech_timestamps(samples / 32768, model)
        found = spans_of(pcm[recording.file], silero, block)
        assert found == [(span["start"], span["end"]) for span in wanted]


@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 0.3, 0.4, 0.6, 1.0]), st.integers(1, 12)), max_size=30
    ),
    st.integers(1, FRAME),
)
def test_the_rule_is_sileros_own(runs: list[tuple[float, int]], last_frame: int) -> None:
    from silero_vad.utils_vad import get_speech_timestamps_from_probs

    probabilities = [probability for probability, count in runs for _ in range(count)]
    length = max(0, (len(probabilities) - 1) * FRAME + last_frame) if probabilities else 0
    wanted = get_speech_timestamps_from_probs(list(probabilities), audio_length_samples=length)
    rule = SpeechSpans()
    found = rule.push(probabilities)
    found = [(start, min(end, length)) for start, end in found] + rule.finish(length)
    assert found == [(span["start"], span["end"]) for span in wanted]


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.4, 1.0]), st.integers(1, 12)), max_size=20))
def test_what_is_said_to_be_known_does_not_change(runs: list[tuple[float, int]]) -> None:
    probabilities = [probability for probability, count in runs for _ in range(count)]
    length = len(probabilities) * FRAME
    complete = SpeechSpans()
    spans = complete.push(probabilities)
    spans += complete.finish(length)
    truth = {sample // 16 for start, end in spans for sample in range(start, end, 16)}
    rule, ended = SpeechSpans(), list[tuple[int, int]]()
    for probability in probabilities:
        ended += rule.push([probability])
        known = rule.known
        open_span = [] if rule.open_start is None else [(rule.open_start, known)]
        heard = {
            sample // 16
            for start, end in ended + open_span
            for sample in range(start, min(end, known), 16)
        }
        assert heard == {sample for sample in truth if sample < known // 16}


def test_memory_of_a_recording_is_its_last_frame(silero: Silero) -> None:
    detector = Detector(silero)
    for _ in range(3):
        heard = detector.push(bytes(2 * SAMPLE_RATE // FRAME * FRAME))
    assert heard.ended == []
    assert heard.known == 3 * (SAMPLE_RATE // FRAME * FRAME) - 480
    assert detector.finish() == []
