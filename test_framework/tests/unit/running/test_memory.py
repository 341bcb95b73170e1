"""What a module has needed is not what the run needs."""

from __future__ import annotations

import platform

import psutil

from test_framework.running.memory import Memory

PIECE_BYTES = 1024
PIECES = 60_000
MOST_OF_IT = 30 * 1024 * 1024


def in_memory() -> int:
    return int(psutil.Process().memory_info().rss)


def test_what_was_let_go_of_is_the_systems_again() -> None:
    held: list[object] = [bytes(PIECE_BYTES) for _ in range(PIECES)]
    last = bytes(PIECE_BYTES)  # lies above them, so that nothing goes back by itself
    full = in_memory()
    held.append(held)  # in a circle, which nothing but the collector breaks
    del held

    given = Memory().give_back()

    assert given == (platform.libc_ver()[0] == "glibc")
    assert not given or full - in_memory() > MOST_OF_IT
    assert len(last) == PIECE_BYTES
