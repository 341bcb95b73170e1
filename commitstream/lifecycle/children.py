"""How a child process is ended: asked first, killed when it takes too long."""

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
    """A child did not end when it was asked to."""


async def end_child(child: Child, grace: float) -> None:
    """Ask a child to end and wait for it; kill it when its time is over, and say so."""
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
