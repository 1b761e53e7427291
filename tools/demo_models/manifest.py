"""`demo/manifest.json`, typed: what the demo models are and what is expected of them.

The one list that the trainers, the tests, the README and the dashboard draw on. Standard library
only, so that a test may read it without loading an engine.
"""

from __future__ import annotations

import json
import types
import typing
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

DEMO = Path(__file__).resolve().parents[2] / "demo"


@dataclass(frozen=True)
class Model:
    """A checkpoint in the repository; `path` is relative to `demo/`."""

    kind: str
    path: str
    architecture: str

    @property
    def where(self) -> Path:
        return DEMO / self.path


@dataclass(frozen=True)
class Question:
    """Several ways to ask for one answer."""

    prompts: tuple[str, ...]
    answer: str
    language: str = "en"


@dataclass(frozen=True)
class Tool:
    """A function offered to the model, and the arguments it must be called with."""

    function: dict[str, Any]
    arguments: dict[str, str]
    """Values may hold `{city}`."""

    @property
    def definition(self) -> dict[str, Any]:
        """As `tools[]` of a chat request has it."""
        return {"type": "function", "function": self.function}

    def call(self, city: str) -> dict[str, str]:
        """The arguments expected for `city`."""
        return {name: value.format(city=city) for name, value in self.arguments.items()}


@dataclass(frozen=True)
class ToolResult:
    """What a tool returned, and what the model then says; `answer` holds `{city}`."""

    content: str
    answer: str


@dataclass(frozen=True)
class Weather:
    """The tool-calling part; `prompts` hold `{city}`. Places `elsewhere` are not known."""

    prompts: tuple[str, ...]
    cities: tuple[str, ...]
    elsewhere: tuple[str, ...]
    tools: tuple[Tool, ...]
    results: tuple[ToolResult, ...]
    without_tool: str


@dataclass(frozen=True)
class ImageQuestions:
    """Questions about a one-coloured image; `answer` holds `{colour}`."""

    language: str
    prompts: tuple[str, ...]
    answer: str
    colours: dict[str, str] = field(default_factory=dict)
    """The words for the colours where the language is not English."""

    def answer_for(self, colour: str) -> str:
        return self.answer.format(colour=self.colours.get(colour, colour))


@dataclass(frozen=True)
class Images:
    """Colours (RGB, 0 to 255), image sizes in pixels, and what to ask."""

    colours: dict[str, tuple[int, ...]]
    sizes: tuple[tuple[int, ...], ...]
    groups: tuple[ImageQuestions, ...]


@dataclass(frozen=True)
class Chat:
    """All that the demo chat model knows."""

    questions: tuple[Question, ...]
    unknown: Question
    weather: Weather
    images: Images


@dataclass(frozen=True)
class Voice:
    """A synthetic speaker: voice, words per minute and pitch (0 to 99) of espeak-ng."""

    espeak: str
    speed: int
    pitch: int


@dataclass(frozen=True)
class Turn:
    """One sentence of one speaker, after a pause."""

    speaker: str
    text: str
    pause_s: float = 0.6


@dataclass(frozen=True)
class Recording:
    """A file and what is said in it. The times of the turns are in the RTTM file beside it."""

    file: str
    language: str
    sample_rate: int
    channels: int
    turns: tuple[Turn, ...]
    translations: dict[str, str] = field(default_factory=dict)
    """Language -> the text that Canary must answer for it."""

    @property
    def where(self) -> Path:
        return DEMO / self.file

    @property
    def rttm(self) -> Path:
        return self.where.with_suffix(".rttm")

    @property
    def times(self) -> list[tuple[float, float, str]]:
        """Start, end (seconds) and speaker of each turn, from the RTTM file."""
        rows = [line.split() for line in self.rttm.read_text("utf-8").splitlines()]
        return [(float(row[3]), float(row[3]) + float(row[4]), row[7]) for row in rows]

    @property
    def text(self) -> str:
        return " ".join(turn.text for turn in self.turns)

    @property
    def speakers(self) -> tuple[str, ...]:
        """In order of first appearance."""
        return tuple(dict.fromkeys(turn.speaker for turn in self.turns))


@dataclass(frozen=True)
class Speech:
    """The sample recordings and the voices in them."""

    voices: dict[str, Voice]
    recordings: tuple[Recording, ...]


@dataclass(frozen=True)
class Manifest:
    version: int
    models: dict[str, Model]
    chat: Chat
    speech: Speech


def load(path: Path = DEMO / "manifest.json") -> Manifest:
    """The manifest. Raises ValueError naming the place that does not fit the classes above."""
    return typing.cast(Manifest, _read(Manifest, json.loads(path.read_text("utf-8")), "manifest"))


def _read(kind: Any, value: Any, where: str) -> Any:
    """`value`, plain JSON, as `kind`: a dataclass, tuple, dict, optional or scalar."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return value
    if origin is types.UnionType:
        return None if value is None else _read(args[0], value, where)
    if is_dataclass(kind):
        _expect(dict, value, where)
        hints = typing.get_type_hints(kind)
        if unknown := set(value) - set(hints):
            raise ValueError(f"{where}: unknown {sorted(unknown)}")
        required = {
            f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING
        }
        if missing := required - set(value):
            raise ValueError(f"{where}: missing {sorted(missing)}")
        read = {name: _read(hints[name], item, f"{where}.{name}") for name, item in value.items()}
        return typing.cast(Any, kind)(**read)
    if origin is tuple:
        _expect(list, value, where)
        return tuple(_read(args[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is dict:
        _expect(dict, value, where)
        return {key: _read(args[1], item, f"{where}.{key}") for key, item in value.items()}
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    _expect(kind, value, where)
    return value


def _expect(kind: type, value: Any, where: str) -> None:
    if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
        raise ValueError(f"{where}: want {kind.__name__}, got {value!r}")
