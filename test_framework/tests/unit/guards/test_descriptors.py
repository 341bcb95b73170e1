"""The guard distinguishes an open file from another that reuses its descriptor number."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from test_framework import CHECKOUT
from test_framework.guards.leaks.origins import Origins
from test_framework.guards.leaks.processes import Descriptors

Opened = Callable[[], int]


@contextmanager
def held(opened: Opened) -> Iterator[int]:
    descriptor = opened()
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def of_a_file(path: Path) -> Opened:
    return lambda: os.open(path, os.O_CREAT | os.O_RDONLY)


def of_a_deleted_file(path: Path) -> Opened:
    def opened() -> int:
        descriptor = os.open(path, os.O_CREAT | os.O_RDONLY)
        path.unlink()
        return descriptor

    return opened


def new_where_the_number_is_the_same(first: Opened, second: Opened) -> list[str]:
    """Open one, close it, open the other, and return what is new then, as a look at the end of a test sees it."""
    descriptors = Descriptors(Origins(), set, set)
    with held(first) as number:
        before = descriptors.now()
    with held(second) as again:
        assert again == number
        return [
            key[1] for key in descriptors.now().keys() - before.keys() if isinstance(key, tuple) and key[0] == number
        ]


def test_a_file_that_takes_the_number_of_another_is_new() -> None:
    found = new_where_the_number_is_the_same(*(of_a_file(CHECKOUT / name) for name in ("pyproject.toml", "README.md")))

    assert len(found) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux, whose /proc names what is open")
def test_a_deleted_file_that_takes_number_and_inode_is_new(tmp_path: Path) -> None:
    found = new_where_the_number_is_the_same(of_a_deleted_file(tmp_path / "a"), of_a_deleted_file(tmp_path / "b"))

    assert found == [f"{tmp_path / 'b'} (deleted)"]


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux, whose epolls and events share one inode")
def test_an_event_that_takes_the_number_of_an_epoll_is_new() -> None:
    with select.epoll() as kept:
        found = new_where_the_number_is_the_same(lambda: os.dup(kept.fileno()), lambda: os.eventfd(0))

    assert found == ["anon_inode:[eventfd]"]


def test_what_was_opened_since_the_last_test_is_seen_before_the_next(tmp_path: Path) -> None:
    origins = Origins()
    descriptors = Descriptors(origins, set, set)
    with held(of_a_file(tmp_path / "a")):
        descriptors.now()
    origins.note_file((str(tmp_path / "b"),))
    with held(of_a_file(tmp_path / "b")) as number:
        assert (number, str(tmp_path / "b")) in descriptors.before_a_test()
