"""An application without the engine has its tables on a real Postgres, made as it declares them and emptied after each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from test_framework.tests.shop import RESULTS, plant_shop

pytestmark = pytest.mark.timeout(150)  # a separate run with separate services


@pytest.mark.parametrize("arguments", [("--mode=integration",), ("--mode=full", "--without-model")])
def test_a_plain_application_has_real_services(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    ended = plant_shop(tmp_path / "shop", "mission_critical").run(*arguments, "-n0")

    assert {test: ended.of(test).results for test in RESULTS} == RESULTS, ended.output
    assert ended.line("databases:").startswith("databases: 4 resets"), ended.output
