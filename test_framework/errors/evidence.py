"""Questions that rules ask of a failure, so that each rule reads as the sentence it is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from test_framework import SERVICE
from test_framework.errors.categories import Category, Responsibility
from test_framework.errors.failure import Failure, Frame, Link, Owner, ServiceState
from test_framework.errors.frames import innermost

WELL = {"healthy", "starting"}
SENTENCE = 150
# where a guard says that it began
NAMED = re.compile(rf"(?<![\w/])({'|'.join(SERVICE)}|tests|test_framework/tests)/[\w/]+\.py:\d+")


@dataclass(frozen=True)
class RuleFinding:
    """What a rule says: `key` is what failures of one cause have in common."""

    category: Category
    fault: Responsibility
    root_cause: str
    confidence: float
    key: str
    next_command: str = ""
    rule: str = ""


@dataclass(frozen=True)
class Evidence:
    failure: Failure

    @cached_property
    def links(self) -> tuple[Link, ...]:
        return self.failure.chain

    @cached_property
    def text(self) -> str:
        """All that was said, from what was raised to what it came from."""
        return "\n".join([*(f"{link.type}: {link.message}" for link in self.links), self.failure.text])

    @property
    def raised(self) -> Link | None:
        return self.links[0] if self.links else None

    @cached_property
    def root(self) -> Link | None:
        """What it came from, leaving out what was hidden on purpose."""
        return next((link for link in reversed(self.links) if link.relation != "hidden"), None)

    def link(self, *types: str) -> Link | None:
        """Return the first exception that is of one of these classes, or of one made of them; `x.` is a whole package."""
        return next((link for link in self.links if any(_is(name, types) for name in link.types)), None)

    def exactly(self, *types: str) -> Link | None:
        """Return the first exception of one of these very classes."""
        return next((link for link in self.links if _is(link.type, types)), None)

    def says(self, pattern: str) -> re.Match[str] | None:
        return re.search(pattern, self.text, re.IGNORECASE)

    def fact(self, name: str) -> str | int | bool | None:
        return next((found for link in self.links if (found := link.fact(name)) is not None), None)

    def errno(self, *numbers: int) -> Link | None:
        return next((link for link in self.links if link.fact("errno") in numbers), None)

    @cached_property
    def sqlstate(self) -> str:
        return str(self.fact("sqlstate") or "")

    @cached_property
    def frames(self) -> tuple[Frame, ...]:
        """All frames, from the outermost of what was raised to the innermost of what it came from."""
        return tuple(frame for link in self.links for frame in link.frames)

    def through(self, *packages: str) -> bool:
        """Say whether a line of one of these libraries was being executed."""
        return any(frame.owner == "library" and frame.file.startswith(packages) for frame in self.frames)

    def place(self, *owners: Owner) -> Frame | None:
        """Return the innermost line of ours, where it came from rather than where it was raised again."""
        wanted = owners or ("test", "kit", "app")
        told = [link for link in self.links if link.relation != "hidden"]
        return next((frame for link in reversed(told) if (frame := innermost(link.frames, *wanted))), None)

    @cached_property
    def blamed(self) -> Responsibility:
        """Whose the innermost line of the app or the test is."""
        frame = self.place("test", "app")
        if frame is None and (named := NAMED.search(self.text)):
            return Responsibility.CODE if named.group(1) in SERVICE else Responsibility.TEST
        if frame is None:
            return Responsibility.TEST if self.place("kit") else Responsibility.UNKNOWN
        return Responsibility.CODE if frame.owner == "app" else Responsibility.TEST

    @property
    def unwell(self) -> tuple[ServiceState, ...]:
        """The services that were not healthy when the test had failed."""
        return tuple(service for service in self.failure.services if service.state not in WELL)

    def state_of(self, service: str) -> str:
        """Say how a service looked, where it was looked at and was not well."""
        return next((f"it was {seen.state}" for seen in self.unwell if seen.name == service), "")

    def said(self, link: Link | None = None) -> str:
        """Return the first line of what an exception says, short enough for a sentence."""
        link = link or self.root or self.raised
        return shortened(link.message if link else self.failure.text)


def shortened(text: str, longest: int = SENTENCE) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    first = lines[0] if lines else "it says nothing"
    return first if len(first) <= longest else f"{first[: longest - 1]}…"


def short(type_name: str) -> str:
    return type_name.rpartition(".")[2]


def _is(name: str, wanted: Sequence[str]) -> bool:
    return any(name.startswith(each) if each.endswith(".") else name == each for each in wanted)
