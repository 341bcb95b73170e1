"""Tests that are wrong themselves, leave something behind, or find what others left; and what nobody can know."""

from __future__ import annotations

from test_framework.errors.categories import Category, Responsibility
from test_framework.tests.corpus.scenario import Scenario

INFRASTRUCTURE, TEST, CODE = Responsibility.INFRASTRUCTURE, Responsibility.TEST, Responsibility.CODE
B, I, L, U = Category.TEST_BUG, Category.ISOLATION, Category.LEAK, Category.UNKNOWN  # noqa: E741

SCENARIOS = (
    Scenario("wrong-arithmetic-of-the-test", B, TEST, """
        def total(prices):
            return sum(prices)

        def test_sum():
            assert 2 + 2 == 5

        def test_total():
            prices = [1, 2, 3]
            assert total(prices) == 7

        def test_words():
            text = "a b c"
            expected = text.count(" ")
            assert len(text.split()) == expected
        """),
    Scenario("wrong-comparison-of-the-test", B, TEST, """
        import math, pytest

        def test_float():
            assert 0.1 + 0.2 == 0.3

        def test_dates():
            from datetime import date
            assert (date(2026, 3, 1) - date(2026, 2, 1)).days == 31

        @pytest.mark.parametrize("given,expected", [(1, 1), (2, 3)])
        def test_square(given, expected):
            assert given ** 2 == expected
        """),
    Scenario("name-error-in-the-test", B, TEST, """
        def test_name():
            assert resutl == 1

        def test_other():
            value = 1
            assert vaule
        """),
    Scenario("wrong-call-in-the-test", B, TEST, """
        from app.agents.tools import count_words
        from app.agents.events import RUN_ORDER

        async def test_count():
            await count_words("a", "b")

        def test_order():
            RUN_ORDER.chek(None, "x")
        """),
    Scenario("key-error-in-the-test", B, TEST, """
        def test_key():
            assert {"a": 1}["b"] == 1

        def test_index():
            assert [1, 2][5]

        def test_none():
            assert None.strip() == ""
        """),
    Scenario("fixture-raises", B, TEST, """
        import pytest

        @pytest.fixture
        def account():
            return {"name": "ada"}["nmae"]

        def test_one(account):
            pass

        def test_two(account):
            pass
        """),
    Scenario("fixture-raises-at-its-end", B, TEST, """
        import pytest

        @pytest.fixture
        def account():
            yield {}
            raise ValueError("the account can't be closed")

        def test_one(account):
            pass
        """),
    Scenario("wrong-patch", B, TEST, """
        import app.agents.tools

        def test_patch(monkeypatch):
            monkeypatch.setattr(app.agents.tools, "count_wrods", lambda text: 1)

        def test_mock():
            from unittest.mock import Mock
            mock = Mock()
            mock.save(1)
            mock.save.assert_called_once_with(2)
        """),
    Scenario("nothing-raised-in-the-test", B, TEST, """
        import pytest

        def test_raises():
            with pytest.raises(ValueError):
                int("3")

        def test_matches():
            with pytest.raises(ValueError, match="nosuch"):
                int("x")
        """),
    Scenario("raised-at-import-of-the-test", B, TEST, """
        PRICES = {"a": 1}
        PRICE = PRICES["b"]

        def test_price():
            assert PRICE
        """),
    Scenario("wrong-file-in-the-test", B, TEST, """
        from pathlib import Path

        def test_read():
            assert Path(__file__).with_name("nosuch.json").read_text()
        """),
    Scenario("thread-of-the-test-raises", B, TEST, """
        import threading

        def work():
            raise ValueError("in a thread")

        def test_thread():
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
        """),
    Scenario("warning-of-the-test", B, TEST, """
        import warnings

        def test_warn():
            warnings.warn("old", DeprecationWarning, stacklevel=1)

        def test_escape():
            from datetime import datetime
            import re
            assert re.split("x", "axb", 1, 2) and warnings.warn("odd")
        """),
    Scenario("list-of-the-module-grows", I, TEST, """
        SEEN = []

        def test_first():
            SEEN.append("ada")
            assert SEEN == ["ada"]

        def test_second():
            SEEN.append("bob")
            assert SEEN == ["bob"]
        """),
    Scenario("dict-of-the-module-changed", I, TEST, """
        CONFIG = {"limit": 3}

        def test_raise_limit():
            CONFIG["limit"] = 10
            assert CONFIG["limit"] == 10

        def test_default_limit():
            limit = CONFIG["limit"]
            assert limit == 3
        """),
    Scenario("needs-another-test", I, TEST, """
        STATE = {}

        def test_reads_first():
            assert STATE["user"] == "ada"

        def test_writes():
            STATE["user"] = "ada"
        """),
    Scenario("variable-left-behind", I, TEST, """
        import os

        def test_sets():
            os.environ["SHOP_REGION"] = "north"

        def test_none_is_set():
            assert "SHOP_REGION" not in os.environ
        """),
    Scenario("attribute-of-the-app-left-changed", I, TEST, """
        import app.agents.tools

        async def test_replaces():
            async def three(text):
                return 3
            app.agents.tools.count_words = three
            assert await app.agents.tools.count_words("") == 3

        async def test_counts():
            assert await app.agents.tools.count_words("a") == 1
        """),
    Scenario("rows-left-behind", I, TEST, """
        import pytest_asyncio
        from sqlalchemy import func, select
        from commitstream.db.database import Database
        from commitstream.db.tables import StreamHead

        @pytest_asyncio.fixture(scope="module", loop_scope="session")
        async def shared(pool):
            database = Database(pool.get("postgres").url)
            async with database.engine.begin() as connection:
                await connection.run_sync(StreamHead.metadata.create_all)
            yield database
            await database.close()

        async def test_writes(shared):
            async with shared.transaction() as session:
                session.add(StreamHead(stream="user:ada", last_seq=1))

        async def test_is_empty(shared):
            async with shared.reading() as session:
                assert await session.scalar(select(func.count()).select_from(StreamHead)) == 0

        async def test_writes_too(shared):
            async with shared.transaction() as session:
                session.add(StreamHead(stream="user:ada", last_seq=1))
        """, mode="integration"),
    Scenario("rows-left-behind-sqlite", I, TEST, """
        import sqlite3, pytest

        @pytest.fixture(scope="module")
        def shop(tmp_path_factory):
            connection = sqlite3.connect(tmp_path_factory.mktemp("x") / "a.db", isolation_level=None)
            connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
            yield connection
            connection.close()

        def test_order(shop):
            shop.execute("INSERT INTO orders VALUES (1)")

        def test_no_orders(shop):
            assert shop.execute("SELECT * FROM orders").fetchall() == []

        def test_first_order(shop):
            shop.execute("INSERT INTO orders VALUES (1)")
        """),
    Scenario("keys-left-behind", I, TEST, """
        import redis

        def test_sets(redis_url):
            with redis.Redis.from_url(redis_url) as client:
                client.set("cart", "full")

        def test_no_cart(redis_url):
            with redis.Redis.from_url(redis_url) as client:
                assert client.get("cart") is None

        def test_no_keys(redis_url):
            with redis.Redis.from_url(redis_url) as client:
                assert client.keys("*") == []
        """, mode="integration"),
    Scenario("file-left-behind", I, TEST, """
        import pathlib, pytest

        @pytest.fixture(scope="module")
        def folder(tmp_path_factory):
            return tmp_path_factory.mktemp("shared")

        def test_writes(folder):
            (folder / "report.txt").write_text("x")

        def test_is_empty(folder):
            assert list(folder.iterdir()) == []
        """),
    Scenario("template-in-use", I, TEST, """
        import asyncpg, pytest

        async def test_clone(pool):
            url = pool.get("postgres").url.replace("+asyncpg", "")
            one = await asyncpg.connect(url)
            await one.execute("CREATE DATABASE mould")
            other = await asyncpg.connect(url, database="mould")
            try:
                await one.execute("CREATE DATABASE copy TEMPLATE mould")
            finally:
                await other.close()
                await one.close()
        """, mode="integration"),
    Scenario("socket-never-closed", L, TEST, """
        import gc, socket

        def test_socket():
            socket.socket().bind(("127.0.0.1", 0))
            gc.collect()
        """),
    Scenario("file-never-closed", L, TEST, """
        import gc

        def test_file(tmp_path):
            open(tmp_path / "x", "w").write("x")
            gc.collect()
        """),
    Scenario("file-never-closed-by-the-app", L, CODE, """
        import gc
        from app.agents.tools import count_words

        async def test_count():
            assert await count_words("a b") == 2
            gc.collect()
        """, patches=(("app/agents/tools.py", "    return len(text.split())", "    open(__file__).read()\n    return len(text.split())"),)),
    Scenario("transport-never-closed", L, TEST, """
        import asyncio, gc

        async def test_client():
            server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
            await asyncio.open_connection(*server.sockets[0].getsockname())
            await asyncio.sleep(0)
            server.close()
            await server.wait_closed()
            gc.collect()
        """),
    Scenario("loop-never-closed", L, TEST, """
        import asyncio, gc

        def test_loop():
            asyncio.new_event_loop()
            gc.collect()
        """),
    Scenario("process-never-waited-for", L, TEST, """
        import gc, subprocess, sys

        def test_process():
            subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3)"])
            gc.collect()
        """),
    Scenario("folder-never-removed", L, TEST, """
        import gc, tempfile

        def test_folder():
            tempfile.TemporaryDirectory()
            gc.collect()
        """),
    Scenario("task-left-running", L, TEST, """
        import asyncio, gc

        async def test_task():
            before = asyncio.all_tasks()
            asyncio.create_task(asyncio.sleep(60), name="reminder")
            await asyncio.sleep(0)
            left = [task.get_name() for task in asyncio.all_tasks() - before]
            assert not left, f"tasks left running: {left}"
        """),
    Scenario("worker-ends", U, Responsibility.UNKNOWN, """
        import os

        def test_exit():
            os._exit(7)
        """, arguments=("-n", "1")),
    Scenario("said-to-fail", U, Responsibility.UNKNOWN, """
        import pytest

        @pytest.fixture
        def gate():
            pytest.fail("closed today", pytrace=False)

        def test_one(gate):
            pass
        """),
    Scenario("hook-of-the-conftest-raises", B, TEST, """
        def test_one():
            pass
        """, files={"tests/conftest.py": '''
            import pytest
            @pytest.hookimpl
            def pytest_runtest_setup(item):
                raise RuntimeError()
            '''}),
)  # fmt: skip
