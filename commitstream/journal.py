"""The L1 log: events written in the caller's transaction, numbered per user without gaps, read back from any number.

The number is given inside the INSERT's own statement. On Postgres the user's row in `streams` is locked until the commit,
so numbers appear in commit order and "everything after n" misses nothing; on SQLite there is one writer at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from pydantic_core import to_json
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from commitstream.db.database import Database
from commitstream.envelope import Batch, Draft, batches, frame
from commitstream.outbox import Listener, Outbox

PAGE = 500
PAGE_CHARACTERS = 1 << 20
ANY_SIZE = 1 << 62
LARGEST_NUMBER = (1 << 63) - 1


class RunPage(NamedTuple):
    """Some events of a run, and the number to go on after where there are more."""

    frames: list[str]
    next: int | None


class Journal:
    def __init__(self, database: Database, outbox: Outbox) -> None:
        self._database = database
        self._outbox = outbox
        self._sql = _POSTGRES if database.dialect == "postgresql" else _SQLITE

    async def log_event(self, session: AsyncSession, user_id: str, *drafts: Draft) -> Batch:
        """Write events of one user, in order, in one statement; they are published if and when the session commits.

        Let it be the last statement of its transaction: on Postgres the user's stream is locked from here to the commit.
        """
        if not drafts:
            raise ValueError("log_event needs at least one event")
        connection = await session.connection()
        numbers = (await connection.execute(self._sql.append, self._sql.bind(user_id, drafts))).scalars().all()
        first = min(numbers)
        written = Batch(user_id, first, [frame(first + n, draft.body) for n, draft in enumerate(drafts)])
        self._outbox.stage(session, connection, written)
        return written

    def on_commit(self, listener: Listener) -> Callable[[], None]:
        """Have somebody told, by name of the user, of what this process commits; the returned function ends it."""
        return self._outbox.wake(listener)

    async def head(self, user_id: str) -> int:
        """The number of a user's last event; 0 before the first."""
        async with self._database.reading() as session:
            return int(await session.scalar(_HEAD, {"user_id": user_id}) or 0)

    async def after(self, user_id: str, seq: int, limit: int = PAGE, size: int = ANY_SIZE) -> Batch | None:
        """A user's next events after a number, a page at most; None where there are none."""
        found = await self.after_each({user_id: seq}, limit, size)
        return found[0] if found else None

    async def after_each(self, positions: Mapping[str, int], limit: int = PAGE, size: int = ANY_SIZE) -> list[Batch]:
        """What each user has after their number, in one query for all: a page each, and no more than fills a size."""
        if not positions:
            return []
        bound = {"positions": to_json(positions).decode(), "page": limit, "size": size}
        async with self._database.reading() as session:
            rows = await session.execute(self._sql.read, bound)
            return list(batches((row.user_id, row.seq, row.body) for row in rows))

    async def last_kind(self, session: AsyncSession, run_id: str) -> str | None:
        """What happened last in a run."""
        kind = await session.scalar(_LAST_KIND, {"run_id": run_id})
        return str(kind) if kind else None

    async def holds(self, session: AsyncSession, draft: Draft) -> bool:
        """Whether an event was written after all, when the answer to its commit got lost."""
        return await session.scalar(_HOLDS, {"run_id": draft.run_id, "body": draft.body}) is not None

    async def of_run(
        self, user_id: str, run_id: str, after: int = 0, limit: int = PAGE, size: int = ANY_SIZE
    ) -> RunPage:
        """A run's next events after a number, no more than a limit and no more than fills a size, but one at least."""
        bound = {"user_id": user_id, "run_id": run_id, "after": after, "page": limit + 1, "size": size}
        async with self._database.reading() as session:
            rows = (await session.execute(_OF_RUN, bound)).all()
        shown = rows[:limit]
        more = bool(shown) and rows[0].found > len(shown)
        return RunPage([frame(row.seq, row.body) for row in shown], shown[-1].seq if more else None)


_HEAD = text("SELECT max(seq) FROM events WHERE user_id = :user_id")

