"""Commands on one checkout that run at the same time: one waits for the other, and each exit code says what happened."""

from __future__ import annotations

import contextlib
import subprocess
from typing import Any

import pytest
from filelock import FileLock

from test_framework import CHECKOUT
from test_framework.services.dev import DevStack
from test_framework.services.drivers import service_names
from test_framework.services.stack import Stack
from test_framework.services.state import ServiceError
from test_framework.tests.kit.services.conftest import invoke, on

ROUNDS = {"bundled": 3, "compose": 2}
SECONDS = 90
UP, DOWN, RESET = "services.up", "services.down", "services.reset"
PAIRS = [(UP, DOWN), (UP, UP), (UP, RESET), (DOWN, RESET)]


def at_once(stack: Stack, *commands: str) -> list[tuple[int, str]]:
    """Run invoke commands on that checkout at the same time; return each one's exit code and what it printed."""
    options: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "cwd": CHECKOUT}
    lines = [invoke(stack, command) for command in commands]
    with contextlib.ExitStack() as shells:
        started = [shells.enter_context(subprocess.Popen(line, **options)) for line in lines]
        printed = [shell.communicate(timeout=SECONDS)[0] for shell in started]
    return [(shell.returncode, text) for shell, text in zip(started, printed, strict=True)]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("first", "second"), PAIRS)
@pytest.mark.parametrize("provider", on("bundled", "compose"))
def test_commands_at_once_end_in_one_consistent_state(
    provider: str, first: str, second: str, dev: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVICES", provider)
    stack = DevStack(dev, provider)

    for _ in range(ROUNDS[provider]):
        ended = at_once(dev, first, second)

        assert [code for code, _ in ended] == [0, 0], ended
        assert "Traceback" not in str(ended)
        states = {one.state for one in stack.status(service_names())}
        assert len(states) == 1, ended
        assert states <= ({"healthy", "absent"} if DOWN in (first, second) else {"healthy"}), ended

    assert at_once(dev, UP)[0][0] == 0
    assert {one.state for one in stack.status(service_names())} == {"healthy"}


def test_a_command_that_waits_too_long_names_the_lock(dev: Stack) -> None:
    with FileLock(dev.lock_file("stack")), pytest.raises(ServiceError, match="another command is changing") as caught:
        DevStack(dev, "bundled").up(service_names(), 0.1)

    assert caught.value.next_command == "invoke services.status"
