"""The tables. The journal is the truth that every watcher is shown; the rest serves the runs that write it."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    Dialect,
    Index,
    MetaData,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

ID_LENGTH = 64
KEY_LENGTH = 200


class Moment(TypeDecorator[datetime]):
    """A point in time, in UTC on every database; SQLite would forget the zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class RunStatus(StrEnum):
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"


class Run(Base):
    """One agent's work on one message."""

    __tablename__ = "runs"
    __table_args__ = (
        UniqueConstraint("user_id", "idempotency_key"),
        Index(None, "user_id", "created_at"),
        Index(None, "status", "lease_until"),
    )

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    user_id: Mapped[str] = mapped_column(String(ID_LENGTH))
    message: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(String(16), default=RunStatus.RUNNING)
    idempotency_key: Mapped[str | None] = mapped_column(String(KEY_LENGTH))
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    owner: Mapped[str] = mapped_column(String(ID_LENGTH))
    lease_until: Mapped[datetime] = mapped_column(Moment)
    created_at: Mapped[datetime] = mapped_column(Moment)
    finished_at: Mapped[datetime | None] = mapped_column(Moment)


class Stream(Base):
    """The number of a user's last event; on Postgres its row lock makes commit order and sequence order one."""

    __tablename__ = "streams"

    user_id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    last_seq: Mapped[int] = mapped_column(BigInteger)


class JournalEntry(Base):
    """One event as everybody is shown it: the body is the very text that goes to the sockets."""

    __tablename__ = "events"
    __table_args__ = (
        CheckConstraint(
            "kind IN ('agent_started', 'agent_thinking', 'tool_executing', 'tool_completed', 'agent_completed')",
            name="kind",
        ),
        Index(None, "run_id", "seq"),
    )

    user_id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    run_id: Mapped[str] = mapped_column(String(ID_LENGTH))
    kind: Mapped[str] = mapped_column(String(16))
    body: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(Moment)


class ModelCallEntry(Base):
    """One request to a model, beside the events: what it was given, what it said, what that cost."""

    __tablename__ = "model_calls"
    __table_args__ = (Index(None, "run_id", "at"), Index(None, "user_id", "at"))

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    run_id: Mapped[str] = mapped_column(String(ID_LENGTH))
    user_id: Mapped[str] = mapped_column(String(ID_LENGTH))
    model: Mapped[str] = mapped_column(Text)
    prompt: Mapped[str] = mapped_column(Text)
    answer: Mapped[str | None] = mapped_column(Text)
    input_tokens: Mapped[int]
    output_tokens: Mapped[int]
    milliseconds: Mapped[float]
    at: Mapped[datetime] = mapped_column(Moment)
    error: Mapped[str | None] = mapped_column(Text)


class ConsumerPosition(Base):
    """How far a consumer is in a user's stream, and who may go on from there: its owner, until `free_at`."""

    __tablename__ = "consumer_positions"

    consumer: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    user_id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger)
    attempts: Mapped[int]
    owner: Mapped[str] = mapped_column(String(ID_LENGTH))
    free_at: Mapped[datetime] = mapped_column(Moment)


class DeadLetter(Base):
    """An event that a consumer could not handle, and why."""

    __tablename__ = "dead_letters"

    consumer: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    user_id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    event: Mapped[str] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(Text)
    attempts: Mapped[int]
    at: Mapped[datetime] = mapped_column(Moment)
