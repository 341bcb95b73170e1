"""Shards: one collection, split once: `--shard 2/4` runs the second share of four.

The first shard to collect writes the plan, balanced by what each test took before; the others find it and obey it. That each test
then ran in exactly one of them is shown by `shard_proof`.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import statistics
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

DIRECTORY = Path(".reports", "shards")


class ShardError(Exception):
    """A shard that was asked for wrongly, or can't be had."""


@dataclass(frozen=True)
class Shard:
    """One of several: `2/4`, counted from 1."""

    index: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read `2/4`."""
        index, slash, of = text.partition("/")
        if not (slash and index.isdecimal() and of.isdecimal() and 1 <= int(index) <= int(of)):
            raise ShardError(f"{text!r} is no shard: write --shard 2/4 for the second of four")
        return cls(int(index), int(of))

    def __str__(self) -> str:
        return f"{self.index}/{self.of}"


@dataclass(frozen=True)
class Plan:
    """Which test belongs to which shard."""

    shares: tuple[tuple[str, ...], ...]

    @property
    def digest(self) -> str:
        """The same for the same shares, on every machine."""
        return hashlib.sha256(json.dumps(self.shares).encode()).hexdigest()[:16]

    @property
    def node_ids(self) -> frozenset[str]:
        return frozenset(node_id for share in self.shares for node_id in share)

    def fits(self, node_ids: Collection[str], of: int) -> bool:
        return len(self.shares) == of and self.node_ids == frozenset(node_ids)


def split(node_ids: Iterable[str], of: int, seconds: Mapping[str, float]) -> Plan:
    """Share tests out, the longest first, each to the shard with the least to do; an unknown one counts as the median."""
    unique = sorted(set(node_ids))
    if len(unique) < of:
        raise ShardError(f"{of} shards for {len(unique)} tests would leave some empty: ask for at most {len(unique)}")
    usual = statistics.median(seconds.values()) if seconds else 1.0
    by_length = sorted(unique, key=lambda node_id: (-seconds.get(node_id, usual), node_id))
    shares: list[list[str]] = [[] for _ in range(of)]
    loads = [(0.0, 0, index) for index in range(of)]
    for node_id in by_length:
        load, tests, index = heapq.heappop(loads)
        shares[index].append(node_id)
        heapq.heappush(loads, (load + seconds.get(node_id, usual), tests + 1, index))
    return Plan(tuple(tuple(sorted(share)) for share in shares))


def plan_file(mode: str, directory: Path = DIRECTORY) -> Path:
    """Where the plan of a mode lies; hand it from machine to machine, and all obey the same."""
    return directory / f"plan-{mode}.json"


def plan_for(node_ids: Collection[str], of: int, usual_seconds: Callable[[], Mapping[str, float]], file: Path) -> Plan:
    """Return the plan that fits this collection: the one that lies there, or a new one, which is then written down."""
    try:
        found = Plan(tuple(tuple(share) for share in json.loads(file.read_text())))
    except FileNotFoundError:
        found = None
    except (ValueError, TypeError) as error:
        raise ShardError(f"{file} is not a plan ({error}): delete it") from None
    if found and found.fits(node_ids, of):
        return found
    plan = split(node_ids, of, usual_seconds())
    file.parent.mkdir(parents=True, exist_ok=True)
    _forget_proofs_of_another_plan(file)
    # workers collect at the same time and write the same: whoever is last replaces a whole file by a whole file
    draft = file.with_name(f"{file.name}.{time.monotonic_ns()}")
    draft.write_text(json.dumps(plan.shares, indent=0))
    draft.replace(file)
    return plan


def proof_pattern(mode: str) -> str:
    """How the proofs of a mode are called, those of every shard and attempt."""
    return f"{mode}-*-of-*.json"


def _forget_proofs_of_another_plan(file: Path) -> None:
    for proof in file.parent.glob(proof_pattern(file.stem.removeprefix("plan-"))):
        proof.unlink(missing_ok=True)
