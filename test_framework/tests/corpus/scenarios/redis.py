"""Redis away, frozen, full, locked up, misunderstood."""

from __future__ import annotations

from test_framework.errors.categories import Category, Responsibility
from test_framework.tests.corpus.scenario import Scenario

INFRASTRUCTURE, TEST, CODE = Responsibility.INFRASTRUCTURE, Responsibility.TEST, Responsibility.CODE
R = Category.REDIS

SCENARIOS = (
    Scenario("redis-killed", R, INFRASTRUCTURE, """
        import asyncio, pytest, redis, redis.asyncio

        @pytest.fixture(scope="module", autouse=True)
        def dead(pool):
            url = pool.get("redis").url
            pool.get("redis").kill()
            return url

        def test_ping(dead):
            with redis.Redis.from_url(dead) as client:
                assert client.ping()

        async def test_ping_async(dead):
            async with redis.asyncio.Redis.from_url(dead) as client:
                assert await client.ping()

        async def test_subscribe(dead):
            async with redis.asyncio.Redis.from_url(dead) as client:
                async with client.pubsub() as sub:
                    await sub.subscribe("news")
        """, mode="integration"),
    Scenario("redis-killed-under-a-listener", R, INFRASTRUCTURE, """
        import asyncio, pytest, redis.asyncio

        async def test_news_arrive(pool, redis_url):
            async with redis.asyncio.Redis.from_url(redis_url) as client:
                async with client.pubsub() as sub:
                    await sub.subscribe("news")
                    pool.get("redis").kill()
                    for _ in range(3):
                        await sub.get_message(timeout=1)
        """, mode="integration"),
    Scenario("redis-paused", R, INFRASTRUCTURE, """
        import pytest, redis, redis.asyncio

        @pytest.fixture(scope="module")
        def frozen(pool):
            pool.get("redis").pause()
            yield pool.get("redis").url
            pool.get("redis").unpause()

        def test_get(frozen):
            with redis.Redis.from_url(frozen, socket_timeout=0.4) as client:
                assert client.get("x") is None

        async def test_set_async(frozen):
            async with redis.asyncio.Redis.from_url(frozen, socket_timeout=0.4, socket_connect_timeout=0.4) as client:
                await client.set("x", 1)
        """, mode="integration"),
    Scenario("redis-paused-while-a-test-waits", R, INFRASTRUCTURE, """
        import asyncio, pytest, redis.asyncio

        @pytest.fixture(scope="module")
        def frozen(pool):
            pool.get("redis").pause()
            yield pool.get("redis").url
            pool.get("redis").unpause()

        @pytest.mark.timeout(2)
        async def test_an_answer_comes(frozen):
            client = redis.asyncio.Redis.from_url(frozen)
            await client.ping()

        async def test_an_answer_comes_soon(frozen):
            client = redis.asyncio.Redis.from_url(frozen)
            async with asyncio.timeout(0.5):
                await client.ping()
        """, mode="integration"),
    Scenario("redis-wants-a-password", R, INFRASTRUCTURE, """
        import pytest, redis, redis.asyncio

        @pytest.fixture(scope="module")
        def locked(pool):
            url = pool.get("redis").url
            with redis.Redis.from_url(url) as client:
                client.config_set("requirepass", "something-else-7")
            yield url
            with redis.Redis.from_url(url, password="something-else-7") as client:
                client.config_set("requirepass", "")

        def test_without(locked):
            with redis.Redis.from_url(locked) as client:
                client.get("x")

        def test_with_a_wrong_one(locked):
            with redis.Redis.from_url(locked, password="wrong") as client:
                client.get("x")

        async def test_with_a_wrong_one_async(locked):
            async with redis.asyncio.Redis.from_url(locked, password="wrong") as client:
                await client.get("x")
        """, mode="integration"),
    Scenario("redis-given-with-a-wrong-password", R, INFRASTRUCTURE, """
        import os, pytest, redis
        from test_framework.service_pool import ServicePool

        @pytest.fixture
        def given(pool):
            from pathlib import Path
            url = pool.get("redis").url
            with redis.Redis.from_url(url) as client:
                client.config_set("requirepass", "something-else-7")
            os.environ["REDIS_URL"] = url.replace("unix://", "unix://:wrong@")
            with ServicePool("external") as other:
                yield other.get("redis", 3)

        def test_it(given):
            assert given.url
        """, mode="integration"),
    Scenario("redis-full", R, INFRASTRUCTURE, """
        import pytest, redis, redis.asyncio

        @pytest.fixture(scope="module")
        def full(pool):
            url = pool.get("redis").url
            with redis.Redis.from_url(url) as client:
                client.config_set("maxmemory", "1mb")
                client.config_set("maxmemory-policy", "noeviction")
            return url

        def test_set(full):
            with redis.Redis.from_url(full) as client:
                for number in range(500):
                    client.set(f"key {number}", "x" * 10_000)

        async def test_push(full):
            async with redis.asyncio.Redis.from_url(full) as client:
                await client.lpush("list", *["y" * 1000] * 3000)
                await client.lpush("list", "z")
        """, mode="integration"),
    Scenario("redis-is-a-replica", R, INFRASTRUCTURE, """
        import redis

        def test_set(redis_url):
            with redis.Redis.from_url(redis_url) as client:
                client.execute_command("REPLICAOF", "127.0.0.1", "1")
                client.set("x", 1)
        """, mode="integration"),
    Scenario("redis-takes-no-more-clients", R, INFRASTRUCTURE, """
        import pytest, redis

        def test_another_client(redis_url):
            with redis.Redis.from_url(redis_url) as client, redis.Redis.from_url(redis_url) as other:
                client.config_set("maxclients", 1)
                other.ping()
        """, mode="integration"),
    Scenario("redis-wrong-command-in-the-test", R, TEST, """
        import redis

        def test_counter(redis_url):
            with redis.Redis.from_url(redis_url) as client:
                client.set("counter", "many")
                assert client.incr("counter") == 1

        def test_list(redis_url):
            with redis.Redis.from_url(redis_url) as client:
                client.set("list", "x")
                client.lpush("list", "y")

        def test_unknown_command(redis_url):
            with redis.Redis.from_url(redis_url) as client:
                client.execute_command("FETCH", "x")
        """, mode="integration"),
    Scenario("redis-wrong-command-in-the-app", R, CODE, """
        import pytest
        from commitstream.bus.redis import count_subscribers

        async def test_subscribers_are_counted(redis_url):
            assert await count_subscribers(redis_url) == 0
        """, mode="integration", patches=(("commitstream/bus/redis.py", "class RedisBus:", '''async def count_subscribers(url: str) -> int:
    from redis.asyncio import Redis

    async with Redis.from_url(url) as client:
        await client.set("subscribers", "none")
        return int(await client.incr("subscribers"))


class RedisBus:'''),)),
    Scenario("redis-drops-subscribers", R, INFRASTRUCTURE, """
        import redis

        def test_news(redis_url):
            with redis.Redis.from_url(redis_url) as client, client.pubsub() as sub:
                sub.subscribe("news")
                sub.get_message(timeout=1)
                client.config_set("requirepass", "another-one-9")
                client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
                for _ in range(3):
                    sub.get_message(timeout=1)
        """, mode="integration"),
    Scenario("redis-nobody-at-that-address", R, INFRASTRUCTURE, """
        import socket, redis, redis.asyncio

        def closed_port():
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                return free.getsockname()[1]

        def test_ping():
            with redis.Redis(port=closed_port()) as client:
                client.ping()

        async def test_ping_async():
            async with redis.asyncio.Redis(port=closed_port()) as client:
                await client.ping()
        """),
    Scenario("redis-died-and-the-service-s-bus-with-it", R, INFRASTRUCTURE, """
        from commitstream.envelope import Batch
        from commitstream.bus.redis import RedisBus

        async def test_it_is_published(pool, redis_url):
            bus = RedisBus(redis_url, "test", "here")
            pool.get("redis").kill()
            await bus.publish([Batch("user:ada", 1, ("{}",))])

        async def test_it_is_healthy(server, pool):
            assert server.engine.bus.healthy
        """, mode="integration"),
)  # fmt: skip
