"""The ladder of isolation: how a test's database becomes empty again. A test asks for a rung by marker, or by fixture.

reset     the default: commits are real for every connection, task and process; one call on the server empties what was written
rollback  faster where one event loop does it all: what the test and the service commit are savepoints of one transaction
clone     a database of the test's own, for tests that change the schema or the database itself
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

MARKER = "isolation"
MARKER_LINE = f"{MARKER}(level): how the database is emptied: reset (the default), rollback or clone"


class Level(StrEnum):
    RESET = "reset"
    ROLLBACK = "rollback"
    CLONE = "clone"


def level_named(words: Iterable[object], where: str) -> Level:
    """The level that a marker names; an error lists the levels."""
    named = list(words)
    try:
        (name,) = named
        return Level(str(name))
    except ValueError:
        asked = ", ".join(map(repr, named)) or "nothing"
        raise ValueError(
            f"{where} asks for isolation {asked}: choose one of {', '.join(Level)}, "
            f'as in @pytest.mark.{MARKER}("{Level.CLONE}")'
        ) from None


def level_of(item: pytest.Item) -> Level:
    """The level that a test asks for by its closest marker."""
    marker = item.get_closest_marker(MARKER)
    if marker is None:
        return Level.RESET
    return level_named([*marker.args, *marker.kwargs.values()], item.nodeid)
