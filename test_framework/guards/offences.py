"""What was done wrong while a test ran, even where somebody caught the error: told at the end of the phase that did it."""

from __future__ import annotations

import linecache
import re

from test_framework.guards.leaks.origins import Birth, Line, birth
from test_framework.guards.source import ON_PURPOSE

_COMMITTED: list[str] = []


class Offence(RuntimeError):
    """Something that works today and fails in the next loop, or holds everybody up."""


def here() -> Birth:
    """The lines of this project that led to an offence."""
    return birth(3)


def excused(lines: tuple[Line, ...]) -> bool:
    """Whether a line that led there says `# on purpose: <why>`."""
    return any(ON_PURPOSE.search(linecache.getline(line.file, line.number)) for line in lines)


def commit(message: str) -> str:
    """Note an offence; whoever swallows the error does not get rid of it."""
    _COMMITTED.append(message)
    return message


def committed() -> list[str]:
    """Tell, once, what was done wrong since last asked."""
    found = list(dict.fromkeys(_COMMITTED))
    _COMMITTED.clear()
    return found


def said_by(text: str, offences: list[str]) -> bool:
    """Whether an error's text already says all of it."""
    plain = re.sub(r"\s+", " ", text)
    return all(re.sub(r"\s+", " ", offence) in plain for offence in offences)
