"""Cursors: one parser for sockets, event streams and pages."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from commitstream.journal import LARGEST_NUMBER

MOST_DIGITS = len(str(LARGEST_NUMBER))


def parse_cursor(value: object) -> int:
    """Return the number in a URL or a header; raises ValueError where it is not a cursor."""
    # int() alone would take spaces, signs, underscores and the digits of any script
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= MOST_DIGITS:
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST_NUMBER:
        return value
    raise ValueError(f"a cursor is the seq of an event, or 0: digits 0 to 9, at most {LARGEST_NUMBER}")


# the bounds come first: pydantic leaves bounds that follow a parser out of the JSON Schema
Cursor = Annotated[int, Field(ge=0, le=LARGEST_NUMBER), BeforeValidator(parse_cursor)]
