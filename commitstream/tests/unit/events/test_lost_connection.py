"""A connection that breaks while the commit writes its events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

import pytest
from sqlalchemy.engine import Connection

from commitstream.envelope import Draft
from test_framework.websocket.event_path import EventPath


def lose_the_connection(connection: Connection, drafts: Sequence[Draft]) -> NoReturn:
    connection.invalidate()
    raise ConnectionResetError("gone")


async def test_a_loss_at_the_commit_is_raised_as_the_loss(path: EventPath) -> None:
    with pytest.raises(ConnectionResetError, match="gone"):
        async with path.database.transaction() as session:
            await path.outbox.add(session, lose_the_connection, [])


async def test_the_next_transaction_after_a_loss_commits(path: EventPath) -> None:
    with pytest.raises(ConnectionResetError):
        async with path.database.transaction() as session:
            await path.outbox.add(session, lose_the_connection, [])

    await path.database.ping()
    async with path.database.transaction() as session:
        await session.connection()
