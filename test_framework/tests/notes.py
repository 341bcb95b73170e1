"""A project that has the kit as a package: FastAPI, SQLAlchemy and Redis, and neither the engine nor a file of this template."""

from __future__ import annotations

from pathlib import Path

from test_framework.running.planted import Planted

ADAPTER = """
    import notes
    from test_framework.project import ProjectAdapter


    class Notes(ProjectAdapter):
        def settings_type(self):
            return notes.Settings

        def create_app(self, settings):
            return notes.create_app(settings)

        def metadata(self):
            return notes.Base.metadata

        def settings_of_each_test(self, database_url, redis_url, namespace, secret):
            return {"database_url": database_url, "redis_url": redis_url, "prefix": namespace}
"""
NOTES = """
    from contextlib import asynccontextmanager

    from fastapi import FastAPI
    from pydantic_settings import BaseSettings
    from redis.asyncio import Redis
    from sqlalchemy import func, select
    from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
    from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


    class Settings(BaseSettings):
        database_url: str
        redis_url: str = ""
        prefix: str = "notes"


    class Base(DeclarativeBase): ...


    class Note(Base):
        __tablename__ = "notes"
        id: Mapped[int] = mapped_column(primary_key=True)


    def create_app(settings):
        engine = create_async_engine(settings.database_url)
        redis = Redis.from_url(settings.redis_url) if settings.redis_url else None

        @asynccontextmanager
        async def lifespan(app):
            yield
            await engine.dispose()
            if redis:
                await redis.aclose()

        app = FastAPI(lifespan=lifespan)

        @app.put("/notes/{number}")
        async def write(number: int) -> dict[str, int]:
            async with AsyncSession(engine) as session, session.begin():
                session.add(Note(id=number))
                await session.flush()
                kept = await session.scalar(select(func.count(Note.id)))
            return {"kept": kept, "counted": await redis.incr(f"{settings.prefix}:written") if redis else kept}

        return app
"""
TESTS = """
    import importlib.util

    import httpx
    import pytest


    @pytest.mark.parametrize("turn", [1, 2])
    async def test_the_same_row_is_written(server, turn):
        async with httpx.AsyncClient(base_url=server.url) as client:
            assert (await client.put("/notes/7")).json() == {"kept": 1, "counted": 1}


    def test_nothing_of_the_template_is_there():
        foreign = ("app", "commitstream", "cos_scaffold", "test_framework.tests", "test_framework.proving")
        assert not [name for name in foreign if importlib.util.find_spec(name)]
"""
LEAKY = """
    import threading


    def test_a_thread_is_left():
        threading.Thread(target=threading.Event().wait, daemon=True, name="planted thread").start()
"""
LEAKY_WITH_REDIS = """
    from redis.asyncio import Redis


    async def test_a_key_is_left(redis_url):
        async with Redis.from_url(redis_url) as redis:
            await redis.set("planted-key", 1)
"""
OF_PYTEST = """
    [tool.pytest.ini_options]
    pythonpath = ["."]
    asyncio_mode = "auto"
    asyncio_default_fixture_loop_scope = "session"
    asyncio_default_test_loop_scope = "session"
"""
TABLE = """
    [tool.test_framework]
    project = "adapter:Notes"
    packages = ["notes"]
"""


def plant_notes(root: Path) -> Planted:
    """Write the application, its adapter, and tests of which two leave something behind."""
    project = Planted(root)
    project.file("pyproject.toml", OF_PYTEST + TABLE)
    project.file("adapter.py", ADAPTER)
    project.file("notes.py", NOTES)
    project.file("tests/mission_critical/test_notes.py", TESTS)
    project.file("tests/unit/test_leaky.py", LEAKY)
    project.file("tests/integration/test_leaky.py", LEAKY_WITH_REDIS)
    return project
