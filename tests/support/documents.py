"""The documents: their fenced blocks, commands, links and anchors."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_SKIPPED = {"node_modules", "build", ".venv", ".venv-gateway", ".pytest_cache"}


@dataclass(frozen=True)
class Block:
    """A fenced block. `line` is where its first line stands."""

    document: str
    line: int
    language: str
    text: str

    @property
    def commands(self) -> list[str]:
        """What a reader would paste and run, one by one."""
        if self.language == "python":
            return [self.text]
        return list(_commands(self.text)) if self.language == "bash" else []

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


def documents() -> list[Path]:
    """Every Markdown file of the project."""
    found = sorted(ROOT.rglob("*.md"))
    return [p for p in found if not _SKIPPED & set(p.relative_to(ROOT).parts)]


def blocks(path: Path) -> list[Block]:
    text = path.read_text(encoding="utf-8")
    name = path.relative_to(ROOT).as_posix()
    return [
        Block(name, text.count("\n", 0, m.start(2)) + 1, m[1], m[2]) for m in _FENCE.finditer(text)
    ]


def links(path: Path) -> list[str]:
    """Targets of links, outside of fenced blocks and code."""
    text = _FENCE.sub("", path.read_text(encoding="utf-8"))
    return _LINK.findall(re.sub(r"`[^`\n]*`", "", text))


def targets(path: Path) -> list[str]:
    """Of `make`, wherever a reader is told to type them."""
    return re.findall(r"(?:`|^)make ([a-z][a-z-]*)", path.read_text(encoding="utf-8"), re.MULTILINE)


def anchors(path: Path) -> set[str]:
    """Of its headings, as GitHub makes them."""
    text = _FENCE.sub("", path.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ +(.+?) *$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


def _commands(text: str) -> Iterator[str]:
    """Lines, with those that belong together: a backslash at the end, or a quote still open."""
    command = ""
    for line in text.splitlines():
        if not command and (not line.strip() or line.lstrip().startswith("#")):
            continue
        command += line + "\n"
        if not line.endswith("\\") and _closed(command):
            yield command
            command = ""
    assert not command, f"a quote stays open: {command}"


def _closed(command: str) -> bool:
    try:
        shlex.split(command, comments=True)
    except ValueError:
        return False
    return True
