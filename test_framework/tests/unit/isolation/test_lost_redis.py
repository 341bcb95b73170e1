"""A Redis that is away when a test ends is remembered, however this Python reports the lost connection."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest
from redis import exceptions
from redis.asyncio import Redis

from test_framework.isolation.redis import Keyspace


class Lost:
    """A client whose every command fails in one way."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def info(self, section: str) -> None:
        raise self.error


def written_to_a_lost_transport() -> AttributeError:
    """What asyncio raises in Python 3.12 and 3.13: its transport has given up its loop, and asks it for a writer."""
    no_loop = cast("asyncio.SelectorEventLoop", None)
    try:
        no_loop._add_writer(0, print)  # type: ignore[attr-defined]
    except AttributeError as error:
        return error
    raise AssertionError("None has a writer")


@pytest.mark.parametrize(
    "error",
    [exceptions.ConnectionError("gone"), exceptions.TimeoutError("slow"), written_to_a_lost_transport()],
    ids=repr,
)
async def test_a_redis_that_is_away_is_remembered(error: Exception) -> None:
    space = Keyspace(cast("Redis", Lost(error)), private=True)

    await space.look_after("test-")

    assert space.was_away


async def test_another_error_is_not_taken_for_a_lost_connection() -> None:
    space = Keyspace(cast("Redis", Lost(AttributeError("x", name="nosuch", obj=None))), private=True)

    with pytest.raises(AttributeError, match="x"):
        await space.look_after("test-")
    assert not space.was_away
