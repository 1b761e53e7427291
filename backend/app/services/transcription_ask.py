"""What can be asked about a recording, checked and in our own terms."""

from __future__ import annotations

from dataclasses import dataclass

from backend.app.audio.spool import SpoolFile
from backend.app.errors import InvalidRequest
from backend.app.workers.protocol import language_problem

DIARIZER = "pyannote"
"""The pipeline where none is named."""


@dataclass(frozen=True)
class KnownSpeaker:
    """A name, and a sample of that voice as a file of any kind we decode."""

    name: str
    audio: SpoolFile


@dataclass(frozen=True)
class Speakers:
    """What is known beforehand of who speaks."""

    exactly: int | None = None
    at_least: int | None = None
    at_most: int | None = None
    known: tuple[KnownSpeaker, ...] = ()
    model: str = DIARIZER
    """Who tells them apart."""


@dataclass(frozen=True)
class Ask:
    """One transcription or translation."""

    model: str
    task: str = "transcribe"
    language: str | None = None
    """Language spoken. None: found out among `candidates`."""
    candidates: tuple[str, ...] = ()
    """Never empty without a language."""
    target: str | None = None
    """Language of the text. None: as spoken."""
    pnc: bool = True
    logprobs: bool = False
    timestamps: bool = True
    """Times of words and sentences; the text alone costs less."""
    diarize: bool = False
    speakers: Speakers = Speakers()
    peaks: int = 0
    """Columns of the waveform's outline; 0: none."""

    def sources(self) -> tuple[str, ...]:
        """The languages that may be spoken, of which one side of a translation must be English.

        Raises InvalidRequest naming the field.
        """
        wanted = (self.language,) if self.language else self.candidates
        fit = []
        problem = None
        for source in wanted:
            found = language_problem(source, self.target)
            if found is None:
                fit.append(source)
            elif found[0] == "source" or problem is None:
                problem = found
        if problem is not None and (problem[0] == "source" or not fit):
            field = "target_language" if problem[0] == "target" else "language"
            raise InvalidRequest(problem[1], param=field)
        return tuple(fit)
