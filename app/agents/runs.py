"""The table of runs: each change is committed in one transaction with its event."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

from sqlalchemy import and_, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from app.agents.events import AgentCompleted, AgentStarted, RunEvent, ToolCompleted, ToolExecuting
from app.agents.model import ModelCall
from app.agents.tables import ModelCallEntry, Run, RunStatus
from commitstream.db.database import Database
from commitstream.envelope import Draft
from commitstream.journal import Journal
from commitstream.service.problems import Problem
from commitstream.topics import Stream, user_stream

LEASE_SECONDS = 15.0


@dataclass(frozen=True)
class Origin:
    """The user, the request and the trace that a run comes from."""

    user_id: str
    request_id: str | None = None
    trace_id: str | None = None

    @property
    def metadata(self) -> dict[str, str | None]:
        """What is stored with each event; watchers don't get it."""
        return {"request_id": self.request_id, "trace_id": self.trace_id}


class IdempotencyConflict(Problem):
    """An idempotency key that was used before, for another message."""

    def __init__(self, key: str | None, run_id: str) -> None:
        super().__init__(
            HTTPStatus.CONFLICT,
            f"the key {key!r} was used for another message, by run {run_id}: "
            "take a new Idempotency-Key for a new message",
        )


class RunOver(Exception):
    """A run was ended by another process, while this one still works on it."""


