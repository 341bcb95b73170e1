"""What pyproject.toml and the engine's own ask for, what the locks pin and what is installed are one and the same, judged offline.

A dependency that was added without locking works on the machine of its author alone; a pin that nothing needs is
code that nobody asked for. The walk starts at the direct requirements and follows what the installed distributions
say they need, here, on this platform and this Python.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

from test_framework.guards.installed import Lookup, Walk, installed_distribution, walk
from test_framework.guards.pins import Pin, read_lock
from test_framework.guards.source import Finding, Guard, Source

PYPROJECT = "pyproject.toml"
ENGINE = "commitstream/pyproject.toml"
RUNTIME_LOCK = "requirements.lock"
DEV_LOCK = "requirements-dev.lock"
FILES = (PYPROJECT, ENGINE, RUNTIME_LOCK, DEV_LOCK)
GROUP = "dev"
RELOCK = "run: nox -s lock"
REINSTALL = "run: nox -s setup, or nox with --no-reuse-existing-virtualenvs"

Group = Sequence[str | Mapping[str, str]]


def concerns(path: PurePosixPath) -> bool:
    """Concern both pyproject.toml and the two locks made from them."""
    return path.as_posix() in FILES


def check(files: Sequence[Source], lookup: Lookup = installed_distribution) -> list[Finding]:
    """Find where the locks differ from pyproject.toml, from each other and from what is installed."""
    by_path = {source.path: source for source in files}
    absent = [Finding(path, 1, f"does not exist; {RELOCK}") for path in FILES if path not in by_path]
    if absent:
        return absent
    project, engine = (_ProjectFile(tomllib.loads(by_path[path].text)) for path in (PYPROJECT, ENGINE))
    direct = {PYPROJECT: project.runtime, ENGINE: engine.runtime}
    runtime = _Lock(by_path[RUNTIME_LOCK], direct, lookup)
    dev = _Lock(by_path[DEV_LOCK], {**direct, PYPROJECT: [*project.runtime, *project.dev]}, lookup)
    own = {project.name, engine.name}
    return sorted({*runtime.faults(own), *dev.faults(own), *_disagreements(runtime, dev)})


class _ProjectFile:
    """What one pyproject.toml asks for."""

    def __init__(self, pyproject: Mapping[str, Mapping[str, object]]) -> None:
        project = pyproject["project"]
        self.name = canonicalize_name(str(project["name"]))
        dependencies = project.get("dependencies", [])
        assert isinstance(dependencies, list)
        self.runtime = [Requirement(text) for text in dependencies]
        self._groups = pyproject.get("dependency-groups", {})
        self.dev = list(self._group(GROUP))

    def _group(self, name: str) -> Iterator[Requirement]:
        members = self._groups.get(name, [])
        assert isinstance(members, list)
        for member in members:
            if isinstance(member, str):
                yield Requirement(member)
            else:
                yield from self._group(member["include-group"])


@dataclass(frozen=True)
class _Lock:
    """One lock, and the direct requirements it was made from, by the file that has them."""

    source: Source
    direct: Mapping[str, Sequence[Requirement]]
    lookup: Lookup

    @cached_property
    def _read(self) -> tuple[list[Pin], list[tuple[int, str]]]:
        return read_lock(self.source.text)

    @cached_property
    def pins(self) -> dict[NormalizedName, list[Pin]]:
        pins: dict[NormalizedName, list[Pin]] = {}
        for pin in self._read[0]:
            pins.setdefault(pin.name, []).append(pin)
        return pins

    def faults(self, own: Collection[NormalizedName]) -> Iterator[Finding]:
        for line, text in self._read[1]:
            yield self._finding(line, f"{text.split(' --hash')[0]!r} is no pin: a lock holds name==version with hashes")
        for pin in self._read[0]:
            if not pin.hashed:
                yield self._finding(pin.line, f"{pin.name}=={pin.version} has no hash, so pip could install anything")
            if pin.name in own:
                yield self._finding(
                    pin.line, "names the project itself or its engine, which is run from its files, not installed"
                )
        yield from self._unlocked()
        reached = walk([requirement for asked in self.direct.values() for requirement in asked], self.lookup)
        yield from self._unpinned(reached)
        yield from self._orphans(reached)

    def _unlocked(self) -> Iterator[Finding]:
        """Judge every direct requirement, also those whose marker does not hold here."""
        for file, requirement in ((file, each) for file, asked in self.direct.items() for each in asked):
            pins = self.pins.get(canonicalize_name(requirement.name), [])
            if not any(requirement.specifier.contains(pin.version, prereleases=True) for pin in pins):
                have = " and ".join(f"pins {pin.version}" for pin in pins) or "has no pin for it"
                wanted = f"{requirement.name}{requirement.specifier}"
                yield self._finding(pins[0].line if pins else 1, f"{file} asks for {wanted}, but this lock {have}")

    def _unpinned(self, reached: Walk) -> Iterator[Finding]:
        for need in reached.needs:
            pins = [pin for pin in self.pins.get(need.name, []) if pin.holds_here]
            if not pins and need.by:
                yield self._finding(1, f"has no pin for {need} here")
            for pin in pins:
                if need.by and not need.requirement.specifier.contains(pin.version, prereleases=True):
                    yield self._finding(pin.line, f"{pin.name}=={pin.version} does not satisfy {need}")
                yield from self._not_as_installed(pin, reached)

    def _not_as_installed(self, pin: Pin, reached: Walk) -> Iterator[Finding]:
        found = reached.found.get(pin.name)
        if found is None:
            yield self._finding(pin.line, f"{pin.name}=={pin.version} is not installed", REINSTALL)
        elif found.version != pin.version:
            what = f"{pin.name}=={pin.version} is pinned, but {found.version} is installed"
            yield self._finding(pin.line, what, REINSTALL)

    def _orphans(self, reached: Walk) -> Iterator[Finding]:
        if reached.missing:
            return  # what a missing distribution needs is not known, so nothing can be called needless
        for pin in self._read[0]:
            if pin.holds_here and pin.name not in reached.reached:
                yield self._finding(pin.line, f"{pin.name}=={pin.version} is an orphan: nothing here needs it")

    def _finding(self, line: int, what: str, remedy: str = RELOCK) -> Finding:
        return Finding(self.source.path, line, f"{what}; {remedy}")


def _disagreements(runtime: _Lock, dev: _Lock) -> Iterable[Finding]:
    for name, pins in runtime.pins.items():
        ours, theirs = ({pin.version for pin in some} for some in (pins, dev.pins.get(name, [])))
        if ours != theirs:
            have = " and ".join(sorted(theirs)) or "no pin at all"
            what = f"{name} is {' and '.join(sorted(ours))} in {RUNTIME_LOCK} but {have} here, so tests run other code"
            line = dev.pins[name][0].line if theirs else 1
            yield Finding(DEV_LOCK, line, f"{what}; {RELOCK}")


GUARD = Guard("lockfile", concerns, check, reads_together=True)
