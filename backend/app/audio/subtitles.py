"""Transcripts as subtitles: SubRip and WebVTT. Pure.

A cue has at most two lines of 42 characters and seven seconds, belongs to one speaker, lasts at
least a millisecond and never overlaps the next. Cuts fall between words, at their times, after the
end of a sentence where that leaves no crumbs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from backend.app.audio.transcript import Segment, Transcript, Word

LINE_CHARS = 42
LINES = 2
LONGEST_S = 7.0
PAUSE_S = 1.2
"""A silence within a segment that ends a cue."""
READABLE_MS = 800
"""A shorter cue stays on until the next one, or for so long."""
FULL_ENOUGH = LINE_CHARS * LINES // 2
_SENTENCE_END = re.compile(r"[.!?…]['\"»”’)]*$")


@dataclass(frozen=True, slots=True)
class Cue:
    start_ms: int
    end_ms: int
    lines: tuple[str, ...]
    speaker: str | None = None


def srt(transcript: Transcript) -> str:
    """SubRip. A diarized transcript names the speaker at the head of each cue."""
    blocks = []
    for number, cue in enumerate(cues(transcript, named=True), 1):
        text = "\n".join(cue.lines).replace("-->", "->")
        times = f"{_clock(cue.start_ms, ',')} --> {_clock(cue.end_ms, ',')}"
        blocks.append(f"{number}\n{times}\n{text}\n")
    return "\n".join(blocks)


def vtt(transcript: Transcript) -> str:
    """WebVTT. A diarized transcript names the speaker in a voice span: `<v Anna>`."""
    blocks = ["WEBVTT\n"]
    for cue in cues(transcript, named=False):
        text = _escape("\n".join(cue.lines))
        if cue.speaker is not None:
            text = f"<v {_escape(cue.speaker)}>{text}"
        blocks.append(f"{_clock(cue.start_ms, '.')} --> {_clock(cue.end_ms, '.')}\n{text}\n")
    return "\n".join(blocks)


def cues(transcript: Transcript, *, named: bool) -> list[Cue]:
    """`named`: the speaker's name is part of the text, and counts in its lines."""
    raw = [
        Cue(round(group[0].start * 1000), round(group[-1].end * 1000), lines, group[0].speaker)
        for segment in transcript.segments
        for group, lines in _groups(_pieces(segment), named and transcript.diarized)
    ]
    return _in_order(raw)


def _pieces(segment: Segment) -> list[Word]:
    """The words of a segment, each fit for a line. Times are shared out where none are known."""
    words = [replace(word, speaker=segment.speaker) for word in segment.words]
    if not words and segment.text.strip():
        words = [Word(segment.start, segment.end, segment.text, speaker=segment.speaker)]
    return [piece for word in words for piece in _split(word)]


def _split(word: Word) -> Iterator[Word]:
    """One word for each run without white space, of LINE_CHARS at most; time by characters."""
    parts = [
        run[at : at + LINE_CHARS]
        for run in word.text.split()
        for at in range(0, len(run), LINE_CHARS)
    ]
    rate = (word.end - word.start) / max(1, sum(map(len, parts)))
    start = word.start
    for part in parts:
        end = start + rate * len(part)
        yield replace(word, text=part, start=start, end=end)
        start = end


def _groups(words: Sequence[Word], named: bool) -> Iterator[tuple[Sequence[Word], tuple[str, ...]]]:
    """Cut a segment's words into what fits into a cue, with its lines."""
    group: list[Word] = []
    lines: list[str] = []
    for word in words:
        grown = _append(lines, word.text)
        if group and (len(grown) > LINES or _must_cut(group, word, lines)):
            yield group, tuple(lines)
            group = []
        if not group:
            heading = [f"{word.speaker[: LINE_CHARS - 1]}:"] if named and word.speaker else []
            grown = _append(heading, word.text)
        group.append(word)
        lines = grown
    if group:
        yield group, tuple(lines)


def _append(lines: Sequence[str], word: str) -> list[str]:
    if lines and len(lines[-1]) + 1 + len(word) <= LINE_CHARS:
        return [*lines[:-1], f"{lines[-1]} {word}"]
    return [*lines, word]


def _must_cut(group: Sequence[Word], word: Word, lines: Sequence[str]) -> bool:
    last = group[-1]
    return (
        word.end - group[0].start > LONGEST_S
        or word.start - last.end > PAUSE_S
        or (_SENTENCE_END.search(last.text) is not None and sum(map(len, lines)) >= FULL_ENOUGH)
    )


def _in_order(raw: Iterable[Cue]) -> list[Cue]:
    """One after the other, none empty, short ones held while there is room."""
    out: list[Cue] = []
    for cue in raw:
        start = max(cue.start_ms, out[-1].end_ms if out else 0)
        out.append(replace(cue, start_ms=start, end_ms=max(start + 1, cue.end_ms)))
    for at, cue in enumerate(out):
        readable = cue.start_ms + READABLE_MS
        room = out[at + 1].start_ms if at + 1 < len(out) else readable
        out[at] = replace(cue, end_ms=max(cue.end_ms, min(readable, room)))
    return out


def _clock(ms: int, point: str) -> str:
    seconds, ms = divmod(ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{ms:03}"


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
