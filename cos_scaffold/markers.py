"""Cut out of a text what concerns the template alone.

A passage stands between `>>> template only` and `<<< template only`, each in a comment line of its own; a single line
ends in the comment `template only`. What was nothing but such a passage becomes empty.
"""

from __future__ import annotations

import re

COMMENT = r"(?:#|//|--|<!--)"
OPENING = re.compile(rf"\s*{COMMENT} >>> template only(?: -->)?\s*")
CLOSING = re.compile(rf"\s*{COMMENT} <<< template only(?: -->)?\s*")
ONE_LINE = re.compile(rf".*\S\s+{COMMENT} template only(?: -->)?\s*")


class UnbalancedMarkerError(ValueError):
    """A marker without its counterpart."""


def strip(text: str, name: str = "the text") -> str:
    """Return the text without its template-only passages and lines."""
    kept: list[str] = []
    opened_at = 0
    for number, line in enumerate(text.splitlines(keepends=True), start=1):
        if OPENING.fullmatch(line):
            if opened_at:
                raise UnbalancedMarkerError(f"{name}:{number}: the passage opened in line {opened_at} is still open")
            opened_at = number
        elif CLOSING.fullmatch(line):
            if not opened_at:
                raise UnbalancedMarkerError(f"{name}:{number}: `<<< template only` closes nothing")
            opened_at = 0
        elif not opened_at and not ONE_LINE.fullmatch(line):
            kept.append(line)
    if opened_at:
        raise UnbalancedMarkerError(f"{name}:{opened_at}: `>>> template only` is never closed")
    return "".join(kept)
