"""The journal: events, written in the caller's transaction, numbered without gaps.

`append` checks an event and keeps it with its transaction; the commit writes all of them, sorted by stream, in one
statement. So two transactions lock their common streams in the same order and can't deadlock, and a stream is locked
only from there to the end of the commit. After a savepoint events are written at once, so that a rollback to it removes
them; such a transaction locks its streams in the order of its calls.

The INSERT statement itself assigns the number. On Postgres the stream's row in `commitstream_streams` is locked until
the commit, so numbers appear in commit order and "everything after n" misses nothing; on SQLite there is one writer at
a time. The same statement of Postgres reads what the order of types is checked against, and only where it waited for a
lock is that read again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import NamedTuple

from pydantic import JsonValue
from pydantic_core import from_json, to_json
from sqlalchemy import text
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import AsyncSession

from commitstream.db.database import Database
from commitstream.envelope import Batch, Draft, batches, frame
from commitstream.events import Event
from commitstream.outbox import Listener, Outbox
from commitstream.topics import Order, OrderError, Stream, Topics

PAGE = 500
PAGE_CHARACTERS = 1 << 20
ANY_SIZE = 1 << 62
LARGEST_NUMBER = (1 << 63) - 1


Metadata = Mapping[str, JsonValue | None]
NO_METADATA: Metadata = MappingProxyType({})


class SubjectPage(NamedTuple):
    """A page of events about one subject, and the cursor of the next page, if there is one."""

    frames: list[str]
    next: int | None


class Journal:
    """Writes events in transactions, and reads them back."""

    def __init__(self, database: Database, outbox: Outbox, topics: Topics) -> None:
        self._database = database
        self._outbox = outbox
        self.topics = topics
        self._sql = _POSTGRES if database.dialect == "postgresql" else _SQLITE

    def draft(self, stream: Stream, event: Event, metadata: Metadata = NO_METADATA) -> Draft:
        """Check and serialise an event; raises UnknownTopicError or UnknownEventTypeError."""
        topic = self.topics.of(stream)
        topic.require(event)
        return Draft.write(topic, stream, event, metadata)

    async def append(
        self, session: AsyncSession, stream: Stream, *events: Event, metadata: Metadata = NO_METADATA
    ) -> None:
        """Write events of one stream, in order, in the transaction of a session.

        They are published after its commit.

        Args:
            session: the session whose transaction writes the events.
            stream: the stream that they are appended to.
            events: the events, in order.
            metadata: where the events come from; kept with each, and shown to watchers as far as the topic says.

        Raises:
            UnknownTopicError: The application has no such topic.
            UnknownEventTypeError: The topic doesn't take an event.
            OrderError: The topic's order doesn't allow an event; the commit raises it, and rolls back.
        """
        await self.write(session, *(self.draft(stream, event, metadata) for event in events))

    async def write(self, session: AsyncSession, *drafts: Draft) -> None:
        """Write events that `draft` has serialised."""
        if not drafts:
            raise ValueError("an append needs at least one event")
        await self._outbox.add(session, self._insert, drafts)

    def _insert(self, connection: Connection, drafts: Sequence[Draft]) -> list[Batch]:
        by_stream: dict[str, list[Draft]] = {}
        for draft in sorted(drafts, key=lambda draft: str(draft.stream)):  # a stable sort: each stream keeps its order
            by_stream.setdefault(str(draft.stream), []).append(draft)
        ordered = [
            (order, name, draft)
            for name, written in by_stream.items()
            for draft in written
            if (order := self.topics.of(draft.stream).order_of(draft.type)) is not None
        ]
        followed = list(dict.fromkeys((order, name, draft.subject) for order, name, draft in ordered))
        asked = [(name, subject, sorted(order.types)) for order, name, subject in followed]
        first, last = self._sql.append(connection, by_stream, asked)
        self._check_order(ordered, dict(zip(followed, last, strict=True)))
        return [
            Batch(name, first[name], [frame(first[name] + index, draft.body) for index, draft in enumerate(written)])
            for name, written in by_stream.items()
        ]

    @staticmethod
    def _check_order(
        ordered: Iterable[tuple[Order, str, Draft]], last: dict[tuple[Order, str, str | None], str | None]
    ) -> None:
        """Check each subject's order from its last event on; the stream is locked meanwhile."""
        for order, name, draft in ordered:
            followed = (order, name, draft.subject)
            try:
                order.check(last[followed], draft.type)
            except OrderError as refused:
                subject = "" if draft.subject is None else f", {draft.subject}"
                raise OrderError(f"stream {name}{subject}: {refused}") from None
            last[followed] = draft.type

    def on_commit(self, listener: Listener) -> Callable[[], None]:
        """Call a listener with the stream of each commit here; returns what removes it."""
        return self._outbox.wake(listener)

    async def head(self, stream: str) -> int:
        """Return the number of a stream's last event; 0 before the first."""
        async with self._database.reading() as session:
            return int(await session.scalar(_HEAD, {"stream": stream}) or 0)

    async def heads(self, streams: Sequence[str]) -> dict[str, int]:
        """Return the numbers of the last events of several streams; those without an event are absent."""
        if not streams:
            return {}
        async with self._database.reading() as session:
            rows = await session.execute(self._sql.heads, {"streams": to_json(streams).decode()})
            return {row.stream: row.seq for row in rows if row.seq is not None}

    async def after(self, stream: str, seq: int, limit: int = PAGE, size: int = ANY_SIZE) -> Batch | None:
        """Return a stream's next events after a number, a page at most; None where there are none."""
        found = await self.after_each({stream: seq}, limit, size)
        return found[0] if found else None

    async def after_each(self, positions: Mapping[str, int], limit: int = PAGE, size: int = ANY_SIZE) -> list[Batch]:
        """Return the next events of several streams, in one query: a page each, limited by number and by size."""
        if not positions:
            return []
        bound = {"positions": to_json(positions).decode(), "page": limit, "size": size}
        async with self._database.reading() as session:
            rows = await session.execute(self._sql.read, bound)
            return list(batches((row.stream, row.seq, row.body) for row in rows))

    async def last_type(self, session: AsyncSession, stream: Stream, subject: str) -> str | None:
        """Return the type of the last event about a subject."""
        found = await session.scalar(_LAST_TYPE, {"stream": str(stream), "subject": subject})
        return None if found is None else str(found)

    async def holds(self, session: AsyncSession, draft: Draft) -> bool:
        """Return whether an event was written, after the answer to its commit was lost."""
        bound = {"stream": str(draft.stream), "subject": draft.subject, "body": draft.body}
        return await session.scalar(_HOLDS if draft.subject is not None else _HOLDS_WITHOUT_SUBJECT, bound) is not None

    async def metadata(self, stream: Stream, seq: int) -> dict[str, JsonValue]:
        """Return the metadata of an event, with what its watchers are not shown."""
        async with self._database.reading() as session:
            kept = await session.scalar(_METADATA, {"stream": str(stream), "seq": seq})
        return {} if kept is None else dict(from_json(kept))

    async def about(
        self, stream: Stream, subject: str, after: int = 0, limit: int = PAGE, size: int = ANY_SIZE
    ) -> SubjectPage:
        """Read the next events about a subject, limited by number and by size, but at least one."""
        bound = {"stream": str(stream), "subject": subject, "after": after, "page": limit + 1, "size": size}
        async with self._database.reading() as session:
            rows = (await session.execute(_ABOUT, bound)).all()
        shown = rows[:limit]
        more = bool(shown) and rows[0].found > len(shown)
        return SubjectPage([frame(row.seq, row.body) for row in shown], shown[-1].seq if more else None)


