"""What is said about failures: an explanation of each, and the few causes that they have in common, the weightiest first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from test_framework.errors.categories import Category, Responsibility

if TYPE_CHECKING:
    from pydantic import TypeAdapter

SURE, LIKELY = 0.9, 0.7


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What went wrong, whose fault it is, how sure that is, and what to do next."""

    category: Category
    fault: Responsibility
    root_cause: str
    confidence: float
    next_command: str
    reproduce: str

    @property
    def how_sure(self) -> str:
        return how_sure(self.confidence)


@dataclass(frozen=True, kw_only=True)
class Explanation(Judgement):
    """Why one test failed, as far as can be told; `cause` is the number of its cause in the diagnosis."""

    test: str
    phase: str
    rule: str = ""
    cause: int = 0


@dataclass(frozen=True, kw_only=True)
class Cause(Judgement):
    """One thing that went wrong, and every test that failed of it, the first in time first."""

    number: int
    count: int
    first: str
    tests: tuple[str, ...]
    where: str = ""
    line: int = 0


@dataclass(frozen=True)
class RunDiagnosis:
    """All that is said about a red run: `failures` as they were given, `causes` in the order to look at them."""

    failures: tuple[Explanation, ...] = ()
    causes: tuple[Cause, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(kept: Mapping[str, Any]) -> RunDiagnosis:
        """Read what `to_json` gave."""
        return _adapter().validate_python(kept)


def how_sure(confidence: float) -> str:
    """Say a confidence in a word or two."""
    if confidence >= SURE:
        return "sure"
    return "likely" if confidence >= LIKELY else "perhaps"


@cache
def _adapter() -> TypeAdapter[RunDiagnosis]:
    from pydantic import TypeAdapter  # only who reads a record needs it

    return TypeAdapter(RunDiagnosis)
