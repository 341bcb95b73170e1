"""What is installed, followed from the direct requirements to the last thing that any of them needs here."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name


@dataclass(frozen=True)
class Distribution:
    """An installed distribution: its version and the requirements it declares."""

    version: str
    requires: tuple[Requirement, ...] = ()


@dataclass(frozen=True)
class DeclaredRequirement:
    """One requirement and who has it; `by` is empty for pyproject.toml's own."""

    requirement: Requirement
    by: str = ""

    @property
    def name(self) -> NormalizedName:
        return canonicalize_name(self.requirement.name)

    def __str__(self) -> str:
        bare = f"{self.requirement.name}{self.requirement.specifier}"
        return f"{bare}, which {self.by} needs" if self.by else bare


Lookup = Callable[[NormalizedName], Distribution | None]


@dataclass
class Walk:
    """Every need that holds in this environment, and every distribution that was found for one."""

    needs: list[DeclaredRequirement] = field(default_factory=list)
    found: dict[NormalizedName, Distribution] = field(default_factory=dict)
    missing: set[NormalizedName] = field(default_factory=set)

    @property
    def reached(self) -> set[NormalizedName]:
        return {*self.found, *self.missing}


def installed_distribution(name: NormalizedName) -> Distribution | None:
    """Look a distribution up in the running environment."""
    try:
        found = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None
    return Distribution(found.version, tuple(Requirement(text) for text in found.requires or ()))


def walk(direct: Iterable[Requirement], lookup: Lookup) -> Walk:
    """Follow requirements, their extras and their markers through what is installed."""
    result = Walk()
    waiting = deque(DeclaredRequirement(requirement) for requirement in direct if _holds(requirement, frozenset()))
    followed: set[tuple[NormalizedName, frozenset[str]]] = set()
    while waiting:
        need = waiting.popleft()
        result.needs.append(need)
        extras = frozenset(need.requirement.extras)
        if (need.name, extras) in followed:
            continue
        followed.add((need.name, extras))
        distribution = result.found.get(need.name) or lookup(need.name)
        if distribution is None:
            result.missing.add(need.name)
            continue
        result.found[need.name] = distribution
        waiting.extend(DeclaredRequirement(then, need.name) for then in distribution.requires if _holds(then, extras))
    return result


def _holds(requirement: Requirement, extras: frozenset[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in extras or {""})
