"""A Dockerfile as its instructions, stage by stage."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple


class Instruction(NamedTuple):
    name: str
    value: str


class Stage(NamedTuple):
    name: str
    base: str
    instructions: list[Instruction]

    def all(self, name: str) -> list[str]:
        return [i.value for i in self.instructions if i.name == name]

    def place(self, name: str, part: str) -> int:
        """Where the first such instruction stands whose value holds `part`."""
        return next(
            n for n, i in enumerate(self.instructions) if i.name == name and part in i.value
        )


def read(path: Path) -> tuple[dict[str, str], dict[str, Stage]]:
    """Arguments before the first stage, and the stages by name. Continuation lines are joined."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    arguments: dict[str, str] = {}
    stages: dict[str, Stage] = {}
    current: Stage | None = None
    for line in filter(str.strip, joined.splitlines()):
        name, value = line.split(maxsplit=1)
        if name == "FROM":
            base, _, alias = value.partition(" AS ")
            current = stages[alias] = Stage(alias, base, [])
        elif current is None:
            key, _, default = value.partition("=")
            arguments[key] = default
        else:
            current.instructions.append(Instruction(name, value))
    return arguments, stages


def environment(stage: Stage) -> dict[str, str]:
    """What ENV sets."""
    pairs = (re.findall(r"(\w+)=(\S+)", value) for value in stage.all("ENV"))
    return dict(pair for found in pairs for pair in found)
