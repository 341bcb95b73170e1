"""Check the project's rules that can be read off the files: the whole tree, or only the named files and folders.

Prints every finding as `path:line: what, why, what to do`, then how many files each guard read. A guard that found
nothing to read fails too, and so does a name that leads to no file: a check that reads nothing is always green.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

try:
    from test_framework.guards import (
        docker_calls,
        event_loops,
        fixture_scopes,
        folders,
        ignorance,
        lockfile,
        mocks,
        syntax,
    )
    from test_framework.guards.source import Finding, Guard, Source, files_of
except ModuleNotFoundError as missing:
    if str(missing.name).startswith("test_framework"):
        raise
    package = missing.name
    sys.exit(f"python -m test_framework.guards needs the package {package}, which is not installed; next: nox -s setup")

GUARDS: tuple[Guard, ...] = (
    syntax.GUARD,
    ignorance.GUARD,
    event_loops.GUARD,
    fixture_scopes.GUARD,
    docker_calls.GUARD,
    mocks.GUARD,
    folders.GUARD,
    lockfile.GUARD,
)


def main(arguments: Sequence[str], root: Path, guards: Sequence[Guard] = GUARDS) -> int:
    """Run the guards, print what they found, and return the exit code."""
    tree = files_of(root)
    try:
        asked = _named_files(arguments, root, tree)
    except NothingToReadError as error:
        print(error)
        return 2
    tree += [Source(root, path) for path in sorted(asked - {source.path for source in tree})]
    findings: list[Finding] = []
    read: list[str] = []
    blind: list[str] = []
    for guard in guards:
        files = _files_for(guard, tree, asked)
        if not files and asked:
            continue
        if not files:
            blind.append(guard.name)
            continue
        findings += guard.check(files)
        read.append(f"{guard.name} read {len(files)}")

    for finding in sorted(set(findings)):
        print(finding)
    for name in blind:
        print(f"{name}: found no file to read, so it proves nothing; correct what it is concerned with")
    summary = ", ".join(read) or "no guard is concerned with these files"
    print(f"guards: {summary}: {len(set(findings))} findings")
    return 1 if findings or blind else 0


class NothingToReadError(Exception):
    """A name on the command line leads to no file of the project."""


def _named_files(names: Sequence[str], root: Path, tree: Sequence[Source]) -> frozenset[str]:
    """Return the files that the names stand for: a file for itself, a folder for all of the project below it."""
    files: set[str] = set()
    for name in names:
        path = Path(name).resolve()
        if not path.is_relative_to(root.resolve()):
            raise NothingToReadError(f"{name}:1: lies outside the project {root}; run the guards in its own project")
        relative = path.relative_to(root.resolve())
        below = {source.path for source in tree if source.pure_path.is_relative_to(relative)}
        if path.is_file():
            below = {relative.as_posix()}
        elif not path.exists():
            raise NothingToReadError(f"{name}:1: does not exist, so nothing was read; correct the name")
        elif not below:
            raise NothingToReadError(
                f"{name}:1: holds no file of the project, so nothing was read; is it ignored by git?"
            )
        files |= below
    return frozenset(files)


def _files_for(guard: Guard, tree: Sequence[Source], asked: frozenset[str]) -> list[Source]:
    files = [source for source in tree if guard.concerns(source.pure_path)]
    if not asked:
        return files
    touched = [source for source in files if source.path in asked]
    return files if touched and guard.reads_together else touched


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path.cwd()))
