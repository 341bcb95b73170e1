"""What tests leave to each other, and what nobody closes."""

from __future__ import annotations

import re

from test_framework import SERVICE
from test_framework.errors.categories import REPRODUCE, Category, Responsibility
from test_framework.errors.evidence import NAMED, Evidence, RuleFinding, shortened

UNCLOSED = r"ResourceWarning|unclosed |was never closed|Task was destroyed but it is pending|is still running|left (?:behind|open|running)|outlived|still alive|not put back"
OPENED_BY_CODE = re.compile(rf"(?:^|[\s'\"(])(?:{'|'.join(SERVICE)})/[\w/]+\.py")


def leak(seen: Evidence) -> RuleFinding | None:
    """The guard says so, or Python does when it collects what nobody closed."""
    link = seen.link("ResourceWarning", "pytest.PytestUnraisableExceptionWarning") or next(
        (each for each in seen.links if "Leak" in each.type), None
    )
    match = seen.says(UNCLOSED)
    if link is None and match is None:
        return None
    if link is not None and match is None:
        return None
    lines = [line for line in seen.text.splitlines() if re.search(UNCLOSED, line, re.IGNORECASE)]
    left = seen.text.partition("left behind:\n")[2].splitlines()  # the guard names each thing on a line of its own
    said = shortened(
        re.sub(r" (?:at 0x[0-9a-f]+|fd=\d+)", "", (left or lines[-1:])[0]).rpartition("ResourceWarning: ")[2]
    )
    fault = Responsibility.CODE if OPENED_BY_CODE.search(seen.text) and not tests_own(seen) else Responsibility.TEST
    late = bool(seen.links) and seen.place("test", "app") is None and "Unraisable" in seen.links[0].type
    perhaps = " (found when garbage was collected: an earlier test may have opened it)" if late else ""
    cause = f"something was opened and never closed: {said}{perhaps}"
    return RuleFinding(Category.LEAK, fault, cause, 0.75 if late else 0.88, f"leak {said[:50]}", REPRODUCE)


def tests_own(seen: Evidence) -> bool:
    """Say whether the first line that is named is a test's: things are told with the innermost line first."""
    first = NAMED.search(seen.text)
    return first is not None and first.group(1) not in SERVICE


def shared_state(seen: Evidence) -> RuleFinding | None:
    """The failing line reads what belongs to the whole module or process, which another test has changed."""
    shared = seen.failure.shared
    if not shared or not seen.link("AssertionError", "LookupError"):
        return None
    cause = f"{shared} is shared by tests, and another one changed it before {seen.place('test')}"
    return RuleFinding(Category.ISOLATION, Responsibility.TEST, cause, 0.75, f"shared {shared}", "")


def found_what_was_left(seen: Evidence) -> RuleFinding | None:
    """A store that should be empty is not, or a row is there already, in a store that several tests share."""
    if not seen.failure.shared_fixtures:
        return None
    twice = seen.sqlstate == "23505" or seen.says(r"UNIQUE constraint failed|duplicate key value")
    empty = (
        seen.link("AssertionError")
        and seen.says(r"^AssertionError: assert .*(?:== 0|== \[\]|is None|== \{\}|== ''|not )")
        and seen.failure.subject == "app"
    )
    if not twice and not empty:
        return None
    cause = (
        f"{', '.join(seen.failure.shared_fixtures)} is shared by tests, and holds what another one left: {seen.said()}"
    )
    return RuleFinding(
        Category.ISOLATION, Responsibility.TEST, cause, 0.72, f"left in {seen.failure.shared_fixtures[0]}", ""
    )


def told_by_the_isolation(seen: Evidence) -> RuleFinding | None:
    """The isolation of databases and namespaces found something where nothing may be."""
    link = seen.link("test_framework.isolation.")
    if link is None:
        return None
    name = link.type.rpartition(".")[2]
    return RuleFinding(
        Category.ISOLATION, Responsibility.TEST, seen.said(link), 0.95, f"{name} {seen.failure.test}", REPRODUCE
    )


RULES = (told_by_the_isolation, leak)
ISOLATION = (found_what_was_left, shared_state)
