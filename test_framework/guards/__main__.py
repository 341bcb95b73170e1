"""Check the rules of the house that can be read off the files: the whole tree, or only the files named as arguments.

Prints every finding as `path:line: what, why, what to do`, then how many files each guard read. A guard that found
nothing to read fails too: a check that looks at nothing is always green.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from test_framework.guards import docker_calls, event_loops, fixture_scopes, folders, ignorance, lockfile, syntax
from test_framework.guards.source import Finding, Guard, Source, files_of

GUARDS: tuple[Guard, ...] = (
    syntax.GUARD,
    ignorance.GUARD,
    event_loops.GUARD,
    fixture_scopes.GUARD,
    docker_calls.GUARD,
    folders.GUARD,
    lockfile.GUARD,
)


def main(arguments: Sequence[str], root: Path, guards: Sequence[Guard] = GUARDS) -> int:
    """Run the guards, print what they found, and return the exit code."""
    tree = files_of(root)
    asked = _relative(arguments, root)
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


def _relative(arguments: Sequence[str], root: Path) -> frozenset[str]:
    return frozenset(Path(name).resolve().relative_to(root.resolve()).as_posix() for name in arguments)


def _files_for(guard: Guard, tree: Sequence[Source], asked: frozenset[str]) -> list[Source]:
    files = [source for source in tree if guard.concerns(source.pure_path)]
    if not asked:
        return files
    touched = [source for source in files if source.path in asked]
    return files if touched and guard.reads_together else touched


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path.cwd()))