_HEAD = text("SELECT max(seq) FROM commitstream_events WHERE stream = :stream")

_LAST_TYPE = text(
    "SELECT type FROM commitstream_events WHERE stream = :stream AND subject = :subject ORDER BY seq DESC LIMIT 1"
)

_HOLDS = text("SELECT seq FROM commitstream_events WHERE stream = :stream AND subject = :subject AND body = :body")

_HOLDS_WITHOUT_SUBJECT = text(
    "SELECT seq FROM commitstream_events WHERE stream = :stream AND subject IS NULL AND body = :body"
)

_METADATA = text("SELECT metadata FROM commitstream_events WHERE stream = :stream AND seq = :seq")

_ABOUT = text(
    """
    SELECT seq, body, found FROM (
        SELECT seq, body, count(*) OVER () AS found, sum(length(body)) OVER (ORDER BY seq) - length(body) AS before FROM (
            SELECT seq, body FROM commitstream_events
            WHERE stream = :stream AND subject = :subject AND seq > :after ORDER BY seq LIMIT :page
        ) AS page
    ) AS event
    WHERE before < :size
    ORDER BY seq
    """
)


Asked = Sequence[tuple[str, str | None, Sequence[str]]]  # stream, subject, and the types that its order follows


class Written(NamedTuple):
    """The first number of each stream's events, and the last type before them of each stream and subject asked for."""

    first: dict[str, int]
    last: Sequence[str | None]


