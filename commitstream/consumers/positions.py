"""How far a consumer is with each stream's events, and which process may go on from there.

A place is claimed for a while, by a token of its own; whoever let its time run out can't move the place any more. All
times are the database's, so that the clocks of several processes need not agree. Every transaction is short: nobody holds
a lock, or a connection, while events are handled.
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
    """A stream's place in the stream, ours for a while; `attempts` counts this one."""

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
        """Streams whose next event waits and is nobody's, in the order of their names, after one or among some."""
        query = self._sql.due if among is None else self._sql.due_among
        whom = {"after": after} if among is None else {"streams": _listed(among)}
        async with self._database.reading() as session:
            return list((await session.scalars(query, {"consumer": self._consumer, "limit": limit, **whom})).all())

    async def claim(self, streams: Sequence[str], seconds: float) -> list[Claim]:
        """Take the places of streams that are free; they are ours for some seconds."""
        token = uuid.uuid4().hex
        bound = {"consumer": self._consumer, "streams": _listed(streams), "token": token, "seconds": seconds}
        async with self._database.transaction() as session:
            rows = await session.execute(self._sql.claim, bound)
            return [Claim(row.stream, row.seq, row.attempts, token) for row in rows]

    async def move(self, claim: Claim, seq: int, *, attempts: int, seconds: float) -> bool:
        """Say how far we came, and for how long the place stays taken; False where it is ours no more."""
        async with self._database.transaction() as session:
            return await self._move(session, claim, seq, attempts=attempts, seconds=seconds)

    async def bury(self, claim: Claim, event: str, reason: str) -> bool:
        """Put the next event aside and the place free behind it; False where the place is ours no more."""
        seq = claim.seq + 1
        async with self._database.transaction() as session:
            moved = await self._move(session, claim, seq, attempts=0, seconds=0.0)
            if moved:
                await session.execute(self._sql.bury, self._letter(claim.stream, seq, event, reason, claim.attempts))
            return moved

    async def dead_letters(self, limit: int) -> Sequence[DeadLetter]:
        """What was put aside, the oldest first."""
        query = select(DeadLetter).where(DeadLetter.consumer == self._consumer)
        async with self._database.reading() as session:
            return (await session.scalars(query.order_by(DeadLetter.at, DeadLetter.seq).limit(limit))).all()

    async def forget(self, letter: DeadLetter) -> None:
        """Take back a dead letter: it was handled after all."""
        address = (letter.consumer, letter.stream, letter.seq)
        async with self._database.transaction() as session:
            if (kept := await session.get(DeadLetter, address)) is not None:
                await session.delete(kept)

    async def bury_again(self, letter: DeadLetter, reason: str) -> None:
        """Note that a dead letter could not be handled this time either."""
        again = self._letter(letter.stream, letter.seq, letter.event, reason, letter.attempts + 1)
        async with self._database.transaction() as session:
            await session.execute(self._sql.bury, again)

    def _letter(self, stream: str, seq: int, event: str, reason: str, attempts: int) -> dict[str, object]:
        return {
            "consumer": self._consumer,
            "stream": stream,
            "seq": seq,
            "event": event,
            "reason": reason,
            "attempts": attempts,
        }

    async def _move(self, session: AsyncSession, claim: Claim, seq: int, *, attempts: int, seconds: float) -> bool:
        place = {"consumer": self._consumer, "stream": claim.stream, "token": claim.token}
        moved = await session.scalar(self._sql.move, {**place, "seq": seq, "attempts": attempts, "seconds": seconds})
        return moved is not None


def _listed(streams: Collection[str]) -> str:
    return to_json(sorted(streams)).decode()


