"""The declarative base of this service's tables."""

from __future__ import annotations

from sqlalchemy import MetaData
from sqlalchemy.orm import DeclarativeBase

from commitstream.db.base import NAMING


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING)
