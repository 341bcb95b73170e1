"""What models were asked, as it stands in the database."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from app.agents.tables import ModelCallEntry
from commitstream.db.database import Database


async def recorded(database_url: str) -> Sequence[ModelCallEntry]:
    database = Database(database_url)
    async with database.reading() as session:
        calls = (await session.scalars(select(ModelCallEntry).order_by(ModelCallEntry.at))).all()
    await database.close()
    return calls
