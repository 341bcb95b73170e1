"""Files that can't be parsed, and modules that can't be imported."""

from __future__ import annotations

from test_framework.errors.categories import REPRODUCE, Category, Responsibility
from test_framework.errors.evidence import Evidence, RuleFinding

GUARDS = "python -m test_framework.guards"


def cannot_be_parsed(seen: Evidence) -> RuleFinding | None:
    """A SyntaxError names its file, so it is clear whose it is."""
    link = seen.link("SyntaxError")
    if link is None:
        return None
    file, line = link.fact("file"), link.fact("lineno")
    fault = Responsibility.CODE if link.fact("owner") == "app" else Responsibility.TEST
    cause = f"{file or seen.failure.test} can't be parsed{f', line {line}' if line else ''}: {seen.said(link)}"
    return RuleFinding(Category.IMPORT, fault, cause, 0.97, f"parse {file}", GUARDS)


def circle_of_imports(seen: Evidence) -> RuleFinding | None:
    """A module that is asked for a name while it is still being imported."""
    link = seen.link("ImportError", "AttributeError")
    if link is None or not seen.says(r"partially initialized module|circular import"):
        return None
    cause = f"modules import each other in a circle, at {seen.place()}: {seen.said(link)}"
    return RuleFinding(Category.IMPORT, seen.blamed, cause, 0.95, f"circle {seen.place()}")


def cannot_be_imported(seen: Evidence) -> RuleFinding | None:
    """A module or a name that is not there: not installed, or never written."""
    link = seen.link("ImportError")
    if link is None:
        return None
    name = link.fact("name")
    place = seen.place("test", "app", "kit")
    if link.fact("declared"):
        cause = f"{name} is in the lock, but not installed in this environment"
        install = "nox -s setup, or nox with --no-reuse-existing-virtualenvs"
        return RuleFinding(Category.IMPORT, Responsibility.INFRASTRUCTURE, cause, 0.95, f"install {name}", install)
    fault = Responsibility.CODE if place and place.owner == "app" else Responsibility.TEST
    cause = f"{seen.said(link)}, imported at {place or seen.failure.test}"
    return RuleFinding(Category.IMPORT, fault, cause, 0.92, f"import {name} {place}", REPRODUCE)


def collected_wrongly(seen: Evidence) -> RuleFinding | None:
    """What pytest can't even decode."""
    if seen.failure.phase != "collect" or not seen.says(r"null bytes|codec can't decode|import file mismatch"):
        return None
    cause = f"{seen.failure.test} can't be read: {seen.said()}"
    return RuleFinding(Category.IMPORT, Responsibility.TEST, cause, 0.9, f"parse {seen.failure.test}", GUARDS)


RULES = (cannot_be_parsed, circle_of_imports, cannot_be_imported, collected_wrongly)
