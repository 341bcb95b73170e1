"""A consumer's position in each stream, and the lease of the process that may move it.

A lease has a token and an end; a process whose lease was taken over can't move the position any more. All times are
the database's, so that the clocks of several processes need not agree. Every transaction is short: no lock and no
connection is held while a handler runs.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from pydantic_core import to_json
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from commitstream.db.database import Database
from commitstream.db.tables import DeadLetter


@dataclass(frozen=True)
class Claim:
    """A consumer's position in a stream, leased by this process; `attempts` counts this one."""

    stream: str
    seq: int
    attempts: int
    token: str


class Positions:
    def __init__(self, database: Database, consumer: str) -> None:
        self._database = database
        self._consumer = consumer
        self._sql = _POSTGRES if database.dialect == "postgresql" else _SQLITE

    async def due(self, limit: int, after: str = "", among: Collection[str] | None = None) -> list[str]:
        """Return streams with undelivered events and no lease, after a name or among some."""
        query = self._sql.due if among is None else self._sql.due_among
        chosen = {"after": after} if among is None else {"streams": _listed(among)}
        async with self._database.reading() as session:
            return list((await session.scalars(query, {"consumer": self._consumer, "limit": limit, **chosen})).all())

    async def claim(self, streams: Sequence[str], lease: float) -> list[Claim]:
        """Lease the positions in these streams that no other process has leased."""
        token = uuid.uuid4().hex
        bound = {"consumer": self._consumer, "streams": _listed(streams), "token": token, "lease": lease}
        async with self._database.transaction() as session:
            rows = await session.execute(self._sql.claim, bound)
            return [Claim(row.stream, row.seq, row.attempts, token) for row in rows]

    async def move(self, claim: Claim, seq: int, *, attempts: int, lease: float) -> bool:
        """Store the position, and when its lease ends; False where another process has the lease."""
        async with self._database.transaction() as session:
            return await self._move(session, claim, seq, attempts=attempts, lease=lease)

    async def store_dead_letter(self, claim: Claim, event: str, reason: str) -> bool:
        """Store the next event as a dead letter and move on; False where another process has the lease."""
        seq = claim.seq + 1
        async with self._database.transaction() as session:
            moved = await self._move(session, claim, seq, attempts=0, lease=0.0)
            if moved:
                letter = self._letter(claim.stream, seq, event, reason, claim.attempts)
                await session.execute(self._sql.store_dead_letter, letter)
            return moved

    async def dead_letters(self, limit: int) -> Sequence[DeadLetter]:
        """Return the dead letters of this consumer, the oldest first."""
        query = select(DeadLetter).where(DeadLetter.consumer == self._consumer)
        async with self._database.reading() as session:
            return (await session.scalars(query.order_by(DeadLetter.at, DeadLetter.seq).limit(limit))).all()

    async def delete_dead_letter(self, letter: DeadLetter) -> None:
        """Delete a dead letter, because its event was handled."""
        key = (letter.consumer, letter.stream, letter.seq)
        async with self._database.transaction() as session:
            if (kept := await session.get(DeadLetter, key)) is not None:
                await session.delete(kept)

    async def update_dead_letter(self, letter: DeadLetter, reason: str) -> None:
        """Store why another attempt to handle a dead letter failed."""
        again = self._letter(letter.stream, letter.seq, letter.event, reason, letter.attempts + 1)
        async with self._database.transaction() as session:
            await session.execute(self._sql.store_dead_letter, again)

    def _letter(self, stream: str, seq: int, event: str, reason: str, attempts: int) -> dict[str, object]:
        return {
            "consumer": self._consumer,
            "stream": stream,
            "seq": seq,
            "event": event,
            "reason": reason,
            "attempts": attempts,
        }

    async def _move(self, session: AsyncSession, claim: Claim, seq: int, *, attempts: int, lease: float) -> bool:
        held = {"consumer": self._consumer, "stream": claim.stream, "token": claim.token}
        moved = await session.scalar(self._sql.move, {**held, "seq": seq, "attempts": attempts, "lease": lease})
        return moved is not None


def _listed(streams: Collection[str]) -> str:
    return to_json(sorted(streams)).decode()


