"""The end of a child process: SIGTERM first, SIGKILL after a grace period."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from typing import Protocol

from commitstream.lifecycle.attempt import answer


class Child(Protocol):
    """A process that was started here: a `subprocess.Popen` or an asyncio one."""

    @property
    def pid(self) -> int: ...

    def terminate(self) -> None: ...

    def kill(self) -> None: ...

    def wait(self) -> int | Awaitable[int]: ...


class ChildKilledError(RuntimeError):
    """A child did not end within its grace period."""


async def end_child(child: Child, grace: float) -> None:
    """Terminate a child and wait for it; kill it after the grace period, and raise."""
    with suppress(ProcessLookupError):
        child.terminate()
    try:
        await asyncio.wait_for(answer(child.wait), grace)
    except TimeoutError:
        kill_child(child)
        await answer(child.wait)
        raise ChildKilledError(
            f"process {child.pid} did not end within {grace:g} s of SIGTERM and was killed"
        ) from None


def kill_child(child: Child) -> None:
    """Kill a child, if it still runs."""
    with suppress(ProcessLookupError):
        child.kill()