_LAST_KIND = text("SELECT kind FROM events WHERE run_id = :run_id ORDER BY seq DESC LIMIT 1")

_HOLDS = text("SELECT seq FROM events WHERE run_id = :run_id AND body = :body")

_OF_RUN = text(
    """
    SELECT seq, body, found FROM (
        SELECT seq, body, count(*) OVER () AS found, sum(length(body)) OVER (ORDER BY seq) - length(body) AS before FROM (
            SELECT seq, body FROM events
            WHERE user_id = :user_id AND run_id = :run_id AND seq > :after ORDER BY seq LIMIT :page
        ) AS page
    ) AS event
    WHERE before < :size
    ORDER BY seq
    """
)


class _Postgres:
    append = text(
        """
        WITH numbered AS (
            INSERT INTO streams (user_id, last_seq) VALUES (:user_id, :count)
            ON CONFLICT (user_id) DO UPDATE SET last_seq = streams.last_seq + excluded.last_seq
            RETURNING last_seq
        )
        INSERT INTO events (user_id, seq, run_id, kind, body, at)
        SELECT :user_id, last_seq - :count + n, run_id, kind, body, at
        FROM numbered, unnest(
            CAST(:runs AS text[]), CAST(:kinds AS text[]), CAST(:bodies AS text[]), CAST(:ats AS timestamptz[])
        ) WITH ORDINALITY AS draft(run_id, kind, body, at, n)
        RETURNING seq
        """
    )
    read = text(
        """
        SELECT event.user_id, event.seq, event.body
        FROM json_each_text(CAST(:positions AS json)) AS position(user_id, seq)
        CROSS JOIN LATERAL (
            SELECT user_id, seq, body, sum(length(body)) OVER (ORDER BY seq) - length(body) AS before FROM (
                SELECT user_id, seq, body FROM events
                WHERE events.user_id = position.user_id AND events.seq > CAST(position.seq AS bigint)
                ORDER BY seq LIMIT :page
            ) AS page
        ) AS event
        WHERE event.before < :size
        ORDER BY event.user_id, event.seq
        """
    )

    @staticmethod
    def bind(user_id: str, drafts: Sequence[Draft]) -> dict[str, object]:
        return {
            "user_id": user_id,
            "count": len(drafts),
            "runs": [draft.run_id for draft in drafts],
            "kinds": [draft.kind for draft in drafts],
            "bodies": [draft.body for draft in drafts],
            "ats": [draft.at for draft in drafts],
        }


class _Sqlite:
    append = text(
        """
        INSERT INTO events (user_id, seq, run_id, kind, body, at)
        SELECT :user_id, top.seq + draft.key + 1, draft.value ->> 0, draft.value ->> 1, draft.value ->> 2, draft.value ->> 3
        FROM (SELECT coalesce(max(seq), 0) AS seq FROM events WHERE user_id = :user_id) AS top, json_each(:drafts) AS draft
        ORDER BY draft.key
        RETURNING seq
        """
    )
    read = text(
        """
        SELECT event.user_id, event.seq, event.body
        FROM json_each(:positions) AS position
        JOIN events AS event ON event.user_id = position.key AND event.seq IN (
            SELECT seq FROM (
                SELECT seq, sum(length(body)) OVER (ORDER BY seq) - length(body) AS before FROM (
                    SELECT seq, body FROM events
                    WHERE user_id = position.key AND seq > position.value ORDER BY seq LIMIT :page
                )
            ) WHERE before < :size
        )
        ORDER BY event.user_id, event.seq
        """
    )

    @staticmethod
    def bind(user_id: str, drafts: Sequence[Draft]) -> dict[str, object]:
        moments = [draft.at.replace(tzinfo=None).isoformat(" ", "microseconds") for draft in drafts]
        rows = [[d.run_id, d.kind, d.body, at] for d, at in zip(drafts, moments, strict=True)]
        return {"user_id": user_id, "drafts": to_json(rows).decode()}


_POSTGRES, _SQLITE = _Postgres(), _Sqlite()
