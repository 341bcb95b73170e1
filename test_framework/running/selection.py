"""What of the suite this run shows, and what it doesn't: nothing is left out without a reason and a number.

Whole folders are not even imported where their mode is another; single tests are left out where a need of theirs is not met.
In a parallel run every worker leaves out the same, so the controller reads what the first of them counted.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from signal import Signals
from typing import TypedDict

import pytest

from test_framework.modes import FOLDERS, NEEDS, Mode, folder_of
from test_framework.running import needs

ORDERS = ("random", "file", "reverse")


class SelectionRecord(TypedDict):
    """A selection as a worker sends it."""

    ignored: list[str]
    unmet: list[tuple[str, str, int]]
    deselected: int
    refused: list[str]
    selected: int


@dataclass
class Selection:
    """What one run selects, as far as it is known."""

    mode: Mode
    root: Path
    asked: Sequence[Path]
    answers: needs.Answers = field(default_factory=needs.Answers)
    ignored: set[Path] = field(default_factory=set)
    unmet: Counter[tuple[str, str]] = field(default_factory=Counter)
    deselected: int = 0
    refused: list[str] = field(default_factory=list)
    selected: int = 0

    def leaves_out(self, path: Path) -> bool:
        """Whether nothing below a path runs in this mode; it is remembered."""
        folder = folder_of(path, self.root)
        away = folder in FOLDERS and self.mode not in FOLDERS[folder]
        if away:
            self.ignored.add(path)
        return away

    def take(self, items: list[pytest.Item], *, without_model: bool) -> list[pytest.Item]:
        """Keep the tests whose needs are met; remember why the others are not here, and return them."""
        kept, away = [], []
        for item in items:
            lacking = needs.unmet(item, self.mode, self.root, self.answers, without_model=without_model)
            if lacking is not None:
                self.unmet[lacking] += 1
            if lacking is not None or self.leaves_out(item.path):  # whoever names a file has it collected
                away.append(item)
            else:
                kept.append(item)
        items[:] = kept
        return away

    def record(self) -> SelectionRecord:
        unmet = [(need, why, count) for (need, why), count in self.unmet.items()]
        return {
            "ignored": [str(path) for path in self.ignored],
            "unmet": unmet,
            "deselected": self.deselected,
            "refused": self.refused,
            "selected": self.selected,
        }

    def adopt(self, record: SelectionRecord) -> None:
        """Take over what a worker of this run counted."""
        self.ignored = {Path(path) for path in record["ignored"]}
        self.unmet = Counter({(need, why): count for need, why, count in record["unmet"]})
        self.deselected = record["deselected"]
        self.refused = record["refused"]
        self.selected = record["selected"]

    def left_out(self) -> Iterator[str]:
        """Tell what this run does not show, a line for each reason."""
        files: Counter[str] = Counter()
        functions: Counter[str] = Counter()
        for file in {file for path in self.ignored for file in _test_files(path) if self._was_asked_for(file)}:
            folder = folder_of(file, self.root)
            files[folder] += 1
            functions[folder] += count_tests(file)
        for folder in sorted(files):
            others = " or ".join(f"nox -s {other}" for other in Mode if other in FOLDERS[folder])
            what = f"{_many(functions[folder], 'test function')} in {_many(files[folder], 'file')} of {folder}/"
            yield f"not run in {self.mode}: {what}, for {NEEDS[folder]}: {others}"
        for (what, why), count in sorted(self.unmet.items()):
            tests = "test needs" if count == 1 else "tests need"
            yield f"not run in {self.mode}: {count} {tests} {needs.KNOWN[what].what}: {why}"
        if self.deselected:
            yield f"not run: {_many(self.deselected, 'test')} that the options deselected (-k, -m, --deselect)"

    def _was_asked_for(self, file: Path) -> bool:
        return any(file.is_relative_to(asked) for asked in self.asked)

    def unfinished(self, shown: Collection[str], heard: Signals | None) -> Iterator[str]:
        """Tell how many of the selected tests this run has not got to."""
        if (missing := self.selected - len(shown)) > 0 and shown:
            why = f"{heard.name} came" if heard else "the run was stopped before"
            yield f"not run: {missing} of {self.selected} selected tests, because {why}"

    @property
    def lacks_a_model(self) -> bool:
        """Whether tests were left out for want of a real model, and nobody said that they should be."""
        left_out = any(need == needs.MODEL and why != needs.BY_CHOICE for need, why in self.unmet)
        return left_out and self.mode is Mode.FULL


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _test_files(path: Path) -> list[Path]:
    return [path] if path.suffix == ".py" else list(path.rglob("test_*.py"))


def count_tests(file: Path) -> int:
    """How many test functions a file defines, without importing it; one that is parametrised counts once."""
    module = ast.parse(file.read_text(encoding="utf-8"))
    classes = [node for node in module.body if isinstance(node, ast.ClassDef) and node.name.startswith("Test")]
    bodies = [module.body, *(node.body for node in classes)]
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return sum(isinstance(node, functions) and node.name.startswith("test") for body in bodies for node in body)
