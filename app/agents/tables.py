"""The tables of the agents: runs, and the requests that they made to a model."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base
from commitstream.db.base import ID_LENGTH, Moment

KEY_LENGTH = 200


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


class ModelCallEntry(Base):
    """One request to a model: its prompt, its answer, its cost."""

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