class _Postgres:
    due = text(
        """
        SELECT stream.stream
        FROM streams AS stream
        LEFT JOIN consumer_positions AS place ON place.consumer = :consumer AND place.stream = stream.stream
        WHERE stream.stream > :after
        AND stream.last_seq > coalesce(place.seq, 0) AND coalesce(place.free_at <= clock_timestamp(), true)
        ORDER BY stream.stream LIMIT :limit
        """
    )
    due_among = text(
        """
        SELECT stream.stream
        FROM json_array_elements_text(CAST(:streams AS json)) AS named(stream)
        JOIN streams AS stream ON stream.stream = named.stream
        LEFT JOIN consumer_positions AS place ON place.consumer = :consumer AND place.stream = stream.stream
        WHERE stream.last_seq > coalesce(place.seq, 0) AND coalesce(place.free_at <= clock_timestamp(), true)
        ORDER BY stream.stream LIMIT :limit
        """
    )
    claim = text(
        """
        INSERT INTO consumer_positions (consumer, stream, seq, attempts, owner, free_at)
        SELECT :consumer, stream, 0, 1, :token, clock_timestamp() + make_interval(secs => :seconds)
        FROM json_array_elements_text(CAST(:streams AS json)) AS named(stream) ORDER BY stream
        ON CONFLICT (consumer, stream) DO UPDATE
        SET attempts = consumer_positions.attempts + 1, owner = excluded.owner, free_at = excluded.free_at
        WHERE consumer_positions.free_at <= clock_timestamp()
        RETURNING stream, seq, attempts
        """
    )
    move = text(
        """
        UPDATE consumer_positions
        SET seq = :seq, attempts = :attempts, free_at = clock_timestamp() + make_interval(secs => :seconds)
        WHERE consumer = :consumer AND stream = :stream AND owner = :token
        RETURNING stream
        """
    )
    bury = text(
        """
        INSERT INTO dead_letters (consumer, stream, seq, event, reason, attempts, at)
        VALUES (:consumer, :stream, :seq, :event, :reason, :attempts, clock_timestamp())
        ON CONFLICT (consumer, stream, seq) DO UPDATE
        SET reason = excluded.reason, attempts = excluded.attempts, at = excluded.at
        """
    )


class _Sqlite:
    """Here the streams are found by leaping from one to the next through the journal's key, not by reading it all."""

    due = text(
        """
        WITH RECURSIVE named (stream) AS (
            SELECT min(stream) FROM events WHERE stream > :after
            UNION ALL
            SELECT (SELECT min(stream) FROM events WHERE stream > named.stream) FROM named
            WHERE named.stream IS NOT NULL
        )
        SELECT named.stream
        FROM named
        LEFT JOIN consumer_positions AS place ON place.consumer = :consumer AND place.stream = named.stream
        WHERE named.stream IS NOT NULL
        AND EXISTS (SELECT 1 FROM events WHERE events.stream = named.stream AND seq > coalesce(place.seq, 0))
        AND coalesce(place.free_at <= strftime('%Y-%m-%d %H:%M:%f000', 'now'), 1)
        LIMIT :limit
        """
    )
    due_among = text(
        """
        SELECT named.value
        FROM json_each(:streams) AS named
        LEFT JOIN consumer_positions AS place ON place.consumer = :consumer AND place.stream = named.value
        WHERE EXISTS (SELECT 1 FROM events WHERE events.stream = named.value AND seq > coalesce(place.seq, 0))
        AND coalesce(place.free_at <= strftime('%Y-%m-%d %H:%M:%f000', 'now'), 1)
        LIMIT :limit
        """
    )
    claim = text(
        """
        INSERT INTO consumer_positions (consumer, stream, seq, attempts, owner, free_at)
        SELECT :consumer, value, 0, 1, :token,
            strftime('%Y-%m-%d %H:%M:%f000', 'now', printf('%+.3f seconds', :seconds))
        FROM json_each(:streams) WHERE true
        ON CONFLICT (consumer, stream) DO UPDATE
        SET attempts = attempts + 1, owner = excluded.owner, free_at = excluded.free_at
        WHERE free_at <= strftime('%Y-%m-%d %H:%M:%f000', 'now')
        RETURNING stream, seq, attempts
        """
    )
    move = text(
        """
        UPDATE consumer_positions
        SET seq = :seq, attempts = :attempts,
            free_at = strftime('%Y-%m-%d %H:%M:%f000', 'now', printf('%+.3f seconds', :seconds))
        WHERE consumer = :consumer AND stream = :stream AND owner = :token
        RETURNING stream
        """
    )
    bury = text(
        """
        INSERT INTO dead_letters (consumer, stream, seq, event, reason, attempts, at)
        VALUES (:consumer, :stream, :seq, :event, :reason, :attempts, strftime('%Y-%m-%d %H:%M:%f000', 'now'))
        ON CONFLICT (consumer, stream, seq) DO UPDATE
        SET reason = excluded.reason, attempts = excluded.attempts, at = excluded.at
        """
    )


_POSTGRES, _SQLITE = _Postgres(), _Sqlite()
