"""A plain application with its adapter and tests: FastAPI and SQLAlchemy, and nothing of the engine or of this template."""

from __future__ import annotations

from pathlib import Path

from test_framework.running.planted import Planted

ADAPTER = """
    from test_framework.project import ProjectAdapter


    class Shop(ProjectAdapter):
        def settings_type(self):
            from shop import Settings

            return Settings

        def create_app(self, settings):
            from shop import create_app

            return create_app(settings)

        def metadata(self):
            from shop import Base

            return Base.metadata
"""
SHOP = """
    from contextlib import asynccontextmanager

    from fastapi import FastAPI
    from pydantic_settings import BaseSettings, SettingsConfigDict
    from sqlalchemy import func, select
    from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
    from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


    class Settings(BaseSettings):
        model_config = SettingsConfigDict(env_prefix="shop_")
        database_url: str
        sizes: list[str] = ["small", "tall"]


    class Base(DeclarativeBase): ...


    class Article(Base):
        __tablename__ = "articles"
        id: Mapped[int] = mapped_column(primary_key=True)


    def create_app(settings):
        engine = create_async_engine(settings.database_url)

        @asynccontextmanager
        async def lifespan(app):
            yield
            await engine.dispose()

        app = FastAPI(lifespan=lifespan)

        @app.post("/articles")
        async def add() -> list[str]:
            async with AsyncSession(engine) as session, session.begin():
                session.add(Article())
            return settings.sizes

        @app.get("/articles")
        async def number() -> int:
            async with AsyncSession(engine) as session:
                return await session.scalar(select(func.count(Article.id)))

        return app
"""
TESTS = """
    import httpx
    import pytest

    from test_framework.routes import routes_of_dev
    from test_framework.servers import in_process


    @pytest.mark.parametrize("turn", [1, 2])
    async def test_each_test_finds_the_tables_empty(server, turn) -> None:
        async with httpx.AsyncClient(base_url=server.url) as client:
            assert (await client.get("/articles")).json() == 0
            assert (await client.post("/articles")).json() == ["small", "tall"]
            assert (await client.get("/articles")).json() == 1


    async def test_a_process_serves_the_same_settings(make_settings) -> None:
        async with in_process(make_settings(sizes=["wide"])) as shop, httpx.AsyncClient(base_url=shop.url) as client:
            assert (await client.post("/articles")).json() == ["wide"]


    def test_the_routes_are_the_applications(monkeypatch) -> None:
        monkeypatch.setenv("SHOP_DATABASE_URL", "sqlite+aiosqlite://")
        assert [str(route) for route in routes_of_dev() if route.name in {"add", "number"}] == ["GET /articles", "POST /articles"]


    def test_tokens_are_not_guessed(settings) -> None:
        from test_framework.users import TestUserContext

        TestUserContext.of(settings).token


    async def test_a_blocking_call_of_the_application_fails() -> None:
        from shop.prices import look_up

        await look_up()


    def test_the_engine_is_not_imported() -> None:
        import sys

        assert not [name for name in sys.modules if name.partition(".")[0] in {"app", "commitstream"}]
"""


PYPROJECT = """
[tool.test_framework]
project = "adapter:Shop"
packages = ["shop"]

[tool.pytest.ini_options]
pythonpath = ["."]
asyncio_mode = "auto"
asyncio_default_fixture_loop_scope = "session"
asyncio_default_test_loop_scope = "session"
"""
RESULTS = {
    "test_each_test_finds_the_tables_empty[1]": ["passed"],
    "test_each_test_finds_the_tables_empty[2]": ["passed"],
    "test_a_process_serves_the_same_settings": ["passed"],
    "test_the_routes_are_the_applications": ["passed"],
    "test_tokens_are_not_guessed": ["failed"],
    "test_a_blocking_call_of_the_application_fails": ["failed"],
    "test_the_engine_is_not_imported": ["passed"],
}
"""What becomes of each test, whatever is real."""


def plant_shop(root: Path, folder: str) -> Planted:
    """Write the application to a folder, and its tests to a folder of its tests."""
    shop = Planted(root, deadline=100.0)
    for name, text in {"pyproject.toml": PYPROJECT, "adapter.py": ADAPTER, "shop/__init__.py": SHOP}.items():
        shop.file(name, text)
    shop.file("shop/prices.py", "from pathlib import Path\n\nasync def look_up(): Path(__file__).read_text()\n")
    shop.file(f"tests/{folder}/test_shop.py", TESTS)
    return shop
