"""A refusal in vLLM's words, as one sentence that names the field.

vLLM lists everything that pydantic has against a request, one dictionary a line; names Python's
classes; and gives advice about variables that an operator of this gateway does not set.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_DUMP = re.compile(r"^\d+ validation errors?:\n")
_ENTRY = re.compile(
    r"""'type': '(?P<type>[^']*)', 'loc': '(?P<loc>[^']*)', """
    r"""'msg': (?P<quote>['"])(?P<msg>.*?)(?P=quote), '"""
)
_NATIVE = re.compile(r"^\d+ validation errors? for \w+\n(?P<loc>\S+)\n +(?P<msg>.*?) \[type=")
_CLASS = re.compile(r"[A-Z]\w*[a-z]\w*")
_ADVICE = re.compile(r"\s*(?:To increase this limit, set|Set)\b[^.]*\bVLLM_\w+[^.]*\.")
_PARAMETER = re.compile(r"\s*\(parameter=(\w+)[^()]*\)$")
_SUBJECT = re.compile(r"([a-z_]+) (?:must|cannot)\b")
_PLACE = re.compile(r"\[\d\d:\d\d:\d\d\] \S+:\d+: ")
"""Where in the source of a library in C++ something was found wrong."""
_PYTHON = re.compile(r"^'\w+' object (?:is not|has no)|^<_io\.|\bobject at 0x|\bon data=\{")


class Said(NamedTuple):
    text: str
    param: str | None


def plain(message: str, param: str | None) -> Said:
    """`message` without what only its author understands, and the field that it is about."""
    if _DUMP.match(message):
        return _from_dump(message) or Said("A field of the request is wrong.", param)
    native = _NATIVE.match(message)
    if native:
        return _sentence(field_of(native["loc"]), [native["msg"]])
    if _PYTHON.search(message):
        return Said("The engine cannot use this request: check the types of its fields.", param)
    about = _PARAMETER.search(message)
    text = _ADVICE.sub("", _PARAMETER.sub("", _PLACE.sub("", message))).strip()
    subject = _SUBJECT.match(text)
    named = about or subject
    return Said(text, param or (named[1] if named else None))


def _from_dump(message: str) -> Said | None:
    entries = [entry.groupdict() for entry in _ENTRY.finditer(message)]
    if not entries:
        return None
    missing = [field_of(e["loc"]) for e in entries if e["type"] == "missing"]
    if len(missing) == len(entries):  # either of them would do
        first = missing[0]
        top = [name for name in dict.fromkeys(missing) if "." not in name and "[" not in name]
        return Said(f"{' or '.join(top) or first} is required.", first)
    loc = next(e["loc"] for e in entries if e["type"] != "missing")
    return _sentence(field_of(loc), [e["msg"] for e in entries if e["loc"] == loc])


def _sentence(field: str, reasons: list[str]) -> Said:
    if reasons[0] == "Field required":
        return Said(f"{field} is required.", field)
    broken = [r for r in reasons if not r.startswith("Input should ")]
    if not broken:  # of none of the types that it may have
        wanted = [reason.removeprefix("Input should be ") for reason in reasons]
        alternatives = " or ".join(dict.fromkeys(each.partition(", unable")[0] for each in wanted))
        return Said(f"{field} must be {alternatives}.", field)
    return Said(f"{field}: {broken[0].replace(' after validation', '').rstrip('.')}.", field)


def field_of(loc: str) -> str:
    """Where pydantic says it is, `body.tools.0.type`, as a caller writes it: `tools[0].type`."""
    text = ""
    for step in loc.split("."):
        if step.isdigit():
            text += f"[{step}]"
        elif step != "body" and not _CLASS.fullmatch(step):
            text += f".{step}" if text else step
    return text or "The request"
