"""Postgres and SQLite away, locked, behind, misused; migrations missing and wrong."""

from __future__ import annotations

from test_framework.errors.categories import Category, Responsibility
from test_framework.tests.corpus.scenario import Scenario

INFRASTRUCTURE, TEST, CODE = Responsibility.INFRASTRUCTURE, Responsibility.TEST, Responsibility.CODE
D, M = Category.DATABASE, Category.MIGRATION
FIRST = "app/agents/migrations/0001_runs.py"
PLAIN = """
        import asyncio, asyncpg, pytest
        from sqlalchemy import text
        from sqlalchemy.ext.asyncio import create_async_engine

        def plain(url):
            return url.replace("+asyncpg", "")
"""

SCENARIOS = (
    Scenario("postgres-killed", D, INFRASTRUCTURE, PLAIN + """
        @pytest.fixture(scope="module")
        def dead(pool):
            url = pool.get("postgres").url
            pool.get("postgres").kill()
            return url

        async def test_connect(dead):
            await asyncpg.connect(plain(dead), timeout=2)

        async def test_engine(dead):
            engine = create_async_engine(dead)
            async with engine.connect() as connection:
                await connection.execute(text("SELECT 1"))

        async def test_the_service_reads(dead):
            from commitstream.db.database import Database
            await Database(dead).ping()
        """, mode="integration"),
    Scenario("postgres-killed-before-the-fixtures", D, INFRASTRUCTURE, PLAIN + """
        @pytest.fixture(scope="module", autouse=True)
        def dead(pool):
            pool.get("postgres").kill()

        def test_one(dead, database_url):
            pass

        def test_two(dead, database_url):
            pass
        """, mode="integration"),
    Scenario("postgres-paused", D, INFRASTRUCTURE, PLAIN + """
        @pytest.fixture(scope="module")
        def frozen(pool):
            pool.get("postgres").pause()
            yield pool.get("postgres").url
            pool.get("postgres").unpause()

        async def test_connect(frozen):
            await asyncpg.connect(plain(frozen), timeout=0.5)

        @pytest.mark.timeout(2)
        async def test_connect_patiently(frozen):
            await asyncpg.connect(plain(frozen))
        """, mode="integration"),
    Scenario("postgres-refuses-the-password", D, INFRASTRUCTURE, PLAIN + """
        @pytest.fixture(scope="module")
        def locked(pool):
            service = pool.get("postgres")
            data = service.lifecycle.provider.data("postgres")
            (data / "pg_hba.conf").write_text("local all all scram-sha-256\\n")
            import os, signal
            os.kill(int((data / "postmaster.pid").read_text().split()[0]), signal.SIGHUP)
            import time
            time.sleep(0.3)
            return service.url

        async def test_wrong_password(locked):
            await asyncpg.connect(plain(locked), user="postgres", password="wrong", timeout=2)

        async def test_engine(locked):
            engine = create_async_engine(locked, connect_args={"password": "wrong"})
            async with engine.connect() as connection:
                await connection.execute(text("SELECT 1"))
        """, mode="integration"),
    Scenario("postgres-has-no-such-database", D, INFRASTRUCTURE, PLAIN + """
        async def test_connect(pool):
            await asyncpg.connect(plain(pool.get("postgres").url), database="nosuch", timeout=2)

        async def test_the_service_reads(pool):
            from sqlalchemy import make_url
            from commitstream.db.database import Database
            url = make_url(pool.get("postgres").url).set(database="gone").render_as_string(hide_password=False)
            await Database(url).ping()
        """, mode="integration"),
    Scenario("postgres-restarted-under-a-query", D, INFRASTRUCTURE, PLAIN + """
        async def test_it_goes_on(pool):
            url = pool.get("postgres").url
            one, other = await asyncpg.connect(plain(url)), await asyncpg.connect(plain(url))
            pid = await one.fetchval("SELECT pg_backend_pid()")
            await other.execute("SELECT pg_terminate_backend($1)", pid)
            await other.close()
            await one.fetchval("SELECT 1")

        async def test_killed_in_the_midst(pool):
            url = pool.get("postgres").url
            engine = create_async_engine(url)
            async with engine.connect() as connection:
                await connection.execute(text("SELECT 1"))
                pool.get("postgres").kill()
                await connection.execute(text("SELECT 1"))
        """, mode="integration"),
    Scenario("postgres-connections-used-up", D, TEST, PLAIN + """
        async def test_many(pool):
            url, held = plain(pool.get("postgres").url), []
            try:
                for _ in range(900):
                    held.append(await asyncpg.connect(url))
            finally:
                for connection in held:
                    connection.terminate()
        """, mode="integration"),
    Scenario("pool-exhausted-by-the-test", D, TEST, """
        from sqlalchemy.ext.asyncio import create_async_engine

        async def test_two_at_once(database_url):
            engine = create_async_engine(database_url, pool_size=1, max_overflow=0, pool_timeout=0.3)
            async with engine.connect(), engine.connect():
                pass
        """, mode="integration"),
    Scenario("pool-exhausted-by-the-app", D, CODE, """
        from commitstream.db.database import Database

        async def test_many_reads(database_url):
            database = Database(database_url)
            for _ in range(40):
                await database.ping()
        """, mode="integration", patches=(
            ("commitstream/db/database.py", '        async with self.reading() as session:\n            await session.execute(text("SELECT 1"))',
             '        self._held = [*getattr(self, "_held", []), await self.engine.connect()]'),
            ("commitstream/db/database.py", "CONNECT_SECONDS = 5", "CONNECT_SECONDS = 1"))),
    Scenario("tables-never-migrated", M, INFRASTRUCTURE, """
        from sqlalchemy import select, text
        from commitstream.db.database import Database
        from app.agents.tables import Run

        async def test_runs_are_read(tmp_path):
            database = Database(f"sqlite+aiosqlite:///{tmp_path}/new.db")
            try:
                async with database.reading() as session:
                    await session.execute(select(Run))
            finally:
                await database.close()

        async def test_the_service_demands_the_newest(tmp_path):
            from app.db.schema import migrations
            database = Database(f"sqlite+aiosqlite:///{tmp_path}/new.db")
            try:
                await migrations.require_newest(database.engine)
            finally:
                await database.close()
        """),
    Scenario("tables-never-migrated-postgres", M, INFRASTRUCTURE, """
        from sqlalchemy import select
        from commitstream.db.database import Database
        from commitstream.db.tables import JournalEntry

        async def test_events_are_read(pool):
            database = Database(pool.get("postgres").url)
            async with database.reading() as session:
                await session.execute(select(JournalEntry))

        async def test_server(make_settings, pool):
            from test_framework.servers import in_loop
            async with in_loop(make_settings(database_url=pool.get("postgres").url)):
                pass
        """, mode="integration"),
    Scenario("column-without-a-migration", M, CODE, """
        from sqlalchemy import select
        from commitstream.db.database import Database
        from app.agents.tables import Run

        async def test_runs_are_read(database_url):
            async with Database(database_url).reading() as session:
                await session.execute(select(Run))

        async def test_a_run_shows_its_events(path):
            async with path.database.reading() as session:
                assert (await session.scalars(select(Run))).all() == []
        """, patches=(("app/agents/tables.py", "    message: Mapped[str] = mapped_column(Text)\n",
                       "    message: Mapped[str] = mapped_column(Text)\n    priority: Mapped[int] = mapped_column(default=0)\n"),)),
    Scenario("column-without-a-migration-postgres", M, CODE, """
        from sqlalchemy import select
        from commitstream.db.database import Database
        from app.agents.tables import Run

        async def test_runs_are_read(database_url):
            async with Database(database_url).reading() as session:
                await session.execute(select(Run))
        """, mode="integration",
        patches=(("app/agents/tables.py", "    message: Mapped[str] = mapped_column(Text)\n",
                  "    message: Mapped[str] = mapped_column(Text)\n    priority: Mapped[int] = mapped_column(default=0)\n"),)),
    Scenario("table-without-a-migration", M, CODE, """
        from sqlalchemy import select
        from commitstream.db.database import Database
        from app.agents.tables import Note

        async def test_notes_are_read(database_url):
            async with Database(database_url).reading() as session:
                await session.execute(select(Note))
        """, patches=(("app/agents/tables.py", "class ModelCallEntry(Base):", '''class Note(Base):
    __tablename__ = "notes"
    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)


class ModelCallEntry(Base):'''),)),
    Scenario("migration-with-wrong-sql", M, CODE, """
        def test_one(database_url):
            pass

        def test_two(server):
            pass
        """, patches=((FIRST, "def upgrade() -> None:\n", 'def upgrade() -> None:\n    op.execute("ALTER TABEL runs ADD x int")\n'),)),
    Scenario("migration-with-wrong-sql-postgres", M, CODE, """
        def test_one(database_url):
            pass
        """, mode="integration",
        patches=((FIRST, "def upgrade() -> None:\n", 'def upgrade() -> None:\n    op.drop_column("runs", "nosuch")\n'),)),
    Scenario("migration-with-an-unknown-parent", M, CODE, """
        def test_one(database_url):
            pass
        """, patches=((FIRST, "down_revision = None", 'down_revision = "0009"'),)),
    Scenario("migration-with-two-heads", M, CODE, """
        def test_one(database_url):
            pass
        """, files={"app/db/migrations/versions/0002_other.py": '''
            revision = "0002"
            down_revision = None
            def upgrade(): pass
            def downgrade(): pass
            '''}),
    Scenario("migration-that-raises", M, CODE, """
        def test_one(database_url):
            pass
        """, patches=((FIRST, "def upgrade() -> None:\n", 'def upgrade() -> None:\n    {}["priority"]\n'),)),
    Scenario("models-and-migrations-differ", M, CODE, """
        from app.db.schema import migrations
        from commitstream.db.database import Database

        async def test_tables_are_as_declared(database_url):
            await migrations.check(Database(database_url).engine)
        """, patches=(("app/agents/tables.py", "    message: Mapped[str] = mapped_column(Text)\n",
                       "    message: Mapped[str] = mapped_column(Text)\n    priority: Mapped[int] = mapped_column(default=0)\n"),)),
    Scenario("wrong-sql-in-the-test", D, TEST, """
        from sqlalchemy import text
        from commitstream.db.database import Database

        async def test_count(database_url):
            async with Database(database_url).reading() as session:
                await session.execute(text("SELECT count(* FROM runs"))

        async def test_wrong_table(database_url):
            async with Database(database_url).reading() as session:
                await session.execute(text("SELECT * FROM runz"))
        """, mode="integration"),
    Scenario("wrong-sql-in-the-app", D, CODE, """
        from commitstream.db.database import Database

        async def test_ping(database_url):
            await Database(database_url).ping()
        """, mode="integration", patches=(("commitstream/db/database.py", 'text("SELECT 1")', 'text("SELEKT 1")'),)),
    Scenario("wrong-sql-in-the-app-sqlite", D, CODE, """
        from commitstream.db.database import Database

        async def test_ping(database_url):
            await Database(database_url).ping()
        """, patches=(("commitstream/db/database.py", 'text("SELECT 1")', 'text("SELECT unknown_function(1)")'),)),
    Scenario("row-twice-in-the-test", D, TEST, """
        from sqlalchemy import text
        from commitstream.db.database import Database

        async def test_insert(database_url):
            async with Database(database_url).transaction() as session:
                for _ in range(2):
                    await session.execute(text("INSERT INTO commitstream_streams (stream, last_seq) VALUES ('user:ada', 1)"))
        """, mode="integration"),
    Scenario("row-twice-in-the-app", D, CODE, """
        from commitstream.db.database import Database

        async def test_open_stream(database_url):
            await Database(database_url).open_stream("ada")
        """, patches=(("commitstream/db/database.py", "    async def ping(self)", '''    async def open_stream(self, user: str) -> None:
        async with self.transaction() as session:
            for _ in range(2):
                await session.execute(text("INSERT INTO commitstream_streams (stream, last_seq) VALUES (:user, 0)"), {"user": user})

    async def ping(self)'''),)),
    Scenario("row-without-what-it-needs", D, TEST, """
        from sqlalchemy import text
        from commitstream.db.database import Database

        async def test_not_null(database_url):
            async with Database(database_url).transaction() as session:
                await session.execute(text("INSERT INTO commitstream_streams (stream) VALUES ('user:ada')"))

        async def test_wrong_value(database_url):
            async with Database(database_url).transaction() as session:
                await session.execute(text("CREATE TEMPORARY TABLE parcels (size TEXT CHECK (size IN ('small', 'large')))"))
                await session.execute(text("INSERT INTO parcels (size) VALUES ('odd')"))
        """),
    Scenario("deadlock", D, TEST, """
        import asyncio
        from sqlalchemy import text
        from commitstream.db.database import Database

        async def test_two_writers(database_url):
            database = Database(database_url)
            async with database.transaction() as session:
                await session.execute(text("INSERT INTO commitstream_streams (stream, last_seq) VALUES ('a', 1), ('b', 1)"))
            async def write(first, second):
                async with database.transaction() as session:
                    for user in (first, second):
                        await session.execute(text("UPDATE commitstream_streams SET last_seq = 2 WHERE stream = :u"), {"u": user})
                        await asyncio.sleep(0.3)
            await asyncio.gather(write("a", "b"), write("b", "a"))
        """, mode="integration"),
    Scenario("lock-never-given", D, TEST, """
        from sqlalchemy import text
        from commitstream.db.database import Database

        async def test_second_lock(database_url):
            database = Database(database_url)
            async with database.transaction() as one, database.transaction() as other:
                await one.execute(text("LOCK TABLE commitstream_streams"))
                await other.execute(text("SET LOCAL lock_timeout = '200ms'"))
                await other.execute(text("SELECT * FROM commitstream_streams"))

        async def test_slow_statement(database_url):
            async with Database(database_url).transaction() as session:
                await session.execute(text("SET LOCAL statement_timeout = '200ms'"))
                await session.execute(text("SELECT pg_sleep(5)"))
        """, mode="integration"),
    Scenario("sqlite-locked", D, TEST, """
        import sqlite3

        def test_two_writers(tmp_path):
            one = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
            other = sqlite3.connect(tmp_path / "a.db", timeout=0.1, isolation_level=None)
            try:
                one.execute("CREATE TABLE t (x)")
                one.execute("BEGIN IMMEDIATE")
                other.execute("INSERT INTO t VALUES (1)")
            finally:
                one.close()
                other.close()
        """),
    Scenario("sqlite-file-damaged", D, INFRASTRUCTURE, """
        from commitstream.db.database import Database

        async def test_read(tmp_path):
            (tmp_path / "a.db").write_bytes(b"not a database at all, but long enough " * 40)
            database = Database(f"sqlite+aiosqlite:///{tmp_path}/a.db")
            try:
                await database.ping()
            finally:
                await database.close()

        async def test_no_folder(tmp_path):
            from sqlalchemy.ext.asyncio import create_async_engine
            engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/no/such/a.db")
            async with engine.connect():
                pass
        """),
    Scenario("connection-used-twice-at-once", D, TEST, """
        import asyncio, asyncpg

        async def test_gather(database_url):
            connection = await asyncpg.connect(database_url.replace("+asyncpg", ""))
            try:
                await asyncio.gather(connection.fetchval("SELECT pg_sleep(0.2)"), connection.fetchval("SELECT 1"))
            finally:
                await connection.close()
        """, mode="integration"),
    Scenario("transaction-after-an-error", D, TEST, """
        from sqlalchemy import text
        from commitstream.db.database import Database

        async def test_goes_on(database_url):
            async with Database(database_url).transaction() as session:
                try:
                    await session.execute(text("SELECT 1/0"))
                except Exception:
                    pass
                await session.execute(text("SELECT 1"))
        """, mode="integration"),
)  # fmt: skip
