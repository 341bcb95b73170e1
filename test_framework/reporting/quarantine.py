"""Tests that may fail for a while: by name, with an owner, a reason and a day on which that ends.

A quarantined test still runs. When it fails, its run stays green and says so in a colour of its own. An entry that has
expired, that nobody can read or that names no test stops the run before it begins: a quarantine is a promise.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from test_framework.reporting.attempts import QUARANTINE

EXAMPLE = '[[quarantined]] test = "tests/unit/test_a.py::test_b", owner = "@who", reason = "why", expires = 2030-01-31'
_TEXTS = ("test", "owner", "reason")


class QuarantineError(ValueError):
    """A quarantine file that can't be kept: every fault in it, a line each."""


@dataclass(frozen=True)
class QuarantinedTest:
    """One test, or with its parameters left out all of a function's."""

    test: str
    owner: str
    reason: str
    expires: date

    def days_left(self, today: date) -> int:
        return (self.expires - today).days

    def covers(self, nodeid: str) -> bool:
        return nodeid == self.test or nodeid.startswith(f"{self.test}[")

    def __str__(self) -> str:
        return f"{self.owner}, until {self.expires}: {self.reason}"


@dataclass(frozen=True)
class Quarantine:
    entries: tuple[QuarantinedTest, ...] = ()

    def of(self, nodeid: str) -> QuarantinedTest | None:
        """Find the entry that covers a test."""
        return next((entry for entry in self.entries if entry.covers(nodeid)), None)

    def check_collected(self, nodeids: Iterable[str]) -> None:
        """Refuse parameters that no test has, where the function's tests were collected."""
        there = set(nodeids)
        functions = {nodeid.partition("[")[0] for nodeid in there}
        wrong = [
            f"{entry.test}: its function has no such parameters"
            for entry in self.entries
            if "[" in entry.test and entry.test not in there and entry.test.partition("[")[0] in functions
        ]
        if wrong:
            raise QuarantineError("\n".join(wrong))


def today() -> date:
    return datetime.now(UTC).date()


def load(file: Path, root: Path, on: date, most_days: int) -> Quarantine:
    """Read the file, and refuse it if anything is wrong with it; no file is an empty quarantine."""
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Quarantine()
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise QuarantineError(f"{file}: no TOML: {error}") from None
    tables = document.pop("quarantined", [])
    if document or not isinstance(tables, list):
        raise QuarantineError(f"{file}: holds more than entries ({', '.join(document)}); an entry is: {EXAMPLE}")
    faults = [f"{file}: entry {n}: {fault}" for n, table in enumerate(tables, 1) for fault in _faults_of_form(table)]
    if not faults:
        entries = tuple(QuarantinedTest(**table) for table in tables)
        faults = [f"{file}: {fault}" for fault in _faults_of_content(entries, root, on, most_days)]
        if not faults:
            return Quarantine(entries)
    raise QuarantineError("\n".join(faults))


def load_even_if_expired(file: Path) -> tuple[QuarantinedTest, ...]:
    """Read the entries for a report, which shows an expired one and must not fail of it."""
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8")).get("quarantined", [])
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError):
        return ()
    return tuple(QuarantinedTest(**table) for table in tables if not list(_faults_of_form(table)))


def mark(item: pytest.Item, report: pytest.TestReport, entry: QuarantinedTest) -> None:
    """Tell with the report that its test is in quarantine, and keep its fall from reddening the run."""
    told = (QUARANTINE, {"owner": entry.owner, "reason": entry.reason, "expires": entry.expires.isoformat()})
    if told not in item.user_properties:
        item.user_properties.append(told)
    if told not in report.user_properties:
        report.user_properties.append(told)
    if report.failed:
        report.wasxfail = f"quarantined: {entry}"


def _faults_of_form(table: object) -> Iterator[str]:
    if not isinstance(table, dict):
        yield f"is no table; write: {EXAMPLE}"
        return
    for name in _TEXTS:
        if not isinstance(table.get(name), str) or not table[name].strip():
            yield f"needs {name}, a text; write: {EXAMPLE}"
    if type(table.get("expires")) is not date:
        yield f"needs expires, a day without quotes; write: {EXAMPLE}"
    if unknown := table.keys() - {*_TEXTS, "expires"}:
        yield f"has what nobody knows: {', '.join(sorted(unknown))}"


def _faults_of_content(entries: Sequence[QuarantinedTest], root: Path, on: date, most_days: int) -> Iterator[str]:
    seen: set[str] = set()
    for entry in entries:
        left = entry.days_left(on)
        if entry.test in seen:
            yield f"{entry.test} is entered twice"
        seen.add(entry.test)
        if left < 0:
            yield f"{entry.test} expired on {entry.expires}: {entry.owner} mends or deletes it, or says why it stays"
        if left > most_days:
            yield f"{entry.test} expires in {left} days, and {most_days} are the most: a quarantine is no home"
        if not _exists(entry.test, root):
            yield f"{entry.test} names no test: correct the name, or delete the entry"


def _exists(test: str, root: Path) -> bool:
    """Look for the test in its file; its parameters show only when it is collected."""
    file, *names = test.partition("[")[0].split("::")
    try:
        body: Sequence[ast.AST] = ast.parse((root / file).read_bytes()).body
    except (OSError, SyntaxError, ValueError):
        return False
    for name in names:
        found = [
            node
            for node in body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.name == name
        ]
        if not found:
            return False
        body = found[-1].body
    return bool(names)
