"""What models were asked, as it stands in the database."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from app.db.database import Database
from app.db.models import ModelCallEntry


async def recorded(database_url: str) -> Sequence[ModelCallEntry]:
    database = Database(database_url)
    async with database.reading() as session:
        calls = (await session.scalars(select(ModelCallEntry).order_by(ModelCallEntry.at))).all()
    await database.close()
    return calls
