"""A run's gate: whoever makes something of the run stands in it, whoever ends the run shuts it first.

Those who are at it are waited for, and so are the children that do it for them and inherit what is `held`; those who come later
are refused. It is a file beside the register, which the makers lock together and the end alone; the lock goes when its last
holder dies. (On Windows, which has no such locks, only those who come later are refused.)
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

from test_framework.services.state import RunEndedError

if sys.platform != "win32":
    import fcntl

BETWEEN_LOOKS = 0.005
OPEN, SHUT = "gate", "gate-shut"
_held: ContextVar[tuple[int, ...]] = ContextVar("held", default=())


def open_gate(directory: Path) -> None:
    (directory / OPEN).touch(mode=0o600)


def held() -> tuple[int, ...]:
    """What a child inherits that makes something for us: it goes on when we are killed, and is to be waited for."""
    return _held.get()


@contextlib.contextmanager
def inside(directory: Path) -> Iterator[None]:
    """Keep the run from ending while the block makes something."""
    gate = directory / OPEN
    try:
        handle = os.open(gate, os.O_RDONLY)
    except FileNotFoundError:
        raise RunEndedError(directory.name) from None
    before = _held.set((*held(), handle) if sys.platform != "win32" else ())
    try:
        if sys.platform != "win32":
            fcntl.flock(handle, fcntl.LOCK_SH)
        if not gate.exists():  # it was shut while we came
            raise RunEndedError(directory.name)
        yield
    finally:
        _held.reset(before)
        os.close(handle)


def shut_gate(directory: Path, seconds: float) -> bool:
    """Let nobody in any more, and wait for those inside; say whether all have left. A run without a gate has nobody in it."""
    shut = directory / SHUT
    with contextlib.suppress(FileNotFoundError):
        (directory / OPEN).rename(shut)
    try:
        handle = os.open(shut, os.O_RDONLY)
    except FileNotFoundError:
        return True
    try:
        return sys.platform == "win32" or _alone_within(handle, seconds)
    finally:
        os.close(handle)


def _alone_within(handle: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(BETWEEN_LOOKS)