_ASKED = """
    asked AS MATERIALIZED (
        SELECT place, given ->> 0 AS stream, given ->> 1 AS subject, CAST(given ->> 3 AS bigint) AS before,
            ARRAY(SELECT json_array_elements_text(given -> 2)) AS types
        FROM json_array_elements(CAST(:asked AS json)) WITH ORDINALITY AS listed(given, place)
    )
"""

# written so that the index finds one row: IS NOT DISTINCT FROM, IN (SELECT …) or another order would read all
_LAST = """
    CASE WHEN asked.subject IS NULL THEN (
        SELECT type FROM commitstream_events
        WHERE stream = asked.stream AND subject IS NULL AND seq < asked.before AND type = ANY(asked.types)
        ORDER BY subject DESC, seq DESC LIMIT 1
    ) ELSE (
        SELECT type FROM commitstream_events
        WHERE stream = asked.stream AND subject = asked.subject AND seq < asked.before AND type = ANY(asked.types)
        ORDER BY seq DESC LIMIT 1
    ) END
"""


class _Postgres:
    # All parts of the statement see what was committed when it began. A stream that another transaction has written
    # since, mostly while this one waited for its lock, is not `current`: its last types have to be read again.
    _append = text(
        f"""
        WITH draft AS (
            SELECT stream, type, subject, body, metadata, at,
                row_number() OVER (PARTITION BY stream ORDER BY n) AS place, count(*) OVER (PARTITION BY stream) AS count
            FROM unnest(
                CAST(:streams AS text[]), CAST(:types AS text[]), CAST(:subjects AS text[]), CAST(:bodies AS text[]),
                CAST(:metadatas AS text[]), CAST(:ats AS timestamptz[])
            ) WITH ORDINALITY AS given(stream, type, subject, body, metadata, at, n)
        ), numbered AS (
            INSERT INTO commitstream_streams (stream, last_seq) SELECT DISTINCT stream, count FROM draft ORDER BY stream
            ON CONFLICT (stream) DO UPDATE SET last_seq = commitstream_streams.last_seq + excluded.last_seq
            RETURNING stream, last_seq
        ), written AS (
            INSERT INTO commitstream_events (stream, seq, type, subject, body, metadata, at)
            SELECT stream, last_seq - count + place, type, subject, body, metadata, at
            FROM draft JOIN numbered USING (stream)
        ), {_ASKED}
        SELECT stream, last_seq - count + 1 AS first,
            last_seq - count = coalesce((SELECT last_seq FROM commitstream_streams WHERE stream = numbered.stream), 0) AS current,
            ARRAY(SELECT {_LAST} FROM asked WHERE asked.stream = numbered.stream ORDER BY place) AS last
        FROM draft JOIN numbered USING (stream)
        WHERE place = 1
        """  # noqa: S608 - of constants
    )
    _last_types = text(f"WITH {_ASKED} SELECT {_LAST} FROM asked ORDER BY place")  # noqa: S608 - of constants
    heads = text(
        """
        SELECT stream, (SELECT max(seq) FROM commitstream_events AS event WHERE event.stream = given.stream) AS seq
        FROM json_array_elements_text(CAST(:streams AS json)) AS given(stream)
        """
    )
    read = text(
        """
        SELECT event.stream, event.seq, event.body
        FROM json_each_text(CAST(:positions AS json)) AS position(stream, seq)
        CROSS JOIN LATERAL (
            SELECT stream, seq, body, sum(length(body)) OVER (ORDER BY seq) - length(body) AS before FROM (
                SELECT stream, seq, body FROM commitstream_events AS journaled
                WHERE journaled.stream = position.stream AND journaled.seq > CAST(position.seq AS bigint)
                ORDER BY seq LIMIT :page
            ) AS page
        ) AS event
        WHERE event.before < :size
        ORDER BY event.stream, event.seq
        """
    )

    def append(self, connection: Connection, by_stream: Mapping[str, Sequence[Draft]], asked: Asked) -> Written:
        drafts = [draft for written in by_stream.values() for draft in written]
        bound = {
            "streams": [str(draft.stream) for draft in drafts],
            "types": [draft.type for draft in drafts],
            "subjects": [draft.subject for draft in drafts],
            "bodies": [draft.body for draft in drafts],
            "metadatas": [draft.metadata for draft in drafts],
            "ats": [draft.at for draft in drafts],
            "asked": to_json([(*one, LARGEST_NUMBER) for one in asked]).decode(),
        }
        rows = {row.stream: row for row in connection.execute(self._append, bound)}
        first = {name: row.first for name, row in rows.items()}
        if not asked or all(row.current for row in rows.values()):
            return Written(first, [found for name in by_stream for found in rows[name].last])
        before = to_json([(*one, first[one[0]]) for one in asked]).decode()
        return Written(first, connection.scalars(self._last_types, {"asked": before}).all())


