"""At which line of a TOML document each table and key stands.

`tomllib` says so of a syntax error only, and neither it nor tomlkit keeps positions of what is
well-formed. So the parser itself is asked: a statement is the fewest lines that it accepts.
"""

from __future__ import annotations

import sys
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Path = tuple[str, ...]


def lines_of(text: str) -> dict[Path, int]:
    """Each table and key of a well-formed document, with the line where it begins, from 1."""
    found: dict[Path, int] = {}
    lines = text.replace("\r\n", "\n").split("\n")
    table: Path = ()
    begin = 0
    for end in range(1, len(lines) + 1):
        statement = "\n".join(lines[begin:end])
        try:
            parsed = tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            continue  # goes on in the next line
        is_table = statement.lstrip().startswith("[")
        for path in _paths(parsed):
            place = path if is_table else table + path
            found.setdefault(place, begin + 1)
            table = place if is_table else table
        begin = end
    return found


def _paths(value: Any, above: Path = ()) -> list[Path]:
    """Every path into nested tables, outer ones first."""
    if isinstance(value, list) and value:
        value = value[-1]  # an array of tables
    if not isinstance(value, dict):
        return []
    found = []
    for key, inner in value.items():
        found += [(*above, key), *_paths(inner, (*above, key))]
    return found
