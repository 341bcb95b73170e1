"""What docs/websocket-kit.md shows works as it is written there."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest

from test_framework import CHECKOUT
from test_framework.running.planted import PlantedOutcome, outcomes_of_cases
from test_framework.tests.unit.websocket.planted import stream
from test_framework.websocket.difference import unbroken

DOCUMENT = (CHECKOUT / "docs" / "websocket-kit.md").read_text(encoding="utf-8")
BLOCKS = {
    re.findall(r"async def (test_\w+)", block)[0]: block
    for block in re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
}

# the planted project has a folder `tests` too, which would hide this one
WITH_AGENTS = f"""
import sys
from types import ModuleType

sys.modules.setdefault("tests", ModuleType("tests")).__path__ = [{str(CHECKOUT / "tests")!r}]

from tests.agents.conftest import ada, bob

"""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, PlantedOutcome]:
    return outcomes_of_cases(
        tmp_path_factory, "document", {name: WITH_AGENTS + block for name, block in BLOCKS.items()}
    )


@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_of_the_document_passes_as_it_stands(outcomes: Mapping[str, PlantedOutcome], name: str) -> None:
    tests = BLOCKS[name].count("async def test_")

    assert outcomes[name].results == ["passed"] * tests, outcomes[name].words


def test_every_part_of_the_kit_is_shown() -> None:
    shown = "".join(BLOCKS.values())

    for part in (
        "AgentsContext",
        "TestUserContext",
        "AgentsClient",
        "isolated_users",
        "two_sockets",
        "slow_reader",
        "dropping",
    ):
        assert part in shown


def test_the_difference_that_is_shown_is_the_one_that_is_said() -> None:
    capture = stream((1, "agent_started"), (2, "agent_thinking"), (4, "tool_completed"))

    assert f"```text\n{unbroken(capture.events, capture.after)}\n```" in DOCUMENT
