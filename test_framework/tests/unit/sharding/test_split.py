"""Every test in one share, no share empty, the shares even: whatever the order, whoever asks."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from test_framework.sharding import Plan, Shard, ShardError, plan_file, plan_for, split

DURATIONS = st.dictionaries(st.text(min_size=1), st.floats(0.001, 100), min_size=8, max_size=60)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(DURATIONS, st.integers(1, 8))
def test_each_test_is_in_exactly_one_share_and_none_is_empty(seconds: dict[str, float], of: int) -> None:
    plan = split(seconds, of, seconds)

    assert sorted(node_id for share in plan.shares for node_id in share) == sorted(seconds)
    assert all(plan.shares)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(DURATIONS, st.integers(1, 8))
def test_no_share_is_longer_than_the_average_by_more_than_one_test(seconds: dict[str, float], of: int) -> None:
    plan = split(seconds, of, seconds)

    loads = [sum(seconds[node_id] for node_id in share) for share in plan.shares]
    assert max(loads) <= sum(loads) / of + max(seconds.values()) + 1e-6


def test_one_slow_test_gets_a_share_almost_of_its_own() -> None:
    seconds = {"slow": 10.0} | {f"quick{index}": 0.1 for index in range(30)}

    plan = split(seconds, 4, seconds)

    assert ("slow",) in plan.shares


def test_the_order_of_collection_changes_nothing() -> None:
    node_ids = [f"tests/test_{index}.py::test" for index in range(50)]
    shuffled = random.Random(1).sample(node_ids, len(node_ids))

    assert split(node_ids, 3, {}).digest == split(shuffled, 3, {}).digest


def test_tests_of_one_name_in_two_files_are_two_tests() -> None:
    plan = split(["a.py::test", "b.py::test"], 2, {})

    assert plan.shares == (("a.py::test",), ("b.py::test",))


def test_an_unknown_test_counts_as_a_usual_one() -> None:
    seconds = {"a": 4.0, "b": 4.0, "c": 4.0}

    plan = split(["a", "b", "c", "new"], 2, seconds)

    assert sorted(map(len, plan.shares)) == [2, 2]


def test_more_shards_than_tests_are_refused() -> None:
    with pytest.raises(ShardError, match="3 shards for 2 tests would leave some empty: ask for at most 2"):
        split(["a", "b"], 3, {})


@pytest.mark.parametrize("text", ["0/4", "5/4", "2", "2/", "/4", "a/b", "2/4/8", "-1/4", ""])
def test_a_shard_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(ShardError, match="write --shard 2/4 for the second of four"):
        Shard.parse(text)


def test_the_first_plan_is_obeyed_although_durations_change_meanwhile(tmp_path: Path) -> None:
    file = plan_file("integration", tmp_path)
    first = plan_for(["a", "b", "c"], 2, lambda: {"a": 9.0}, file)

    second = plan_for(["c", "b", "a"], 2, lambda: {"c": 9.0}, file)

    assert second == first


def test_another_collection_makes_another_plan_and_forgets_the_proofs_of_the_old_one(tmp_path: Path) -> None:
    file = plan_file("integration", tmp_path)
    plan_for(["a", "b"], 2, dict, file)
    (tmp_path / "integration-1-of-2-17.json").write_text("{}")
    (tmp_path / "full-1-of-2-17.json").write_text("{}")

    plan = plan_for(["a", "b", "c"], 2, dict, file)

    assert plan.node_ids == {"a", "b", "c"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full-1-of-2-17.json", "plan-integration.json"]


@pytest.mark.parametrize("content", ["{", "7", '["a", 3]', "[3]"])
def test_a_broken_plan_is_named(tmp_path: Path, content: str) -> None:
    file = plan_file("full", tmp_path)
    file.write_text(content)

    with pytest.raises(ShardError, match=r"plan-full\.json is not a plan .*: delete it"):
        plan_for(["a"], 1, dict, file)


def test_a_plan_travels_as_json(tmp_path: Path) -> None:
    plan = plan_for(["a", "b"], 2, dict, plan_file("full", tmp_path))

    written = json.loads(plan_file("full", tmp_path).read_text())

    assert Plan(tuple(map(tuple, written))) == plan
