"""The engine's tables: streams and their events, the positions of consumers, dead letters."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from commitstream.db.base import ID_LENGTH, Base, Moment


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
