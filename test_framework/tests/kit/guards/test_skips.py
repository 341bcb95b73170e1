"""A skip needs a reason that the project knows, and a mode affords only so many."""

from __future__ import annotations

import pytest

from test_framework.running.planted import Ended
from test_framework.tests.kit.guards.planted import run_planted

TESTS = """
import pytest

@pytest.mark.skip(reason="needs a moon")
def test_known(): ...

def test_known_while_it_runs():
    pytest.skip("needs a star")

@pytest.mark.skip(reason="somehow")
def test_unknown(): ...

@pytest.mark.skip
def test_without_a_reason(): ...

@pytest.mark.xfail(reason="a known bug", strict=True)
def test_expected_to_fail():
    assert not "yet"
"""
MODULE = """
import pytest
pytest.skip("no such machine", allow_module_level=True)
"""
KNOWN = """
[tool.guards.skips]
"needs a *" = "it is day"
[tool.guards.skip_budget]
lightweight = {budget}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    files = {"tests/unit/test_planted.py": TESTS, "tests/unit/test_module.py": MODULE}
    return run_planted(
        tmp_path_factory.mktemp("skips"), files, "--continue-on-collection-errors", pyproject=KNOWN.format(budget=2)
    )


@pytest.mark.parametrize("name", ["test_known", "test_known_while_it_runs", "test_expected_to_fail"])
def test_a_known_reason_is_a_skip(run: Ended, name: str) -> None:
    outcome = run.of(name)

    assert (outcome.skipped, outcome.failed) == (True, {})


@pytest.mark.parametrize(
    ("name", "words"), [("test_unknown", "the reason 'somehow'"), ("test_without_a_reason", "no reason")]
)
def test_any_other_reason_fails(run: Ended, name: str, words: str) -> None:
    assert f"is skipped with {words}" in run.of(name).words


def test_a_module_that_skips_itself_needs_a_reason_too(run: Ended) -> None:
    assert "the reason 'no such machine'" in run.outcomes["tests/unit/test_module.py"].words


@pytest.mark.parametrize(("budget", "code"), [(2, 0), (1, 1)])
def test_more_skips_than_a_mode_can_afford_are_not_green(
    budget: int, code: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    files = {"tests/unit/test_planted.py": TESTS[: TESTS.index('@pytest.mark.skip(reason="somehow")')]}

    run = run_planted(tmp_path_factory.mktemp("budget"), files, pyproject=KNOWN.format(budget=budget))

    assert run.code == code, run.output
    over = "2 tests were skipped, and lightweight can afford 1"
    assert (over in run.output) == (budget == 1)
    assert budget == 2 or "test_planted.py::test_known_while_it_runs: Skipped: needs a star" in run.output
