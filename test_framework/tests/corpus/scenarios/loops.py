"""Event loops and fixtures, used otherwise than they can be."""

from __future__ import annotations

from test_framework.errors.categories import Category, Responsibility
from test_framework.tests.corpus.scenario import Scenario

INFRASTRUCTURE, TEST, CODE = Responsibility.INFRASTRUCTURE, Responsibility.TEST, Responsibility.CODE
L, X = Category.EVENT_LOOP, Category.FIXTURE

SCENARIOS = (
    Scenario("run-inside-a-loop", L, TEST, """
        import asyncio

        async def wait():
            return 1

        async def test_run():
            coroutine = wait()
            try:
                asyncio.run(coroutine)
            finally:
                coroutine.close()

        async def test_run_until_complete():
            asyncio.get_running_loop().run_until_complete(asyncio.sleep(0))
        """, arguments=("-W", "ignore::RuntimeWarning")),
    Scenario("run-inside-a-loop-in-the-app", L, CODE, """
        from app.agents.tools import count_words

        async def test_count():
            assert await count_words("a b") == 2
        """, patches=(("app/agents/tools.py", "    return len(text.split())", "    import asyncio\n    return asyncio.run(current_time())"),),
        arguments=("-W", "ignore::RuntimeWarning")),
    Scenario("queue-of-another-loop", L, TEST, """
        import asyncio, threading

        QUEUE = asyncio.Queue(1)
        LOCK = asyncio.Lock()

        async def use():
            try:
                await asyncio.wait_for(QUEUE.get(), 0.05)
            except TimeoutError:
                pass

        def elsewhere(coroutine):
            thread = threading.Thread(target=lambda: asyncio.run(coroutine()))
            thread.start()
            thread.join()

        async def test_queue():
            elsewhere(use)
            await asyncio.wait_for(QUEUE.get(), 0.2)

        async def test_lock():
            async def hold():
                async with LOCK:
                    try:
                        await asyncio.wait_for(LOCK.acquire(), 0.05)
                    except TimeoutError:
                        pass
            elsewhere(hold)
            async with LOCK:
                await asyncio.wait_for(LOCK.acquire(), 0.2)
        """),
    Scenario("future-of-another-loop", L, TEST, """
        import asyncio

        async def test_future():
            other = asyncio.new_event_loop()
            try:
                await other.create_future()
            finally:
                other.close()
        """),
    Scenario("client-of-a-closed-loop", L, TEST, """
        import asyncio, threading
        import redis.asyncio

        async def test_redis(redis_url):
            client = redis.asyncio.Redis.from_url(redis_url)
            thread = threading.Thread(target=lambda: asyncio.run(client.ping()))
            thread.start()
            thread.join()
            await client.ping()
        """, mode="integration", arguments=("-W", "ignore")),
    Scenario("pool-of-another-loop", L, TEST, """
        import asyncio, threading, asyncpg

        async def test_asyncpg(database_url):
            held = []
            loop = asyncio.new_event_loop()
            thread = threading.Thread(target=lambda: held.append(loop.run_until_complete(asyncpg.connect(database_url.replace("+asyncpg", "")))))
            thread.start()
            while thread.is_alive():
                await asyncio.sleep(0.01)
            await held[0].fetchval("SELECT 1")
        """, mode="integration", arguments=("-W", "ignore")),
    Scenario("no-loop-runs", L, TEST, """
        import asyncio

        def test_running():
            asyncio.get_running_loop()

        def test_task():
            async def work(): pass
            coroutine = work()
            try:
                asyncio.create_task(coroutine)
            finally:
                coroutine.close()
        """),
    Scenario("no-loop-in-a-thread", L, TEST, """
        import asyncio
        from concurrent.futures import ThreadPoolExecutor

        def test_thread():
            with ThreadPoolExecutor(1) as threads:
                threads.submit(asyncio.get_event_loop).result()
        """),
    Scenario("loop-closed-too-early", L, TEST, """
        import asyncio

        def test_closed():
            loop = asyncio.new_event_loop()
            loop.close()
            coroutine = asyncio.sleep(0)
            try:
                loop.run_until_complete(coroutine)
            finally:
                coroutine.close()
        """),
    Scenario("nobody-awaited", L, TEST, """
        import gc

        async def save():
            return 1

        async def test_save():
            save()
            gc.collect()
        """),
    Scenario("nobody-awaited-in-the-app", L, CODE, """
        import gc
        from app.agents.tools import count_words

        async def test_count():
            assert await count_words("a b") == 2
            gc.collect()
        """, patches=(("app/agents/tools.py", "    return len(text.split())", "    current_time()\n    return len(text.split())"),)),
    Scenario("loop-blocked-by-the-test", L, TEST, """
        import time
        from blockbuster import blockbuster_ctx

        async def test_sleep():
            with blockbuster_ctx():
                time.sleep(0.01)
        """),
    Scenario("loop-blocked-by-the-app", L, CODE, """
        from blockbuster import blockbuster_ctx
        from app.agents.tools import count_words

        async def test_count():
            with blockbuster_ctx():
                assert await count_words("a b") == 2
        """, patches=(("app/agents/tools.py", "    return len(text.split())", "    import time\n    time.sleep(0.01)\n    return len(text.split())"),)),
    Scenario("fixture-not-found", X, TEST, """
        def test_one(databse_url):
            pass

        async def test_two(server, nosuch):
            pass
        """),
    Scenario("fixture-needs-a-missing-one", X, TEST, """
        import pytest

        @pytest.fixture
        def shop(warehouse):
            return warehouse

        def test_shop(shop):
            pass
        """),
    Scenario("scope-mismatch", X, TEST, """
        import pytest

        @pytest.fixture(scope="session")
        def shop(tmp_path):
            return tmp_path

        def test_shop(shop):
            pass

        @pytest.fixture(scope="module")
        def counter(database_url):
            return database_url

        async def test_counter(counter):
            pass
        """),
    Scenario("scope-mismatch-of-loops", X, TEST, """
        import pytest_asyncio

        @pytest_asyncio.fixture(scope="session", loop_scope="function")
        async def shop():
            return 1

        async def test_shop(shop):
            pass
        """),
    Scenario("fixture-called-directly", X, TEST, """
        import pytest

        @pytest.fixture
        def price():
            return 3

        def test_price():
            assert price() == 3
        """),
    Scenario("fixtures-need-each-other", X, TEST, """
        import pytest

        @pytest.fixture
        def hen(egg): ...

        @pytest.fixture
        def egg(hen): ...

        def test_first(hen):
            pass
        """),
    Scenario("fixture-yields-wrongly", X, TEST, """
        import pytest

        @pytest.fixture
        def twice():
            yield 1
            yield 2

        @pytest.fixture
        def never():
            if False:
                yield

        def test_twice(twice):
            pass

        def test_never(never):
            pass
        """),
    Scenario("parameter-of-no-fixture", X, TEST, """
        import pytest

        @pytest.mark.parametrize("amount", [1, 2])
        def test_pay(price):
            pass
        """),
    Scenario("fixture-left-to-nobody", X, TEST, """
        import pytest

        @pytest.fixture
        async def price():
            return 3

        def test_price(price):
            assert price == 3
        """, arguments=("-o", "asyncio_mode=strict")),
    Scenario("fixture-asked-too-late", X, TEST, """
        def test_dynamic(request):
            request.getfixturevalue("nosuch")
        """),
)  # fmt: skip
