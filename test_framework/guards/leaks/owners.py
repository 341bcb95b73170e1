"""Who is at work: the test, or a fixture that outlives it.

The answer stands in a context variable, which asyncio hands on to every task and callback. So a task that a session's
server starts while a test runs is the server's, and not the test's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, eq=False)
class Owner:
    """A test, or a fixture that is wider than a test; each is itself and no other."""

    name: str
    lasting: bool = False


AT_WORK: ContextVar[Owner | None] = ContextVar("at_work", default=None)


@contextmanager
def at_work(owner: Owner) -> Iterator[None]:
    """Charge what begins in this block to an owner."""
    token = AT_WORK.set(owner)
    try:
        yield
    finally:
        AT_WORK.reset(token)
