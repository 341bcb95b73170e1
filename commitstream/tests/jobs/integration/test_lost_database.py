"""What a database raises that is lost is known as that, however it was lost."""

from __future__ import annotations

import secrets

import pytest
from sqlalchemy import make_url, text

from commitstream.db.database import CONNECTION_LOST, Database
from test_framework.faults.lost_connections import allow_connections, end_connections, maintenance

# server and database are both ours to break
pytestmark = [pytest.mark.usefixtures("postgres"), pytest.mark.isolation("clone")]


async def test_a_login_that_is_refused_for_a_while_is_a_lost_database(database_url: str) -> None:
    name = f"service_{secrets.token_hex(4)}"
    role = make_url(database_url).set(username=name, password=name)
    async with maintenance(database_url) as (connection, _):
        await connection.execute(text(f"CREATE ROLE {name} SUPERUSER LOGIN PASSWORD '{name}'"))
        database = Database(role.render_as_string(hide_password=False))
        try:
            await database.ping()
            await connection.execute(text(f"ALTER ROLE {name} NOLOGIN"))
            await end_connections(database_url)
            for _ in range(2):
                with pytest.raises(CONNECTION_LOST):
                    await database.ping()
            await connection.execute(text(f"ALTER ROLE {name} LOGIN"))
            await database.ping()
        finally:
            await database.close()
            await connection.execute(text(f"DROP ROLE {name}"))


@pytest.mark.parametrize("fault", ["broken connections", "a shut door"])
async def test_what_a_lost_database_raises_is_known_as_that(database_url: str, fault: str) -> None:
    database = Database(database_url)
    try:
        await database.ping()
        if fault == "a shut door":
            await allow_connections(database_url, allowed=False)
        await end_connections(database_url)

        with pytest.raises(CONNECTION_LOST):
            await database.ping()
        await allow_connections(database_url, allowed=True)
        await database.ping()
    finally:
        await database.close()
