"""Two networks of one name: a race between two clients leaves them, and no client can say which one it means."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from docker.errors import APIError

from test_framework import CHECKOUT
from test_framework.services import engine
from test_framework.services.dev import DevStack
from test_framework.services.drivers import service_names
from test_framework.services.stack import Stack
from test_framework.tests.kit.services.conftest import invoke

pytestmark = [pytest.mark.needs("docker"), pytest.mark.timeout(120)]  # a busy engine is slow
CONFLICT = 409


def networks(stack: Stack) -> list[Any]:
    client = engine.connect()
    try:
        return [one.id for one in client.networks.list(names=[f"{stack.name}_default"])]
    finally:
        client.close()


def make_network(stack: Stack) -> bool:
    """Make the stack's network as compose does, once more if it is there; say whether this engine allows that."""
    labels = {"com.docker.compose.project": stack.name, "com.docker.compose.network": "default"}
    client = engine.connect()
    try:
        client.networks.create(f"{stack.name}_default", check_duplicate=False, labels=labels)
    except APIError as refused:
        if refused.status_code != CONFLICT:
            raise
        return False  # engines from version 25 on never have two
    finally:
        client.close()
    return True


def on_one_each(stack: DevStack) -> None:
    """Leave one service on each of the two networks."""
    client = engine.connect()
    try:
        first, second = networks(stack.stack)
        container: Any = client.containers.list(
            filters={"label": [f"com.docker.compose.project={stack.stack.name}", "com.docker.compose.service=redis"]}
        )[0]
        used = next(iter(container.attrs["NetworkSettings"]["Networks"].values()))["NetworkID"]
        client.api.disconnect_container_from_network(container.id, used)
        client.api.connect_container_to_network(container.id, second if used == first else first)
    finally:
        client.close()


def doctor(stack: Stack) -> str:
    done = subprocess.run(
        invoke(stack, "doctor"), cwd=CHECKOUT, capture_output=True, text=True, timeout=60, check=False
    )
    return next(line for line in done.stdout.splitlines() if "dev stack" in line)


@pytest.mark.parametrize("bring", [DevStack.up, DevStack.reset], ids=["up", "reset"])
def test_twin_networks_of_a_stack_that_is_down_are_healed(bring: Callable[..., Any], dev: Stack) -> None:
    made = [make_network(dev) for _ in range(2)]
    assert len(networks(dev)) == 1 + made[1]

    found = bring(DevStack(dev, "compose"), service_names())

    assert [one.state for one in found] == ["healthy", "healthy"]
    assert len(networks(dev)) == 1


@pytest.mark.parametrize("spread", [False, True], ids=["unused", "both used"])
@pytest.mark.parametrize("bring", [DevStack.up, DevStack.reset], ids=["up", "reset"])
def test_a_twin_network_of_a_running_stack_is_named_and_healed(
    bring: Callable[..., Any], spread: bool, dev: Stack
) -> None:
    stack = DevStack(dev, "compose")
    stack.up(service_names())
    assert "✗" not in doctor(dev)
    if make_network(dev):
        if spread:
            on_one_each(stack)
        assert f"2 networks are named {dev.name}_default → invoke services.up" in doctor(dev)

    found = bring(stack, service_names())

    assert [one.state for one in found] == ["healthy", "healthy"]
    assert len(networks(dev)) == 1
    assert "✗" not in doctor(dev)
    assert [one.state for one in stack.up(service_names())] == ["healthy", "healthy"]
