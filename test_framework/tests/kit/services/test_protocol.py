"""One suite for every provider that has servers of its own: what a test may rely on is the same on all of them."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
import redis

from test_framework.services.drivers import service_names
from test_framework.services.lifecycle import Lifecycle
from test_framework.services.probes import NotReadyError
from test_framework.services.state import ServiceName, State
from test_framework.tests.kit.services.conftest import log_in

SECONDS = 20.0
ENSURE = """
import sys
from test_framework.services.choice import maker
from test_framework.services.lifecycle import Lifecycle
from test_framework.services.stack import Stack
run, provider, service = sys.argv[1:]
lifecycle = Lifecycle(Stack.of_a_run(run), maker(provider)(Stack.of_a_run(run)))
lifecycle.ensure(service)
print(lifecycle.provider.identity(service))
"""

both = pytest.mark.parametrize("service", service_names())


def ask(lifecycle: Lifecycle, service: ServiceName, seconds: float = 3.0) -> str:
    return log_in(service, lifecycle.provider.url(service), seconds)


@both
def test_from_nothing_to_an_answer(own: Lifecycle, service: ServiceName) -> None:
    own.remove(service, data=True)
    assert own.provider.observe(service).state is State.ABSENT

    found = own.ensure(service, SECONDS)

    assert found.state is State.HEALTHY
    assert ask(own, service)


@both
def test_up_when_up_changes_nothing_and_takes_no_time(own: Lifecycle, service: ServiceName) -> None:
    own.ensure(service, SECONDS)
    identity = own.provider.identity(service)

    took = []
    for _ in range(5):
        began = time.perf_counter()
        own.ensure(service, SECONDS)
        took.append(time.perf_counter() - began)

    assert min(took) < 0.3
    assert own.provider.identity(service) == identity


@both
def test_a_paused_service_answers_nobody_until_it_goes_on(own: Lifecycle, service: ServiceName) -> None:
    own.ensure(service, SECONDS)

    with own.paused(service):
        assert own.provider.observe(service).state is State.PAUSED
        with pytest.raises((NotReadyError, TimeoutError)):
            ask(own, service, 1.0)

    assert ask(own, service)


@both
def test_a_paused_service_is_healed_by_whoever_needs_it(own: Lifecycle, service: ServiceName) -> None:
    own.pause(service, SECONDS)

    own.ensure(service, SECONDS)

    assert ask(own, service)


def test_a_client_s_connection_outlives_a_pause(own: Lifecycle) -> None:
    own.ensure("redis", SECONDS)
    with redis.Redis.from_url(own.provider.url("redis"), socket_timeout=5) as client:
        connection = client.client_id()
        own.pause("redis", SECONDS)
        own.unpause("redis", SECONDS)

        assert client.client_id() == connection


@both
def test_each_operation_may_be_repeated(own: Lifecycle, service: ServiceName) -> None:
    own.ensure(service, SECONDS)

    for operation in (own.pause, own.unpause, own.kill, own.stop, own.ensure):
        first = operation(service, SECONDS)
        second = operation(service, SECONDS)
        assert first.state is second.state


@both
@pytest.mark.parametrize("end", ["kill", "stop"])
def test_a_paused_service_can_be_ended_and_brought_back(own: Lifecycle, service: ServiceName, end: str) -> None:
    own.pause(service, SECONDS)

    found = getattr(own, end)(service, SECONDS)

    assert found.state is State.EXITED
    own.ensure(service, SECONDS)
    assert ask(own, service)


@both
def test_a_restarted_service_is_found_where_it_is_now(own: Lifecycle, service: ServiceName) -> None:
    own.ensure(service, SECONDS)

    own.restart(service, SECONDS)

    assert ask(own, service)


@both
def test_its_log_can_be_read(own: Lifecycle, service: ServiceName) -> None:
    own.ensure(service, SECONDS)

    assert "ready to accept connections" in own.provider.logs(service, 200).lower()


@both
def test_four_processes_at_once_get_one_service(own: Lifecycle, service: ServiceName) -> None:
    own.remove(service, data=True)
    command = [sys.executable, "-c", ENSURE, own.stack.run, own.provider.name, service]

    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    found = {process.communicate(timeout=SECONDS)[0] for process in processes}

    assert found == {f"{own.provider.identity(service)}\n"}
    assert ask(own, service)