class _Sqlite:
    _append = text(
        """
        INSERT INTO commitstream_events (stream, seq, type, subject, body, metadata, at)
        SELECT draft.value ->> 0,
            (SELECT coalesce(max(seq), 0) FROM commitstream_events WHERE stream = draft.value ->> 0) + (draft.value ->> 1),
            draft.value ->> 2, draft.value ->> 3, draft.value ->> 4, draft.value ->> 5, draft.value ->> 6
        FROM json_each(:drafts) AS draft
        ORDER BY draft.key
        RETURNING stream, seq
        """
    )
    _last_types = text(
        """
        SELECT (
            SELECT type FROM commitstream_events
            WHERE stream = asked.value ->> 0 AND subject IS asked.value ->> 1 AND seq < asked.value ->> 3
            AND type IN (SELECT value FROM json_each(asked.value -> 2))
            ORDER BY seq DESC LIMIT 1
        )
        FROM json_each(:asked) AS asked
        ORDER BY asked.key
        """
    )
    heads = text(
        """
        SELECT given.value AS stream, (SELECT max(seq) FROM commitstream_events AS event WHERE event.stream = given.value) AS seq
        FROM json_each(:streams) AS given
        """
    )
    read = text(
        """
        SELECT event.stream, event.seq, event.body
        FROM json_each(:positions) AS position
        JOIN commitstream_events AS event ON event.stream = position.key AND event.seq IN (
            SELECT seq FROM (
                SELECT seq, sum(length(body)) OVER (ORDER BY seq) - length(body) AS before FROM (
                    SELECT seq, body FROM commitstream_events
                    WHERE stream = position.key AND seq > position.value ORDER BY seq LIMIT :page
                )
            ) WHERE before < :size
        )
        ORDER BY event.stream, event.seq
        """
    )

    def append(self, connection: Connection, by_stream: Mapping[str, Sequence[Draft]], asked: Asked) -> Written:
        rows = [
            (str(d.stream), place, d.type, d.subject, d.body, d.metadata, _stored(d.at))
            for written in by_stream.values()
            for place, d in enumerate(written, 1)
        ]
        first: dict[str, int] = {}
        for name, seq in connection.execute(self._append, {"drafts": to_json(rows).decode()}):
            first[name] = min(seq, first.get(name, seq))
        if not asked:
            return Written(first, [])
        before = to_json([(*one, first[one[0]]) for one in asked]).decode()
        return Written(first, connection.scalars(self._last_types, {"asked": before}).all())


def _stored(moment: datetime) -> str:
    """Return a point in time as SQLAlchemy stores it in SQLite."""
    return moment.replace(tzinfo=None).isoformat(" ", "microseconds")


_POSTGRES, _SQLITE = _Postgres(), _Sqlite()
