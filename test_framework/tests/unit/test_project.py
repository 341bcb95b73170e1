"""The adapter of a project: a plain application needs ten lines, and what is wrong with them is said in one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from sqlalchemy import Column, Enum, Integer, MetaData, Table

from test_framework.project import ProjectAdapter, ProjectError, TablesOf, load
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


@pytest.fixture
def shop(tmp_path: Path) -> Planted:
    """An application that knows neither the engine nor this template, with an adapter and tests."""
    shop = Planted(tmp_path / "shop", deadline=100.0)
    for name, text in {"pyproject.toml": PYPROJECT, "adapter.py": ADAPTER, "shop/__init__.py": SHOP}.items():
        shop.file(name, text)
    shop.file("shop/prices.py", "from pathlib import Path\n\nasync def look_up(): Path(__file__).read_text()\n")
    shop.file("tests/unit/test_shop.py", TESTS)
    return shop


@pytest.mark.timeout(150)  # a separate run, on a machine that may be busy
def test_a_plain_application_is_served_with_its_tables(shop: Planted) -> None:
    ended = shop.run("--mode=lightweight", "-n0")

    assert {name: outcome.results for name, outcome in ended.outcomes.items() if outcome.results} == {
        f"tests/unit/test_shop.py::{name}": [result]
        for name, result in {
            "test_each_test_finds_the_tables_empty[1]": "passed",
            "test_each_test_finds_the_tables_empty[2]": "passed",
            "test_a_process_serves_the_same_settings": "passed",
            "test_the_routes_are_the_applications": "passed",
            "test_tokens_are_not_guessed": "failed",
            "test_a_blocking_call_of_the_application_fails": "failed",
            "test_the_engine_is_not_imported": "passed",
        }.items()
    }, ended.output
    assert "this needs token() of the project's adapter, and adapter:Shop has none" in ended.output
    assert "() in a coroutine stops everything" in ended.of("test_a_blocking_call_of_the_application_fails").words


@pytest.mark.timeout(150)
def test_a_run_with_an_adapter_that_is_missing_ends_at_once(shop: Planted) -> None:
    (shop.root / "adapter.py").unlink()

    ended = shop.run("--mode=lightweight", "-n0")

    assert ended.code == pytest.ExitCode.USAGE_ERROR
    assert "there is no module adapter" in ended.output


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("", "names no adapter. Write a subclass of test_framework.project.ProjectAdapter"),
        ("planted_adapter", 'is not "module:Class"'),
        ("no_such_adapter:Shop", "there is no module no_such_adapter, and no file"),
        ("planted_adapter:Shed", "the module planted_adapter has no Shed"),
        ("planted_adapter:Other", "Other is a class, Other, not a subclass of ProjectAdapter"),
        ("planted_adapter:NUMBER", "NUMBER is of type int, not a subclass of ProjectAdapter"),
        ("planted_broken:Shop", "planted_broken needs no_such_library, which is not installed"),
    ],
)
def test_an_adapter_that_cannot_be_used_is_explained(tmp_path: Path, named: str, said: str) -> None:
    (tmp_path / "planted_adapter.py").write_text("class Other: ...\nNUMBER = 3\n", encoding="utf-8")
    (tmp_path / "planted_broken.py").write_text("import no_such_library\n", encoding="utf-8")
    (tmp_path / "pyproject.toml").write_text(f'[tool.test_framework]\nproject = "{named}"\n', encoding="utf-8")

    with pytest.raises(ProjectError) as refused:
        load(tmp_path)

    assert said in str(refused.value)
    assert str(tmp_path) in str(refused.value)
    assert "next: " in str(refused.value)
    for name in ("planted_adapter", "planted_broken"):
        sys.modules.pop(name, None)


def test_a_project_without_an_adapter_is_told_to_name_one(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match=r'\[tool.test_framework\] project = "tests.support.project:Project"'):
        load(tmp_path)


@pytest.mark.parametrize("method", ["settings_type", "metadata"])
def test_an_adapter_names_the_method_that_it_lacks(method: str) -> None:
    with pytest.raises(ProjectError, match=rf"this needs {method}\(\) of the project's adapter"):
        getattr(ProjectAdapter(), method)()


@pytest.mark.parametrize(
    "changed",
    [
        Table("orders", MetaData(), Column("id", Integer), Column("number", Integer)),
        Table("orders", MetaData(), Column("id", Integer), Column("size", Enum("small", "tall", name="size"))),
    ],
)
def test_declared_tables_are_known_by_all_that_they_declare(changed: Table) -> None:
    first = Table("orders", MetaData(), Column("id", Integer))
    same = Table("orders", MetaData(), Column("id", Integer))

    assert TablesOf(first.metadata).fingerprint() == TablesOf(same.metadata).fingerprint()
    assert TablesOf(first.metadata).fingerprint() != TablesOf(changed.metadata).fingerprint()


def test_values_of_an_enum_count_for_the_tables() -> None:
    small, wide = (
        Table("orders", MetaData(), Column("size", Enum(*values, name="size")))
        for values in (("small", "tall"), ("small", "wide"))
    )

    assert TablesOf(small.metadata).fingerprint() != TablesOf(wide.metadata).fingerprint()
