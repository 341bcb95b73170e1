"""What a guard reads and what it says: a `Source` is one file of the tree, parsed at most once; a `Finding` is one
fault with its place and its remedy; a `Guard` joins the files it is concerned with to the function that judges them."""

from __future__ import annotations

import ast
import os
import re
import subprocess
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

NEVER_OURS = frozenset({"__pycache__", "node_modules", "build", "dist"})
ON_PURPOSE = re.compile(r"#\s*on purpose: \S+")


def words(text: str) -> frozenset[str]:
    """Read a set of words off one line."""
    return frozenset(text.split())


@dataclass(frozen=True, order=True)
class Finding:
    """One fault: where it stands, what it is and why, and what to do about it."""

    path: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


@dataclass(frozen=True)
class Source:
    """One file of the tree: `path` is relative to the root, with forward slashes."""

    root: Path
    path: str

    @property
    def pure_path(self) -> PurePosixPath:
        return PurePosixPath(self.path)

    @cached_property
    def content(self) -> bytes:
        return (self.root / self.path).read_bytes()

    @cached_property
    def text(self) -> str:
        """The file as text; undecodable bytes are replaced, because the syntax guard reports them."""
        return self.content.decode("utf-8", errors="replace")

    @cached_property
    def tree(self) -> ast.Module:
        """The parsed module; empty when it does not parse, because ruff reports that."""
        try:
            return ast.parse(self.content, filename=self.path)
        except (SyntaxError, ValueError):
            return ast.Module(body=[], type_ignores=[])

    @cached_property
    def _lines(self) -> list[str]:
        return self.text.splitlines()

    def on_purpose(self, line: int) -> bool:
        """Say whether this line ends in a comment `# on purpose: <why>`."""
        return line <= len(self._lines) and ON_PURPOSE.search(self._lines[line - 1]) is not None


@dataclass(frozen=True)
class Guard:
    """A rule of the house. One that `reads_together` needs all its files, even when only one of them changed."""

    name: str
    concerns: Callable[[PurePosixPath], bool]
    check: Callable[[Sequence[Source]], list[Finding]]
    reads_together: bool = False


def files_of(root: Path) -> list[Source]:
    """List the files that belong to the project: what git would track; without git, all but hidden and built ones."""
    return [Source(root, path) for path in sorted(_known_to_git(root) or _walk(root))]


def python_below(*folders: str) -> Callable[[PurePosixPath], bool]:
    """Concern Python files inside these folders."""
    return lambda path: path.suffix == ".py" and path.parts[0] in folders


def _known_to_git(root: Path) -> list[str]:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=root, capture_output=True, check=True, timeout=30).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [path for path in {*os.fsdecode(listed).split("\0")} if path and (root / path).is_file()]


def _walk(root: Path) -> Iterable[str]:
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in NEVER_OURS and not _hidden(name)]
        for name in files:
            yield (Path(folder) / name).relative_to(root).as_posix()


def _hidden(folder: str) -> bool:
    return folder.startswith(".") and folder != ".github"
