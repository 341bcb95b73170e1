"""The order of a run's events, and what of them is shown."""

from __future__ import annotations

import pytest

from app.agents.events import RUN_EVENTS, RUN_ORDER, ToolCompleted
from commitstream.topics import OrderError

TYPES = [kind.event_type for kind in RUN_EVENTS]


@pytest.mark.parametrize("before", [None, *TYPES])
@pytest.mark.parametrize("after", TYPES)
def test_just_what_may_follow_is_accepted(before: str | None, after: str) -> None:
    if after in RUN_ORDER.transitions[before]:
        RUN_ORDER.check(before, after)
        return
    with pytest.raises(OrderError, match=f"{after} can't follow {before or 'the beginning'}"):
        RUN_ORDER.check(before, after)


def test_nothing_follows_the_end_of_a_run() -> None:
    assert RUN_ORDER.last == {"agent_completed"}


def test_a_field_that_was_not_given_is_not_shown() -> None:
    event = ToolCompleted(run_id="run-1", status="cancelled")

    assert (event.subject, event.payload()) == ("run-1", {"status": "cancelled"})
