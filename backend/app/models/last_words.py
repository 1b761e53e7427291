"""Why an engine could not start, in its own words: all of ours are Python, and end as Python does.

The wording is that of CPython, argparse, pydantic, and of vLLM 0.19.1 and 0.32.0. A line that says
nothing of the kind is no reason; then there is only the exit code.
"""

from __future__ import annotations

import re

LONGEST = 300

_SPEAKER = r"(?:\([^)]*\) )?(?:ERROR [\d-]+ [\d:]+ \[[^\]]*\] )?"
"""`(EngineCore_DP0 pid=42) ERROR 11-26 04:16:35 [core.py:866] `, with which vLLM begins lines."""

_REASON = re.compile(
    _SPEAKER
    + r"(?:Loading failed: (?P<worker>.+)"
    + r"|(?P<raised>(?:\w+\.)*\w*(?:Error|Exception): .+)"
    + r"|  (?P<invalid>Value error, .+?)(?: \[type=.*)?$"
    + r"|\S+: error: (?P<argument>.+))"
)
_ELSEWHERE = re.compile(r"[Ss]ee (?:the )?(?:root cause|stack trace) above|validation errors? for ")
"""What names another line as the reason."""


def reason_in(line: str) -> str | None:
    """What a line of an engine's output says to be wrong, or None."""
    found = _REASON.match(line)
    if found is None or _ELSEWHERE.search(line):
        return None
    said = next(text for text in found.groups() if text).strip()
    return said if len(said) <= LONGEST else said[: LONGEST - 1] + "…"
