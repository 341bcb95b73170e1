"""How many files and lines a new project has, and how many of them are its user's own.

A limit may be lowered, never raised.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.template.workbench import ROOT, Workbench

OWN = ("app", "tests")


@dataclass(frozen=True)
class Weight:
    files: int
    lines: int

    @classmethod
    def of(cls, files: Iterable[Path]) -> Weight:
        lines = [file.read_bytes().count(b"\n") for file in files]
        return cls(len(lines), sum(lines))

    def __str__(self) -> str:
        return f"{self.files} files, {self.lines} lines"


LIMITS = {
    "agents": {"in all": Weight(485, 54_800), "own": Weight(110, 10_700)},  # to come: 330, 34,000; 110, 10,500
    "none": {"in all": Weight(402, 45_200), "own": Weight(30, 2_000)},
}


@pytest.mark.parametrize("example", LIMITS)
def test_a_new_project_has_no_more_than(example: str, workbench: Workbench, tmp_path: Path) -> None:
    ended = workbench.typed({"example": example}, template=ROOT, into=tmp_path / "made")
    assert ended.code == 0, ended.said
    project = tmp_path / "made" / "order-desk"
    parts: dict[str, list[Path]] = {}
    for file in sorted(project.rglob("*")):
        if file.is_file():
            place = file.relative_to(project).parts
            parts.setdefault(place[0] if len(place) > 1 else "the project's folder", []).append(file)

    for part, files in parts.items():
        print(f"{part:<20} {Weight.of(files)}")
    weights = {
        "in all": Weight.of(file for files in parts.values() for file in files),
        "own": Weight.of(file for part in OWN for file in parts[part]),
    }
    print(*(f"{name}: {weight}" for name, weight in weights.items()), sep="\n")

    for name, limit in LIMITS[example].items():
        assert weights[name].files <= limit.files, f"{name}: {weights[name]}, and {limit} is the limit"
        assert weights[name].lines <= limit.lines, f"{name}: {weights[name]}, and {limit} is the limit"
