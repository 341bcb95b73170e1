"""The stored corpus: one failure on each line, with what was broken."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from test_framework.errors.categories import Category, Responsibility
from test_framework.errors.failure import Failure
from test_framework.tests.corpus.scenario import is_held_out

FILE = Path(__file__).with_name("failures.jsonl")


@dataclass(frozen=True)
class Labelled:
    """A failure, and what its scenario's author broke; those of one family were seen together."""

    family: str
    category: Category
    fault: Responsibility
    failure: Failure

    @property
    def held_out(self) -> bool:
        return is_held_out(self.family)


def read() -> list[Labelled]:
    return [_labelled(json.loads(line)) for line in FILE.read_text(encoding="utf-8").splitlines()]


def write(labelled: Iterable[Labelled]) -> None:
    lines = [
        json.dumps(
            {"family": one.family, "category": one.category, "fault": one.fault, "failure": one.failure.to_json()},
            ensure_ascii=False,
        )
        for one in labelled
    ]
    FILE.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _labelled(line: dict[str, object]) -> Labelled:
    return Labelled(
        str(line["family"]),
        Category(str(line["category"])),
        Responsibility(str(line["fault"])),
        Failure.from_json(line["failure"]),  # type: ignore[arg-type]
    )