class Runs:
    """Reads and writes the runs of all users."""

    def __init__(
        self, database: Database, journal: Journal, owner: str, stream_of: Callable[[str], Stream] = user_stream
    ) -> None:
        """`stream_of` gives the stream that a user's runs are written to: their own, or one that others watch too."""
        self._database = database
        self._journal = journal
        self.owner = owner
        self.stream_of = stream_of

    async def start(self, origin: Origin, message: str, key: str | None) -> tuple[Run, bool]:
        """Write a run and its `agent_started`; the same key gives the same run, and False."""
        now = datetime.now(UTC)
        run = Run(
            id=uuid.uuid4().hex,
            user_id=origin.user_id,
            message=message,
            status=RunStatus.RUNNING,
            idempotency_key=key,
            cancel_requested=False,
            owner=self.owner,
            lease_until=now + timedelta(seconds=LEASE_SECONDS),
            created_at=now,
        )
        try:
            async with self._database.transaction() as session:
                session.add(run)
                await session.flush()
                started = AgentStarted(run_id=run.id, message=message)
                await self._journal.append(session, self.stream_of(origin.user_id), started, metadata=origin.metadata)
        except IntegrityError:
            return await self._earlier(origin.user_id, message, key), False
        return run, True

    async def _earlier(self, user_id: str, message: str, key: str | None) -> Run:
        async with self._database.reading() as session:
            earlier = await session.scalar(select(Run).where(Run.user_id == user_id, Run.idempotency_key == key))
        if earlier is None:
            raise RuntimeError(f"the database refused a run of {user_id} with key {key}, but has no such run")
        if earlier.message != message:
            raise IdempotencyConflict(key, earlier.id)
        return earlier

    def draft(self, origin: Origin, event: RunEvent) -> Draft:
        """Serialise an event of a run."""
        return self._journal.draft(self.stream_of(origin.user_id), event, origin.metadata)

    async def log(self, event: Draft, *, again: bool = False) -> None:
        """Write one event of a run; `again` where an earlier attempt may have written it.

        The run's row is locked first: no other process can end the run meanwhile, and an earlier attempt that still runs is
        waited for.
        """
        async with self._database.transaction() as session:
            running = select(Run.id).where(Run.id == event.subject, Run.status == RunStatus.RUNNING)
            if await session.scalar(running.with_for_update()) is None:
                raise RunOver(f"run {event.subject} has been ended by another process")
            if not (again and await self._journal.holds(session, event)):
                await self._journal.write(session, event)

    async def record(self, origin: Origin, run_id: str, call: ModelCall) -> None:
        """Store a request to a model and its result; the same call twice is stored once."""
        entry = insert(ModelCallEntry).values(run_id=run_id, user_id=origin.user_id, **asdict(call))
        with suppress(IntegrityError):
            async with self._database.transaction() as session:
                await session.execute(entry)

    async def finish(self, origin: Origin, run_id: str, status: RunStatus, ending: Mapping[str, str]) -> bool:
        """End a run, and its open tool call if it has one; False where another process has ended it."""
        async with self._database.transaction() as session:
            ended = await session.scalar(
                update(Run)
                .where(Run.id == run_id, Run.status == RunStatus.RUNNING)
                .values(status=status, finished_at=datetime.now(UTC))
                .returning(Run.id)
            )
            if ended is None:
                return False
            stream = self.stream_of(origin.user_id)
            last = await self._journal.last_type(session, stream, run_id)
            events = closing(run_id, last, status, ending)
            await self._journal.append(session, stream, *events, metadata=origin.metadata)
        return True

    async def ask_to_cancel(self, user_id: str, run_id: str) -> Run | None:
        """Request the cancellation of a run, from the process that works on it."""
        async with self._database.transaction() as session:
            mine = update(Run).where(Run.user_id == user_id, Run.id == run_id)
            return await session.scalar(mine.values(cancel_requested=True).returning(Run))

    async def renew(self, run_ids: Sequence[str]) -> list[str]:
        """Renew the leases of runs, and return those whose cancellation was requested."""
        async with self._database.transaction() as session:
            rows = await session.execute(
                update(Run)
                .where(Run.id.in_(run_ids), Run.status == RunStatus.RUNNING)
                .values(lease_until=datetime.now(UTC) + timedelta(seconds=LEASE_SECONDS))
                .returning(Run.id, Run.cancel_requested)
            )
            return [row.id for row in rows if row.cancel_requested]

    async def abandoned(self) -> Sequence[Run]:
        """Return the runs whose lease has expired, because their process died or lost the database."""
        async with self._database.reading() as session:
            expired = select(Run).where(Run.status == RunStatus.RUNNING, Run.lease_until < datetime.now(UTC))
            return (await session.scalars(expired.limit(100))).all()

    async def get(self, user_id: str, run_id: str) -> Run | None:
        """Return one of a user's runs; None where there is none."""
        async with self._database.reading() as session:
            return await session.scalar(select(Run).where(Run.user_id == user_id, Run.id == run_id))

    async def list(
        self, user_id: str, limit: int, size: int, before: datetime | None = None, beyond: str | None = None
    ) -> tuple[Sequence[Run], bool]:
        """Return a page of a user's runs, the newest first, and whether there are more.

        The page is limited by number and by size. It has runs created before `before`, and those created exactly then whose
        id is greater than `beyond`.
        """
        mine = select(Run.id, Run.created_at, func.length(Run.message).label("size")).where(Run.user_id == user_id)
        if before is not None:
            later = Run.created_at < before
            mine = mine.where(later if beyond is None else or_(later, and_(Run.created_at == before, Run.id > beyond)))
        some = mine.order_by(Run.created_at.desc(), Run.id).limit(limit + 1).subquery()
        running = func.sum(some.c.size).over(order_by=(some.c.created_at.desc(), some.c.id)) - some.c.size
        page = select(some.c.id, running.label("before"), func.count().over().label("found")).subquery()
        query = select(Run, page.c.found).join(page, Run.id == page.c.id).where(page.c.before < size)
        async with self._database.reading() as session:
            rows = (await session.execute(query.order_by(Run.created_at.desc(), Run.id))).all()
        shown = [run for run, _ in rows[:limit]]
        return shown, bool(rows) and rows[0].found > len(shown)


def closing(run_id: str, last: str | None, status: RunStatus, ending: Mapping[str, str]) -> list[RunEvent]:
    """Return the events that end a run; an open tool call is completed first."""
    completed = AgentCompleted.model_validate({"run_id": run_id, "status": str(status), **ending})
    if last == ToolExecuting.event_type:
        return [ToolCompleted(run_id=run_id, status=str(status)), completed]
    return [completed]
