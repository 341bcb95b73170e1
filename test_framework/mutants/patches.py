"""The ways to break the service, read from a document: a heading, a few words, the tests that notice first, and a diff.

A diff holds no line numbers: what it takes away must stand in its file exactly once, or it is a diff for another day's code
and says so.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from test_framework.modes import Mode

SECTION = re.compile(r"^## (.+?)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
NOTICED = re.compile(r"^Noticed by `([^`]+)`(?: in (\w+))?\.$", re.MULTILINE)
DIFF = re.compile(r"^```diff\n--- (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


WITHOUT_EFFECT = "  # changed without effect"


class StaleMutant(Exception):
    """A way to break code that no longer stands there: correct its diff, or strike it out."""


@dataclass(frozen=True)
class Patch:
    """One stretch of one file, as it is and as it would be broken."""

    file: str
    old: str
    new: str

    def apply(self, root: Path) -> None:
        """Break the file in a tree."""
        path, text = root / self.file, self._text(root)
        path.write_text(text.replace(self.old, self.new), encoding="utf-8")

    def lines(self, root: Path) -> range:
        """Return the lines of the file that the patch replaces, counted from 0."""
        text = self._text(root)
        first = text.count("\n", 0, text.index(self.old))
        return range(first, first + self.old.count("\n"))

    def _text(self, root: Path) -> str:
        path = root / self.file
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        if (count := text.count(self.old)) != 1:
            raise StaleMutant(f"{self.file} holds this {count} times instead of once:\n{self.old}")
        return text


@dataclass(frozen=True)
class Mutant:
    """One way to break the service, the tests that should notice first, and the mode in which they do."""

    name: str
    patches: tuple[Patch, ...]
    tests: str
    mode: Mode

    def apply(self, root: Path) -> None:
        for patch in self.patches:
            try:
                patch.apply(root)
            except StaleMutant as stale:
                raise StaleMutant(f"{self.name}: {stale}") from None


def read(document: Path) -> list[Mutant]:
    """Take the ways out of a document, which may hold none yet; one that can't be understood is an error."""
    text = document.read_text(encoding="utf-8")
    mutants = [_mutant(name, body) for name, body in SECTION.findall(text)]
    if not mutants and DIFF.search(text):
        raise ValueError(f"{document} names no way to break anything: each begins with a heading, `## …`")
    return mutants


def _mutant(name: str, body: str) -> Mutant:
    noticed = NOTICED.search(body)
    patches = tuple(_patch(file, lines) for file, lines in DIFF.findall(body))
    if noticed is None or not patches:
        raise ValueError(
            f"{name}: needs a line like “Noticed by `tests/test_it.py`.” and a ```diff that begins with ---"
        )
    tests, mode = noticed.groups()
    return Mutant(name, patches, tests, Mode(mode or Mode.LIGHTWEIGHT))


def _patch(file: str, lines: str) -> Patch:
    kept = [(line[:1], line[1:]) for line in lines.splitlines()]
    if strange := [mark + rest for mark, rest in kept if mark not in {" ", "-", "+", ""}]:
        raise ValueError(f"a diff of {file} has lines that begin with none of ' ', '-' and '+': {strange}")
    old = "".join(f"{rest}\n" for mark, rest in kept if mark != "+")
    new = "".join(f"{rest}\n" for mark, rest in kept if mark != "-")
    return Patch(file, old, new)


def change_without_effect(mutants: Iterable[Mutant], root: Path) -> None:
    """Touch the lines that the mutants change, and nothing of what they do: the tree for the control run.

    A test that fails here judges the source, and would fail on every mutant alike.
    """
    touched: dict[str, list[range]] = {}
    for mutant in mutants:
        for patch in mutant.patches:
            touched.setdefault(patch.file, []).append(patch.lines(root))
    for file, stretches in touched.items():
        path = root / file
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        numbers = sorted({number for stretch in stretches for number in stretch})
        path.write_text("".join(_marked(lines, numbers, python=path.suffix == ".py")), encoding="utf-8")


def _marked(lines: list[str], numbers: Iterable[int], *, python: bool) -> list[str]:
    """Mark each of these lines, except where that would change what the program does."""
    meaning = _meaning(lines) if python else ""
    for number in numbers:
        before, end = lines[number].rstrip("\n"), "\n" if lines[number].endswith("\n") else ""
        marked = [*lines]
        marked[number] = f"{before}{WITHOUT_EFFECT if python else ' '}{end}"
        if not python or _meaning(marked) == meaning:
            lines = marked
    return lines


def _meaning(lines: Iterable[str]) -> str:
    """Return the parsed program without its docstrings; an empty text if it is none."""
    try:
        tree = ast.parse("".join(lines))
    except SyntaxError:
        return ""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            node.value.value = ""
    return ast.dump(tree)
