"""What the kit's own rooms say is understood, also where there is no line to look at."""

from __future__ import annotations

import pytest

from test_framework.error_reporter import ErrorReporter
from test_framework.errors.failure import Failure, Link, ServiceState

LEFT = "tests/unit/test_a.py::test_b left behind:\n  task: 'beat' is still running, {line} in start\nEnd it where it was begun."
CAME = "agent_completed of run 1 did not come within 10 s; what came: []"


@pytest.mark.parametrize(
    ("kind", "said", "expected"),
    [
        ("Failed", LEFT.format(line="commitstream/outbox.py:7"), ("leak", "code")),
        ("Failed", LEFT.format(line="tests/unit/test_a.py:7"), ("leak", "test")),
        (
            "Failed",
            "Queue of another loop, commitstream/hub.py:3, is used at commitstream/hub.py:9: make it",
            ("event-loop", "code"),
        ),
        (
            "test_framework.guards.loops.blocking.Blocked",
            "time.sleep() in a coroutine stops everything else on the loop, app/a.py:4 in naps: await",
            ("event-loop", "code"),
        ),
        (
            "Failed",
            "0.8 s of computing without a pause in task 'a' stop everything else on the loop, tests/unit/test_a.py:4: await",
            ("event-loop", "test"),
        ),
        (
            "test_framework.websocket.line.SocketClosed",
            "the socket was closed with 1011 (x) while y",
            ("websocket", "code"),
        ),
        (
            "test_framework.websocket.http_errors.NoAnswer",
            "GET http://127.0.0.1:1/: nothing",
            ("service", "infrastructure"),
        ),
        ("AssertionError", CAME, ("websocket", "code")),
        ("AssertionError", "bid_placed of lot 7 did not come within 10 s; what came: []", ("websocket", "code")),
        ("AssertionError", "no bid_placed of 7 within 10 s; what came: []", ("websocket", "code")),
        ("AssertionError", "not ended: lot_closed is missing\n  1 bid_placed", ("websocket", "code")),
        ("AssertionError", "no event about 7 came", ("websocket", "code")),
        ("commitstream.settings.SettingsError", "APP_HOST: odd", ("configuration", "infrastructure")),
        ("commitstream.application.DatabaseRefused", "odd", ("database", "unknown")),
        (
            "commitstream.db.migrate.SchemaError",
            "the database is at migration none, this code needs 1",
            ("migration", "infrastructure"),
        ),
        ("commitstream.db.migrate.SchemaError", "the migrations have 2 newest ones, 1 and 2", ("migration", "code")),
        ("builtins.Strange", "nobody knows", ("unknown", "unknown")),
    ],
)
def test_words_of_the_kit_are_understood(kind: str, said: str, expected: tuple[str, str]) -> None:
    failure = Failure("tests/unit/test_a.py::test_b", "call", (Link((kind,), said),))

    (explained,) = ErrorReporter().explain([failure]).failures

    assert (str(explained.category), str(explained.fault)) == expected


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("task: 'pump', begun at commitstream/hub.py:72 in start", "begun at commitstream/hub.py:72 in start"),
        ("thread: <Thread at 0x7f3a> begun at app/a.py:7", "<Thread> begun at app/a.py:7"),
        ("socket: <socket.socket fd=12, laddr=x>", "<socket.socket, laddr=x>"),
    ],
)
def test_a_leak_is_shown_with_its_place_and_without_addresses(said: str, shown: str) -> None:
    text = f"tests/unit/test_a.py::test_b left behind:\n  {said}\nEnd it where it was begun."
    failure = Failure("tests/unit/test_a.py::test_b", "call", (Link(("Failed",), text),))

    (cause,) = ErrorReporter().explain([failure]).causes

    assert shown in cause.root_cause


@pytest.mark.parametrize("state", ["paused", "exited", "silent"])
def test_an_event_that_does_not_come_is_blamed_on_the_redis_that_was_away(state: str) -> None:
    failure = Failure("a", "call", (Link(("AssertionError",), CAME),), services=(ServiceState("redis", state),))

    (cause,) = ErrorReporter().explain([failure]).causes

    assert (str(cause.category), str(cause.fault)) == ("redis", "infrastructure")
    assert f"Redis was {state}" in cause.root_cause


def test_a_wrong_sum_is_not_blamed_on_a_redis_that_was_away() -> None:
    failure = Failure("a", "call", (Link(("KeyError",), "x"),), services=(ServiceState("redis", "paused"),))

    (cause,) = ErrorReporter().explain([failure]).causes

    assert str(cause.category) == "unknown"
