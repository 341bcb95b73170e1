"""What the shards of a run leave behind, and what they prove together: every collected test ran in exactly one of them.

Each shard writes down what it collected, which plan it obeyed and what became of its share. `merge` lays these proofs side by
side; `python -m test_framework.reporting.shard_proof DIRECTORY` says what is missing, doubled, empty or red, and fails if anything is.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from test_framework.sharding import DIRECTORY, ShardError

RANK = ("passed", "skipped", "failed")


@dataclass
class Proof:
    """What one shard collected, and what became of each test that it ran."""

    shard: int
    of: int
    mode: str
    plan: str = ""
    collected: list[str] = field(default_factory=list)
    outcomes: dict[str, str] = field(default_factory=dict)
    finished: float = 0.0

    def note(self, node_id: str, outcome: str) -> None:
        """Keep the worst that is heard of a test: a set-up that failed is not mended by a tear-down that passed."""
        if outcome in RANK:
            self.outcomes[node_id] = max(self.outcomes.get(node_id, "passed"), outcome, key=RANK.index)

    def write(self, directory: Path) -> Path:
        """Lay the proof where `merge` looks; a second attempt stands beside the first."""
        self.finished = time.time()
        directory.mkdir(parents=True, exist_ok=True)
        file = directory / f"{self.mode}-{self.shard}-of-{self.of}-{int(self.finished * 1000)}.json"
        file.write_text(json.dumps(asdict(self)))
        return file


def read_proofs(directory: Path) -> list[Proof]:
    """Read every proof below a directory."""
    proofs = []
    for file in sorted(directory.rglob("*-of-*.json")):
        try:
            proofs.append(Proof(**json.loads(file.read_text())))
        except (ValueError, TypeError) as error:
            raise ShardError(f"{file} is not a shard's proof ({error}): run that shard again") from None
    return proofs


@dataclass(frozen=True)
class MergedShards:
    """What the shards were together."""

    outcomes: Mapping[str, str]
    faults: Sequence[str]
    remarks: Sequence[str]

    @property
    def sound(self) -> bool:
        return not self.faults and not self.failed

    @property
    def failed(self) -> list[str]:
        return sorted(node_id for node_id, outcome in self.outcomes.items() if outcome == "failed")


def merge(proofs: Iterable[Proof]) -> MergedShards:
    """Find what is missing, doubled, empty or at odds; of a shard that ran again, the later run counts."""
    latest: dict[int, Proof] = {}
    remarks = []
    for proof in sorted(proofs, key=lambda proof: proof.finished):
        if proof.shard in latest:
            remarks.append(f"shard {proof.shard} ran again: the later run counts")
        latest[proof.shard] = proof
    if not latest:
        return MergedShards({}, ["there is no shard's proof: did any run with --shard?"], remarks)
    found = list(latest.values())
    faults = [*_at_odds(found), *_missing(found)]
    outcomes: dict[str, str] = {}
    for proof in found:
        if not proof.outcomes:
            faults.append(f"shard {proof.shard} ran no test")
        twice = sorted(outcomes.keys() & proof.outcomes.keys())
        faults += [f"ran in shard {proof.shard} and in another: {node_id}" for node_id in twice]
        outcomes |= proof.outcomes
    collected = {node_id for proof in found for node_id in proof.collected}
    faults += [f"collected and never run: {node_id}" for node_id in sorted(collected - outcomes.keys())]
    return MergedShards(outcomes, faults, remarks)


def _at_odds(proofs: Sequence[Proof]) -> list[str]:
    first = proofs[0]
    faults = []
    for other in proofs[1:]:
        if other.of != first.of:
            faults.append(f"shard {other.shard} is one of {other.of}, shard {first.shard} one of {first.of}")
        elif different := sorted(set(other.collected) ^ set(first.collected)):
            faults.append(
                f"shards {first.shard} and {other.shard} did not collect the same: {', '.join(different[:3])}"
                + (f" and {len(different) - 3} more" if len(different) > 3 else "")
            )
        elif other.plan != first.plan:
            faults.append(
                f"shards {first.shard} and {other.shard} obeyed different plans: hand one plan-{first.mode}.json to both"
            )
    return faults


def _missing(proofs: Sequence[Proof]) -> list[str]:
    there = {proof.shard for proof in proofs}
    return [
        f"shard {index} left no proof: did it run to its end?"
        for index in range(1, proofs[0].of + 1)
        if index not in there
    ]


def main(arguments: Sequence[str]) -> int:
    """Merge the proofs below a directory, mode by mode; 0 where every test ran once and none failed."""
    try:
        proofs = read_proofs(Path(arguments[0]) if arguments else DIRECTORY)
    except ShardError as error:
        print(error, file=sys.stderr)
        return 2
    modes = {proof.mode: merge(each for each in proofs if each.mode == proof.mode) for proof in proofs}
    for mode, merged in (modes or {"shards": merge([])}).items():
        for line in (*merged.remarks, *merged.faults, *(f"failed: {node_id}" for node_id in merged.failed)):
            print(line)
        sound = f"{len(merged.faults)} faults" if merged.faults else "each in exactly one shard"
        print(f"{mode}: {len(merged.outcomes)} tests ran, {sound}; {len(merged.failed)} failed")
    return 0 if modes and all(merged.sound for merged in modes.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
