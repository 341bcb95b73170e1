"""A test that nobody would run is found before it is forgotten."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from test_framework.guards import folders
from test_framework.guards.source import Source

Plant = Callable[[str, str], Source]

KNOWN = {"unit": {"lightweight"}, "integration": {"integration"}, "asleep": frozenset[str]()}
TEST = "def test_it() -> None:\n    assert 1\n"


@pytest.mark.parametrize(
    "path", ["tests/unit/test_a.py", "tests/unit/db/test_a.py", "test_framework/tests/unit/test_a.py"]
)
def test_a_folder_with_a_mode_passes(plant: Plant, path: str) -> None:
    assert folders.check_against(KNOWN, [plant(path, TEST)]) == []


@pytest.mark.parametrize(
    "path", ["tests/acceptance/test_a.py", "test_framework/tests/slow/test_a.py", "tests/asleep/test_a.py"]
)
def test_a_folder_without_a_mode_is_named(plant: Plant, path: str) -> None:
    (finding,) = folders.check_against(KNOWN, [plant(path, TEST)])

    assert path.split("/")[-2] in finding.message
    assert "modes.py" in finding.message


@pytest.mark.parametrize("path", ["tests/test_a.py", "test_framework/tests/test_a.py"])
def test_a_test_in_no_folder_is_named(plant: Plant, path: str) -> None:
    (finding,) = folders.check_against(KNOWN, [plant(path, TEST)])

    assert "no folder of its own" in finding.message


def test_a_file_that_pytest_does_not_collect_is_named(plant: Plant) -> None:
    source = plant("tests/unit/outbox_tests.py", "import os\n\n\nclass TestIt:\n    def test_a(self) -> None: ...\n")

    (finding,) = folders.check_against(KNOWN, [source])

    assert finding.line == 4
    assert "test_outbox.py" in finding.message


def test_fixtures_and_fakes_are_no_tests(plant: Plant) -> None:
    files = [
        plant("tests/conftest.py", "def test_database() -> None: ...\n"),
        plant("tests/fakes.py", "class TestClock:\n    def tick(self) -> None: ...\n"),
        plant("tests/unit/__init__.py", ""),
    ]

    assert folders.check_against(KNOWN, files) == []
