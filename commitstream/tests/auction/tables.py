"""The auction's own tables."""

from __future__ import annotations

from sqlalchemy import Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    type_annotation_map = {str: Text}  # noqa: RUF012, SQLAlchemy reads it from the class


class Lot(Base):
    __tablename__ = "lots"

    id: Mapped[str] = mapped_column(primary_key=True)
    title: Mapped[str]
    seller: Mapped[str]
    private: Mapped[bool]
    closed: Mapped[bool]
    price: Mapped[int]
    leader: Mapped[str | None]


class Guest(Base):
    """A user who may watch a private lot, and bid for it."""

    __tablename__ = "guests"

    lot_id: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(primary_key=True)


class Bid(Base):
    __tablename__ = "bids"

    lot_id: Mapped[str] = mapped_column(primary_key=True)
    amount: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    bidder: Mapped[str]
