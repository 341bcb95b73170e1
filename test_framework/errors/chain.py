"""An exception and all that led to it, as a chain of links: classes, words, numbers and frames, and no live object."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from test_framework.errors.failure import Fact, Link, Relation
from test_framework.errors.frames import Places, of_traceback
from test_framework.errors.known import forgotten, limits, schema

LONGEST_CHAIN, MEMBERS, CLASSES = 8, 4, 5
FACTS = (
    "errno", "sqlstate", "code", "status_code", "status", "name", "argname", "filename", "lineno", "next_command", "next_step",
    "component", "phase", "why", "what", "winerror",
)  # fmt: skip
EVERYBODYS = {BaseException, Exception, object}


def links(error: BaseException, places: Places) -> tuple[Link, ...]:
    """Return an exception and what caused it, as far as it is worth keeping."""
    return tuple(link(each, relation, places) for each, relation in walk(error))


def link(error: BaseException, relation: Relation, places: Places) -> Link:
    return Link(
        types=tuple(classes(error)),
        message=places.clean(words(error)),
        relation=relation,
        facts=facts(error, places) or None,
        frames=of_traceback(error.__traceback__, places),
    )


def walk(error: BaseException) -> Iterator[tuple[BaseException, Relation]]:
    """Go from what was raised to what it came from, each exception once."""
    seen: set[int] = set()
    waiting: list[tuple[BaseException, Relation]] = [(error, "raised")]
    while waiting and len(seen) < LONGEST_CHAIN:
        current, relation = waiting.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current, relation
        if isinstance(current, BaseExceptionGroup):
            waiting += [(member, "member") for member in current.exceptions[:MEMBERS]]
        elif isinstance(reason := getattr(current, "reason", None), BaseException):
            waiting.append((reason, "cause"))  # as urllib and docker wrap what happened
        if current.__cause__ is not None:
            waiting.append((current.__cause__, "hidden" if relation == "hidden" else "cause"))
        elif (context := context_of(current)) is not None:
            hidden = current.__suppress_context__ or relation == "hidden"
            waiting.append((context, "hidden" if hidden else "context"))


def context_of(error: BaseException) -> BaseException | None:
    """Return what was being handled, past blockbuster's: outside of a loop it makes each call it watches in an `except`."""
    context = error.__context__
    while context is not None and raised_in(context).endswith("/blockbuster/blockbuster.py"):
        context = context.__context__
    return context


def raised_in(error: BaseException) -> str:
    """Return the file of the innermost frame."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace.tb_frame.f_code.co_filename.replace("\\", "/") if trace else ""


def classes(error: BaseException) -> Iterator[str]:
    known = [kind for kind in type(error).__mro__ if kind not in EVERYBODYS]
    for kind in known[:CLASSES] or [type(error)]:
        yield kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def words(error: BaseException) -> str:
    try:
        said = str(error)
    except Exception as unspeakable:  # noqa: BLE001 - a broken __str__ must not hide the failure
        said = f"(its text raises {type(unspeakable).__name__})"
    return "\n".join([said, *getattr(error, "__notes__", [])])


def facts(error: BaseException, places: Places) -> dict[str, Fact]:
    """Collect the numbers and names that an exception carries, wherever its library keeps them."""
    carriers = [error, *(getattr(error, name, None) for name in ("orig", "response", "rcvd"))]
    found: dict[str, Fact] = {}
    for name in FACTS:
        for carrier in carriers:
            try:
                value = getattr(carrier, name, None)
            except Exception:  # noqa: BLE001 - a property may raise anything
                continue
            if isinstance(value, str | int) and value != "":
                found.setdefault(name, value if isinstance(value, int) else places.clean(str(value), 200))
    if "filename" in found:
        found["file"], found["owner"] = places.of(str(getattr(error, "filename", "")))
        del found["filename"]
    if isinstance(error, ImportError) and error.name:
        found["declared"] = declared(error.name, places.roots[0])
    return {**found, **limits(error), **schema(words(error)), **forgotten(words(error))}


def declared(module: str, root: Path) -> bool:
    """Say whether the project's locks name the package of a module, so that its absence is the environment's fault."""
    package = module.partition(".")[0].replace("_", "-").lower()
    locked = re.compile(rf"(?im)^{re.escape(package)}(?:\[[^\]]*\])?\s*==")
    try:
        return any(locked.search(lock.read_text(encoding="utf-8")) for lock in root.glob("requirements*.lock"))
    except OSError:
        return False
