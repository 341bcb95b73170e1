"""The lifecycle brings any state to healthy, one step at a time, and knows when to give up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from test_framework.services import healing
from test_framework.services.lifecycle import Lifecycle
from test_framework.services.stack import Stack
from test_framework.services.state import (
    EngineDownError,
    ProviderUnavailableError,
    ServiceError,
    ServiceName,
    State,
)
from test_framework.tests.unit.services.machine import Machine


@pytest.fixture
def of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Machine], Lifecycle]:
    monkeypatch.setattr("test_framework.services.stack.runtime_root", lambda: tmp_path)
    monkeypatch.setattr(healing, "FIRST_WAIT", 0.0005)
    monkeypatch.setattr(healing, "LONGEST_WAIT", 0.004)
    stack = Stack.of_a_run("unit")
    return lambda machine: Lifecycle(stack, machine)


Of = Callable[[Machine], Lifecycle]


@pytest.mark.parametrize(
    ("state", "steps"),
    [
        (State.HEALTHY, []),
        (State.PAUSED, ["unpause"]),
        (State.ABSENT, ["start"]),
        (State.CREATED, ["start"]),
        (State.EXITED, ["start"]),
        (State.DEAD, ["remove", "start"]),
        (State.UNHEALTHY, ["kill", "start"]),
    ],
)
def test_each_state_is_healed_by_what_it_needs(of: Of, state: State, steps: list[str]) -> None:
    machine = Machine(state)

    found = of(machine).ensure("redis", 2)

    assert found.state is State.HEALTHY
    assert machine.steps == steps


@pytest.mark.parametrize("state", [State.STARTING, State.RESTARTING, State.REMOVING])
def test_a_state_that_passes_by_itself_is_waited_for(of: Of, state: State) -> None:
    machine = Machine(state)

    def arrive(look: int) -> None:
        if look == 5:
            machine.state = State.HEALTHY

    machine.on_look = arrive

    of(machine).ensure("redis", 2)

    assert machine.steps == []


def test_one_bad_look_changes_nothing(of: Of) -> None:
    machine = Machine(State.UNHEALTHY)

    def recover(look: int) -> None:
        if look == 2:
            machine.state = State.HEALTHY

    machine.on_look = recover

    of(machine).ensure("redis", 2)

    assert machine.steps == []


def test_what_can_be_mended_in_place_is_not_started_anew(of: Of) -> None:
    machine = Machine(State.UNHEALTHY)
    machine.mends = True

    of(machine).ensure("redis", 2)

    assert machine.steps == ["repair"]


def test_a_service_that_keeps_ending_is_given_up_with_its_last_words(of: Of) -> None:
    machine = Machine(State.EXITED)
    machine.after["start"] = State.EXITED

    with pytest.raises(ServiceError, match=r"does not stay up.*the last words\n  next: invoke services.logs"):
        of(machine).ensure("redis", 2)

    assert machine.steps == ["start"] * healing.ATTEMPTS


def test_a_service_that_stays_stuck_is_made_anew_and_then_given_up_at_the_deadline(of: Of) -> None:
    machine = Machine(State.STARTING)
    machine.after["start"] = State.STARTING

    with pytest.raises(ServiceError, match=r"did not become healthy: after 0.1 s it is starting"):
        of(machine).ensure("redis", 0.1)

    assert machine.steps[:2] == ["kill", "start"]


def test_an_engine_that_is_down_makes_the_provider_unavailable(of: Of) -> None:
    with pytest.raises(ProviderUnavailableError, match="next: invoke doctor"):
        of(Machine(State.ENGINE_DOWN)).ensure("redis", 2)


def test_an_engine_that_goes_down_midway_is_noticed_at_the_next_look(of: Of) -> None:
    machine = Machine(State.ABSENT)

    def go_down(service: ServiceName) -> None:
        machine.state = State.ENGINE_DOWN
        raise EngineDownError

    machine.start = go_down  # type: ignore[method-assign]

    with pytest.raises(ProviderUnavailableError):
        of(machine).ensure("redis", 2)


@pytest.mark.parametrize(
    ("operation", "state"), [("pause", State.PAUSED), ("stop", State.EXITED), ("kill", State.EXITED)]
)
def test_an_operation_done_twice_is_done_once(of: Of, operation: str, state: State) -> None:
    machine = Machine(State.HEALTHY)

    for _ in range(2):
        found = getattr(of(machine), operation)("redis", 2)
        assert found.state is state

    assert machine.steps == [operation]


def test_unpausing_what_is_not_paused_is_no_error(of: Of) -> None:
    machine = Machine(State.HEALTHY)

    found = of(machine).unpause("redis", 2)

    assert found.state is State.HEALTHY
    assert machine.steps == []


def test_a_step_that_does_not_show_is_an_error(of: Of) -> None:
    machine = Machine(State.HEALTHY)
    machine.after["pause"] = State.HEALTHY

    with pytest.raises(ServiceError, match=r"redis was not paused: after 0\.05 s it is still healthy"):
        of(machine).pause("redis", 0.05)


def test_a_lock_that_is_held_is_waited_for_and_named(of: Of) -> None:
    lifecycle = of(Machine(State.HEALTHY))

    with lifecycle.lock("redis"), pytest.raises(ServiceError, match=r"redis is busy.*redis\.lock"):
        lifecycle.ensure("redis", 0.05)


def test_the_wish_is_known_to_every_process(of: Of) -> None:
    lifecycle = of(Machine(State.HEALTHY))
    lifecycle.ensure("redis", 2)
    assert lifecycle.wanted("redis") is State.HEALTHY

    lifecycle.pause("redis", 2)

    assert of(Machine(State.PAUSED)).wanted("redis") is State.PAUSED


def test_healing_leaves_alone_what_somebody_paused_on_purpose(of: Of) -> None:
    machine = Machine(State.HEALTHY)
    lifecycle = of(machine)
    lifecycle.pause("redis", 2)

    lifecycle.heal("redis", 2)

    assert machine.state is State.PAUSED
