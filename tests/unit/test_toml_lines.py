"""Where tables and keys of a TOML document stand."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from backend.app.models.toml_lines import lines_of

DOCUMENT = """\
# a comment = 1
title = "x"

[one] # with a remark
a = 1
  b = [
    1, # c = 2
    2,
  ]
text = \"\"\"
d = 4
[two]
\"\"\"
"quoted key" = 'e = 5'
inner.deep = 1
inline = { f = 1, g = { h = 2 } }

[one.sub]
a = 2

['dotted.name']
z = 1
"""


def test_each_table_and_key_is_found_and_nothing_that_only_looks_like_one() -> None:
    assert lines_of(DOCUMENT) == {
        ("title",): 2,
        ("one",): 4,
        ("one", "a"): 5,
        ("one", "b"): 6,
        ("one", "text"): 10,
        ("one", "quoted key"): 14,
        ("one", "inner"): 15,
        ("one", "inner", "deep"): 15,
        ("one", "inline"): 16,
        ("one", "inline", "f"): 16,
        ("one", "inline", "g"): 16,
        ("one", "inline", "g", "h"): 16,
        ("one", "sub"): 18,
        ("one", "sub", "a"): 19,
        ("dotted.name",): 21,
        ("dotted.name", "z"): 22,
    }


def test_windows_line_ends_count_as_one_line() -> None:
    assert lines_of(DOCUMENT.replace("\n", "\r\n")) == lines_of(DOCUMENT)


KEYS = st.text("abc", min_size=1, max_size=3)
VALUES = st.sampled_from(
    ["1", '"x = 1"', "[]", "[\n 1,\n 2,\n]", '"""\nq = 3\n[r]\n"""', "'''\n#\n'''", "{ y = 1 }"]
)
BETWEEN = st.lists(st.sampled_from(["", "# k = 1", "  ", "# [t]"]), max_size=3)
TABLES = st.dictionaries(
    KEYS, st.tuples(BETWEEN, st.dictionaries(KEYS, st.tuples(BETWEEN, VALUES))), max_size=4
)


@given(TABLES)
def test_any_document(
    tables: dict[str, tuple[list[str], dict[str, tuple[list[str], str]]]],
) -> None:
    lines: list[str] = []
    wanted: dict[tuple[str, ...], int] = {}
    for table, (before, fields) in tables.items():
        lines += [*before, f"[{table}]"]
        wanted[table,] = len(lines)
        for name, (above, value) in fields.items():
            lines += above
            wanted[table, name] = len(lines) + 1
            lines += f"{name} = {value}".split("\n")
    found = lines_of("\n".join(lines))
    assert {path: line for path, line in found.items() if len(path) < 3} == wanted
