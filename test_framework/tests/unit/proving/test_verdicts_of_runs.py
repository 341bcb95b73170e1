"""What many runs say together: only whole runs are compared, and only with what they can have shown."""

from __future__ import annotations

import pytest

from test_framework.proving.verdicts import Done, ProvingPlan, Verdicts


@pytest.mark.parametrize(("second", "flips"), [("failed", ["a"]), ("passed", [])])
def test_only_other_endings_are_flips(second: str, flips: list[str]) -> None:
    plan = ProvingPlan("lightweight", 1, 0, "random", 0.0, ())
    runs = [Done(plan, 0, 0.1, {"a": "passed", "b": "passed"}), Done(plan, 0, 0.1, {"a": second})]

    assert list(Verdicts(runs).flips) == flips


def test_what_ran_by_itself_is_not_compared_with_whole_runs() -> None:
    plan = ProvingPlan("lightweight", 1, 0, "random", 0.0, ("a.py",))
    whole = [Done(plan, 0, 0.1, {"a.py::a": "passed", "b.py::b": "passed"}) for _ in range(2)]

    verdicts = Verdicts(whole, alone=[Done(plan, 1, 0.1, {"a.py::a": "failed"})])

    assert (verdicts.flips, verdicts.missing, len(verdicts.red)) == ({}, {}, 1)


def test_a_test_that_a_run_did_not_show_is_missing_unless_that_run_never_got_so_far() -> None:
    plan = ProvingPlan("lightweight", 1, 0, "random", 0.0, ())
    both = Done(plan, 0, 0.1, {"a": "passed", "b": "passed"})
    one = Done(plan, 0, 0.1, {"a": "passed"})

    assert Verdicts([both, one]).missing == {"b": 1}
    assert Verdicts([both, Done(plan, 2, 9.0, {"a": "passed"}, doing="while it ran b")]).missing == {}
    assert Verdicts([both, Done(plan, 3, 0.1, {})]).missing == {}
