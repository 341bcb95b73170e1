"""A write to a lost connection is ignored on each Python, and the task that waits for its end gets the error.

asyncio's `writelines` raises an AttributeError there on Python 3.12 and 3.13, which no client expects. Python 3.11, later ones and
uvloop, which serves the service, ignore the write; the `drain` after it raises ConnectionResetError.
"""

from __future__ import annotations

import functools
from asyncio import selector_events
from collections.abc import Iterable
from typing import Any


def ignore_writes() -> None:
    """Have asyncio's sockets ignore what is written to them after their connection was lost."""
    transport: Any = selector_events._SelectorSocketTransport  # type: ignore[attr-defined]
    writelines = transport.writelines
    if hasattr(writelines, "__wrapped__"):
        return

    @functools.wraps(writelines)
    def unless_lost(self: Any, list_of_data: Iterable[bytes]) -> None:
        if not self._conn_lost:
            writelines(self, list_of_data)

    transport.writelines = unless_lost
