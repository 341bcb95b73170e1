"""The engine's tables: streams and their events, the positions of consumers, dead letters.

Texts have no length here, since SQLite would not enforce one; `Stream` and `Consumer` check theirs.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Index, Text
from sqlalchemy.orm import Mapped, mapped_column

from commitstream.db.base import Base, Moment


class StreamHead(Base):
    """The number of a stream's last event; on Postgres its row lock orders the commits."""

    __tablename__ = "commitstream_streams"

    stream: Mapped[str] = mapped_column(Text, primary_key=True)
    last_seq: Mapped[int] = mapped_column(BigInteger)


class JournalEntry(Base):
    """One event; the body is the text that its watchers get, without the number."""

    __tablename__ = "commitstream_events"
    __table_args__ = (Index(None, "stream", "subject", "seq"),)

    stream: Mapped[str] = mapped_column(Text, primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    type: Mapped[str] = mapped_column(Text)
    subject: Mapped[str | None] = mapped_column(Text)
    body: Mapped[str] = mapped_column(Text)
    metadata_: Mapped[str | None] = mapped_column("metadata", Text)
    at: Mapped[datetime] = mapped_column(Moment)


class ConsumerPosition(Base):
    """A consumer's position in a stream, and the lease on it: the owner's, until `free_at`."""

    __tablename__ = "commitstream_consumer_positions"

    consumer: Mapped[str] = mapped_column(Text, primary_key=True)
    stream: Mapped[str] = mapped_column(Text, primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger)
    attempts: Mapped[int]
    owner: Mapped[str] = mapped_column(Text)
    free_at: Mapped[datetime] = mapped_column(Moment)


class DeadLetter(Base):
    """An event that a consumer could not handle, and why."""

    __tablename__ = "commitstream_dead_letters"

    consumer: Mapped[str] = mapped_column(Text, primary_key=True)
    stream: Mapped[str] = mapped_column(Text, primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    event: Mapped[str] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(Text)
    attempts: Mapped[int]
    at: Mapped[datetime] = mapped_column(Moment)
