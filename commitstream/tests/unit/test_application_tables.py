"""An application may have tables of any name that doesn't begin with `commitstream_`."""

from __future__ import annotations

import pytest
from fastapi import FastAPI
from sqlalchemy import Column, MetaData, String, Table, select

from commitstream import Engine, EngineSettings, Event, Topic, install
from commitstream.db.base import Base

START_SECONDS = 10.0
OWN_NAMES = ["streams", "events", "consumer_positions", "dead_letters"]


class Opened(Event):
    name: str


TICKETS = Topic("ticket", events=[Opened], may_watch=lambda user, key: True)


@pytest.fixture
def settings(tmp_path_factory: pytest.TempPathFactory) -> EngineSettings:
    file = tmp_path_factory.mktemp("tables") / "own.db"
    return EngineSettings(database_url=f"sqlite+aiosqlite:///{file}", redis_url="")


async def test_tables_with_common_names_stand_beside_the_engines(settings: EngineSettings) -> None:
    own = MetaData()
    tables = [Table(name, own, Column("title", String, primary_key=True)) for name in OWN_NAMES]
    engine = Engine(settings, topics=[TICKETS], metadata=own)
    app = FastAPI()
    install(app, engine)

    async with app.router.lifespan_context(app):
        await app.state.startup.wait_ready(START_SECONDS)
        async with engine.transaction() as session:
            for table in tables:
                await session.execute(table.insert().values(title="ours"))
            await engine.append(session, TICKETS.stream("7"), Opened(name="a ticket"))
        async with engine.database.reading() as session:
            found = [(await session.scalars(select(table.c.title))).all() for table in tables]
        assert found == [["ours"]] * len(tables)
        assert await engine.journal.head("ticket:7") == 1


def test_the_engines_tables_have_its_prefix() -> None:
    assert {name.partition("_")[0] for name in Base.metadata.tables} == {"commitstream"}