class _Postgres:
    due = text(
        """
        SELECT stream.stream
        FROM commitstream_streams AS stream
        LEFT JOIN commitstream_consumer_positions AS position
            ON position.consumer = :consumer AND position.stream = stream.stream
        WHERE stream.stream > :after
        AND stream.last_seq > coalesce(position.seq, 0) AND coalesce(position.free_at <= clock_timestamp(), true)
        ORDER BY stream.stream LIMIT :limit
        """
    )
    due_among = text(
        """
        SELECT stream.stream
        FROM json_array_elements_text(CAST(:streams AS json)) AS named(stream)
        JOIN commitstream_streams AS stream ON stream.stream = named.stream
        LEFT JOIN commitstream_consumer_positions AS position
            ON position.consumer = :consumer AND position.stream = stream.stream
        WHERE stream.last_seq > coalesce(position.seq, 0) AND coalesce(position.free_at <= clock_timestamp(), true)
        ORDER BY stream.stream LIMIT :limit
        """
    )
    claim = text(
        """
        INSERT INTO commitstream_consumer_positions (consumer, stream, seq, attempts, owner, free_at)
        SELECT :consumer, stream, 0, 1, :token, clock_timestamp() + make_interval(secs => :lease)
        FROM json_array_elements_text(CAST(:streams AS json)) AS named(stream) ORDER BY stream
        ON CONFLICT (consumer, stream) DO UPDATE
        SET attempts = commitstream_consumer_positions.attempts + 1, owner = excluded.owner, free_at = excluded.free_at
        WHERE commitstream_consumer_positions.free_at <= clock_timestamp()
        RETURNING stream, seq, attempts
        """
    )
    move = text(
        """
        UPDATE commitstream_consumer_positions
        SET seq = :seq, attempts = :attempts, free_at = clock_timestamp() + make_interval(secs => :lease)
        WHERE consumer = :consumer AND stream = :stream AND owner = :token
        RETURNING stream
        """
    )
    store_dead_letter = text(
        """
        INSERT INTO commitstream_dead_letters (consumer, stream, seq, event, reason, attempts, at)
        VALUES (:consumer, :stream, :seq, :event, :reason, :attempts, clock_timestamp())
        ON CONFLICT (consumer, stream, seq) DO UPDATE
        SET reason = excluded.reason, attempts = excluded.attempts, at = excluded.at
        """
    )


class _Sqlite:
    """The queries jump from stream to stream by the journal's key, without reading all of it."""

    due = text(
        """
        WITH RECURSIVE named (stream) AS (
            SELECT min(stream) FROM commitstream_events WHERE stream > :after
            UNION ALL
            SELECT (SELECT min(stream) FROM commitstream_events WHERE stream > named.stream) FROM named
            WHERE named.stream IS NOT NULL
        )
        SELECT named.stream
        FROM named
        LEFT JOIN commitstream_consumer_positions AS position
            ON position.consumer = :consumer AND position.stream = named.stream
        WHERE named.stream IS NOT NULL
        AND EXISTS (
            SELECT 1 FROM commitstream_events AS event
            WHERE event.stream = named.stream AND event.seq > coalesce(position.seq, 0)
        )
        AND coalesce(position.free_at <= strftime('%Y-%m-%d %H:%M:%f000', 'now'), 1)
        LIMIT :limit
        """
    )
    due_among = text(
        """
        SELECT named.value
        FROM json_each(:streams) AS named
        LEFT JOIN commitstream_consumer_positions AS position
            ON position.consumer = :consumer AND position.stream = named.value
        WHERE EXISTS (
            SELECT 1 FROM commitstream_events AS event
            WHERE event.stream = named.value AND event.seq > coalesce(position.seq, 0)
        )
        AND coalesce(position.free_at <= strftime('%Y-%m-%d %H:%M:%f000', 'now'), 1)
        LIMIT :limit
        """
    )
    claim = text(
        """
        INSERT INTO commitstream_consumer_positions (consumer, stream, seq, attempts, owner, free_at)
        SELECT :consumer, value, 0, 1, :token,
            strftime('%Y-%m-%d %H:%M:%f000', 'now', printf('%+.3f seconds', :lease))
        FROM json_each(:streams) WHERE true
        ON CONFLICT (consumer, stream) DO UPDATE
        SET attempts = attempts + 1, owner = excluded.owner, free_at = excluded.free_at
        WHERE free_at <= strftime('%Y-%m-%d %H:%M:%f000', 'now')
        RETURNING stream, seq, attempts
        """
    )
    move = text(
        """
        UPDATE commitstream_consumer_positions
        SET seq = :seq, attempts = :attempts,
            free_at = strftime('%Y-%m-%d %H:%M:%f000', 'now', printf('%+.3f seconds', :lease))
        WHERE consumer = :consumer AND stream = :stream AND owner = :token
        RETURNING stream
        """
    )
    store_dead_letter = text(
        """
        INSERT INTO commitstream_dead_letters (consumer, stream, seq, event, reason, attempts, at)
        VALUES (:consumer, :stream, :seq, :event, :reason, :attempts, strftime('%Y-%m-%d %H:%M:%f000', 'now'))
        ON CONFLICT (consumer, stream, seq) DO UPDATE
        SET reason = excluded.reason, attempts = excluded.attempts, at = excluded.at
        """
    )


_POSTGRES, _SQLITE = _Postgres(), _Sqlite()
