"""Where a thing began is told by the lines of the project that led there, also out of a greenlet."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from greenlet import getcurrent, greenlet

from test_framework.guards.leaks.origins import at_one_moment, birth, stack


def test_a_birth_names_the_innermost_line_first() -> None:
    def begin() -> str:
        return str(birth())

    told = begin()

    assert told.startswith("begun at test_framework/tests/unit/guards/test_origins.py:")
    assert told.index("in begin") < told.index("in test_a_birth_names_the_innermost_line_first")


def test_the_callers_of_a_greenlet_are_followed_and_come_to_an_end() -> None:
    def inside() -> list[str]:
        return [frame.f_code.co_name for frame in stack(sys._getframe())]

    def twice() -> list[str]:
        names: list[str] = greenlet(inside).switch()
        return names

    names: list[str] = greenlet(twice).switch()

    assert names[0] == "inside"
    assert names.count("twice") == 1
    assert names.count("test_the_callers_of_a_greenlet_are_followed_and_come_to_an_end") == 1
    assert getcurrent().parent is None


def test_what_another_thread_adds_to_meanwhile_is_looked_through_again() -> None:
    moments = iter([RuntimeError("dictionary changed size during iteration"), None])

    def look() -> Iterator[str]:
        yield "one"
        if trouble := next(moments):
            raise trouble
        yield "two"

    assert at_one_moment(look) == ["one", "two"]
