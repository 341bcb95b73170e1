"""A pytest run that is one shard of several: it keeps its share of what was collected, and leaves a proof of it."""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from pathlib import Path
from statistics import median

import pytest

from test_framework.reporting.shard_proof import Proof
from test_framework.sharding import DIRECTORY, Shard, ShardError, plan_file, plan_for

SHARE = "sharding"
LATEST_RUNS = 10


def usual_seconds(directory: Path, mode: str) -> dict[str, float]:
    """How long each test usually takes in a mode, by the history in a directory; empty where there is none."""
    from test_framework.reporting.history import History

    if not (directory / "history.db").exists():
        return {}
    took: dict[str, list[float]] = defaultdict(list)
    with History.open(directory) as history:
        for part in history.past(mode, float("inf"), LATEST_RUNS):
            for node_id, glance in part.tests.items():
                took[node_id].append(glance.seconds)
    return {node_id: median(seconds) for node_id, seconds in took.items()}


class ShardedRun:
    """Follows one run, in the controller and in each of its workers."""

    def __init__(self, config: pytest.Config, shard: Shard, mode: str) -> None:
        self._config = config
        self._directory = config.rootpath / DIRECTORY
        self.proof = Proof(shard.index, shard.of, mode)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Of what was collected and selected, keep this shard's share."""
        node_ids = {item.nodeid for item in items}
        try:
            file = plan_file(self.proof.mode, self._directory)
            plan = plan_for(node_ids, self.proof.of, partial(usual_seconds, file.parents[1], self.proof.mode), file)
        except ShardError as error:
            raise pytest.UsageError(str(error)) from None
        share = frozenset(plan.shares[self.proof.shard - 1])
        self._config.hook.pytest_deselected(items=[item for item in items if item.nodeid not in share])
        items[:] = [item for item in items if item.nodeid in share]
        self.proof.plan, self.proof.collected = plan.digest, sorted(node_ids)
        if hasattr(self._config, "workeroutput"):
            self._config.workeroutput[SHARE] = [self.proof.plan, self.proof.collected]

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: object) -> None:
        """Learn from a worker what was collected: the controller collects nothing itself."""
        told = getattr(node, "workeroutput", {}).get(SHARE)
        if told:
            self.proof.plan, self.proof.collected = told

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.proof.note(report.nodeid, report.outcome)

    def pytest_sessionfinish(self) -> None:
        if not hasattr(self._config, "workerinput") and not self._config.getoption("collectonly"):
            self.proof.write(self._directory)
