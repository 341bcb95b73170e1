"""What is kept of one failure: its exceptions as structure, where it happened, and what the services were doing then.

It is small, holds no secret, and goes through JSON unchanged: that is how it travels from an xdist worker into a run's record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from pydantic import TypeAdapter

PROPERTY = "errors.failure"

Owner = Literal["test", "kit", "app", "library"]
Phase = Literal["collect", "setup", "call", "teardown", "run"]
Relation = Literal["raised", "cause", "context", "hidden", "member"]
Subject = Literal["", "app", "test"]
Fact = str | int | bool


@dataclass(frozen=True)
class Frame:
    """One line that was being executed, and whose it is; the file is relative to the project, or to its package."""

    file: str
    line: int
    function: str
    owner: Owner

    def __str__(self) -> str:
        return f"{self.file}:{self.line} in {self.function}"


@dataclass(frozen=True)
class Link:
    """One exception of a chain: `types` are its class and the classes that one is made of, most special first."""

    types: tuple[str, ...]
    message: str
    relation: Relation = "raised"
    facts: Mapping[str, Fact] | None = None
    frames: tuple[Frame, ...] = ()

    @property
    def type(self) -> str:
        return self.types[0]

    def fact(self, name: str) -> Fact | None:
        return (self.facts or {}).get(name)


@dataclass(frozen=True)
class ServiceState:
    """How a service looked when the test had failed, and what the guardian had healed by then."""

    name: str
    state: str
    detail: str = ""
    provider: str = ""


@dataclass(frozen=True)
class Circumstances:
    """What it takes to make the same run again."""

    mode: str = ""
    provider: str = ""
    seed: int | None = None
    workers: int = 0
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Failure:
    """One failure of one test.

    `subject` tells whether the failed line is about the app or the test alone, `shared` what it reads that other tests change,
    `overrides` which dependencies were replaced, `waiting` where the test's own task stood when its time was over.
    """

    test: str
    phase: Phase
    chain: tuple[Link, ...] = ()
    fixture: str = ""
    fixtures: tuple[str, ...] = ()
    subject: Subject = ""
    expression: str = ""
    shared: str = ""
    shared_fixtures: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    waiting: tuple[Frame, ...] = ()
    services: tuple[ServiceState, ...] = ()
    healed: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    worker: str = ""
    began: float = 0.0
    ended: float = 0.0
    circumstances: Circumstances = Circumstances()
    text: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON has it, without what is empty."""
        return {name: value for name, value in asdict(self).items() if value not in ("", (), None, 0.0)}

    @staticmethod
    def from_json(kept: Mapping[str, Any]) -> Failure:
        """Read what `to_json` gave."""
        return _adapter().validate_python(kept)


@cache
def _adapter() -> TypeAdapter[Failure]:
    from pydantic import TypeAdapter  # only who reads a record needs it

    return TypeAdapter(Failure)
