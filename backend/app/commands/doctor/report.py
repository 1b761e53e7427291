"""What the doctor says: lines with a level and a remedy, for people and for programs."""

from __future__ import annotations

import enum
import json
import sys
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from backend.app.words import Language, Words, same
from backend.app.workers.hub_protocol import size_of

WIDTH = 100


class Level(str, enum.Enum):
    OK = "OK"
    WARN = "WARN"
    FAIL = "FAIL"


COLOURS = {Level.OK: "32", Level.WARN: "33", Level.FAIL: "31"}


@dataclass(frozen=True)
class Line:
    """One thing that was looked at. What is not OK has a remedy."""

    level: Level
    topic: str
    said: Words
    remedy: Words | None = None


def ok(topic: str, said: Words) -> Line:
    return Line(Level.OK, topic, said)


def warn(topic: str, said: Words, remedy: Words) -> Line:
    return Line(Level.WARN, topic, said, remedy)


def fail(topic: str, said: Words, remedy: Words) -> Line:
    return Line(Level.FAIL, topic, said, remedy)


def size(count: float) -> Words:
    """Bytes for people."""
    said = size_of(count)
    return Words(said, said.replace("bytes", "octets").replace("iB", "io"))


def late(topic: str, seconds: float) -> Line:
    """A check that did not end in time."""
    return fail(
        topic,
        Words(f"no answer within {seconds:.0f} s", f"pas de réponse en {seconds:.0f} s"),
        Words(
            "Something hangs: a driver, a disk, a network. `dmesg` may name it.",
            "Quelque chose est figé : un pilote, un disque, un réseau. `dmesg` le nomme peut-être.",
        ),
    )


def broken(topic: str, exc: Exception) -> Line:
    """A check that failed in a way nobody thought of."""
    return fail(
        topic,
        same(f"{type(exc).__name__}: {exc}"),
        Words(
            "This check itself failed: please report it with this line.",
            "Cette vérification a elle-même échoué : merci de signaler cette ligne.",
        ),
    )


def language_of(env: Mapping[str, str]) -> Language:
    """By LC_ALL, LC_MESSAGES and LANG, as for every program."""
    chosen = next(filter(None, map(env.get, ("LC_ALL", "LC_MESSAGES", "LANG"))), "")
    return "fr" if chosen.lower().startswith("fr") else "en"


class Printer:
    """Prints each line as it is known; `colours` for a terminal."""

    def __init__(self, language: Language, *, colours: bool) -> None:
        self._language = language
        self._colours = colours

    def show(self, line: Line) -> None:
        level = f"{line.level.value:<4}"
        if self._colours:
            level = f"\x1b[{COLOURS[line.level]}m{level}\x1b[0m"
        print(f"{level}  {line.topic:<14} {line.said.said(self._language)}")
        if line.remedy is not None:
            arrow = " " * 6 + "→ "
            print(
                textwrap.fill(
                    line.remedy.said(self._language),
                    WIDTH,
                    initial_indent=arrow,
                    subsequent_indent=" " * 8,
                    break_long_words=False,
                    break_on_hyphens=False,
                )
            )
        sys.stdout.flush()

    def sum_up(self, lines: Iterable[Line]) -> None:
        levels = [line.level for line in lines]
        fails, warns = levels.count(Level.FAIL), levels.count(Level.WARN)
        said = Words(
            f"{len(levels)} checks: {fails} failed, {warns} warnings.",
            f"{len(levels)} vérifications : {fails} échecs, {warns} avertissements.",
        )
        print(said.said(self._language))


def as_json(lines: list[Line], language: Language) -> str:
    """`{"ok": …, "checks": [{"level", "topic", "message", "remedy"}]}`"""
    return json.dumps(
        {
            "ok": not failed(lines),
            "checks": [
                {
                    "level": line.level.value,
                    "topic": line.topic,
                    "message": line.said.said(language),
                    "remedy": line.remedy.said(language) if line.remedy else None,
                }
                for line in lines
            ],
        },
        ensure_ascii=False,
    )


def failed(lines: Iterable[Line]) -> bool:
    return any(line.level is Level.FAIL for line in lines)
