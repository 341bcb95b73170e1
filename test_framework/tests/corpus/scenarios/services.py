"""Services that do not start or end, containers and engines that are not there, ports that are somebody else's."""

from __future__ import annotations

from test_framework.errors.categories import Category, Responsibility
from test_framework.tests.corpus.scenario import Scenario

INFRASTRUCTURE, TEST, CODE = Responsibility.INFRASTRUCTURE, Responsibility.TEST, Responsibility.CODE
S, C, P = Category.SERVICE, Category.CONTAINER, Category.PORT
NOWHERE = {"SERVICES": "compose", "DOCKER_HOST": "unix:///nowhere/docker.sock"}

SCENARIOS = (
    Scenario("no-binaries-on-the-path", S, INFRASTRUCTURE, """
        def test_redis(redis_url):
            pass

        def test_postgres(database_url):
            pass
        """, mode="integration", environment={"SERVICES": "native", "PATH": "/nowhere"}),
    Scenario("redis-will-not-start", S, INFRASTRUCTURE, """
        def test_redis(redis_url):
            pass

        def test_server(server):
            pass
        """, mode="integration", patches=(("test_framework/services/drivers/redis.py", '["--port", "0", ', '["--port", "0", "--no-such-option", "1", '),)),
    Scenario("postgres-data-damaged", S, INFRASTRUCTURE, """
        import pytest
        from test_framework.service_pool import ServicePool

        @pytest.fixture
        def damaged(pool):
            service = pool.get("postgres")
            data = service.lifecycle.provider.data("postgres")
            service.kill()
            (data / "global" / "pg_control").write_bytes(b"")
            return service

        def test_it_comes_back(damaged):
            assert damaged.ensure(4)
        """, mode="integration"),
    Scenario("service-held-by-another", S, INFRASTRUCTURE, """
        import subprocess, sys, pytest

        @pytest.fixture
        def held(pool):
            service = pool.get("redis")
            lock = service.lifecycle.lock("redis").lock_file
            code = "import sys, time, filelock\\nwith filelock.FileLock(sys.argv[1]):\\n    print(1, flush=True)\\n    time.sleep(20)"
            other = subprocess.Popen([sys.executable, "-c", code, str(lock)], stdout=subprocess.PIPE)
            other.stdout.readline()
            yield service
            other.kill()
            other.wait()
            other.stdout.close()

        def test_restart(held):
            held.restart(0.5)
        """, mode="integration"),
    Scenario("server-ends-at-its-start", S, CODE, """
        from test_framework.servers import in_process

        async def test_it_serves(settings):
            async with in_process(settings):
                pass
        """, patches=(("app/__main__.py", "from __future__ import annotations\n", "from __future__ import annotations\n\nraise SystemExit('the licence has run out')\n"),)),
    Scenario("server-raises-at-its-start", S, CODE, """
        from test_framework.servers import in_process

        async def test_it_serves(settings):
            async with in_process(settings):
                pass
        """, patches=(("commitstream/service/server.py", "    app = create_app(cleanup)\n", "    app = create_app(cleanup)\n    app.state.nosuch.attribute\n"),)),
    Scenario("server-does-not-end", S, CODE, """
        import pytest
        import test_framework.servers

        async def test_it_serves(settings, monkeypatch):
            monkeypatch.setattr(test_framework.servers, "STOP_SECONDS", 1.0)
            async with test_framework.servers.in_process(settings):
                pass
        """, patches=(("commitstream/service/server.py", "            draining = asyncio.create_task(engine.drain()", "            await asyncio.sleep(60)\n                draining = asyncio.create_task(engine.drain()"),)),
    Scenario("server-killed-under-a-client", S, INFRASTRUCTURE, """
        import httpx
        from test_framework.servers import in_process

        async def test_it_answers(settings):
            async with in_process(settings) as server:
                server.process.kill()
                await server.process.wait()
                async with httpx.AsyncClient(trust_env=False) as client:
                    await client.get(server.url + "/health/live")
        """),
    Scenario("cleanup-comes-too-late", S, CODE, """
        from app.main import create_app

        async def test_reports_are_closed(settings):
            from commitstream.lifecycle.cleanup import CleanupCoordinator
            cleanup = CleanupCoordinator()
            await create_app(settings).state.engine.let_go(cleanup)
        """, patches=(("commitstream/engine.py", "    async def drain(self) -> None:", '''    async def let_go(self, cleanup) -> None:
        await cleanup.run("the end")
        cleanup.register("reports", lambda: None)

    async def drain(self) -> None:'''),)),
    Scenario("redis-binary-gone", S, INFRASTRUCTURE, """
        import pytest
        from test_framework.services.state import ServiceError

        def test_it_comes_back(pool):
            service = pool.get("redis")
            service.lifecycle.provider.binary = lambda name: "/nowhere/valkey-server"
            service.kill()
            service.lifecycle.provider.start = lambda name: None
            service.ensure(1.5)
        """, mode="integration"),
    Scenario("engine-unreachable", C, INFRASTRUCTURE, """
        def test_redis(redis_url):
            pass

        def test_postgres(database_url):
            pass
        """, mode="integration", environment=NOWHERE),
    Scenario("engine-unreachable-for-the-sdk", C, INFRASTRUCTURE, """
        import docker

        def test_sdk():
            docker.DockerClient(base_url="unix:///nowhere/docker.sock", version="auto", timeout=2)

        def test_from_env():
            docker.from_env(version="auto", timeout=2)
        """, environment=NOWHERE, arguments=("-W", "ignore::ResourceWarning")),
    Scenario("engine-unreachable-for-the-command", C, INFRASTRUCTURE, """
        import subprocess

        def test_ps():
            subprocess.run(["docker", "ps"], check=True, capture_output=True, text=True)
        """, environment=NOWHERE, needs_docker=True),
    Scenario("docker-not-installed", C, INFRASTRUCTURE, """
        import subprocess
        import pytest

        def test_redis(redis_url):
            pass

        def test_ps():
            subprocess.run(["docker", "ps"], check=True)
        """, mode="integration", environment={"SERVICES": "compose", "PATH": "/nowhere"},
        patches=(("test_framework/services/engine.py", 'OFF_THE_PATH = (', 'OFF_THE_PATH: tuple[str, ...] = ()\n_ELSEWHERE = ('),)),
    Scenario("image-missing", C, INFRASTRUCTURE, """
        def test_redis(redis_url):
            pass
        """, mode="integration", environment={"SERVICES": "compose"}, needs_docker=True,
        patches=(("compose/compose.yml", "image: redis:8-alpine", "image: localhost:1/nosuch/redis:0"),)),
    Scenario("image-missing-for-the-sdk", C, INFRASTRUCTURE, """
        import docker, pytest

        def test_run():
            client = docker.from_env()
            try:
                client.containers.create("localhost:1/nosuch/image:0")
            finally:
                client.close()

        def test_look():
            client = docker.from_env()
            try:
                client.images.get("nosuch:0")
            finally:
                client.close()
        """, needs_docker=True),
    Scenario("container-removed-under-a-test", C, INFRASTRUCTURE, """
        import docker, pytest

        @pytest.fixture
        def gone():
            client = docker.from_env()
            container = client.containers.run("redis:8-alpine", detach=True, labels={"corpus": "1"})
            container.remove(force=True)
            yield container
            client.close()

        def test_reload(gone):
            gone.reload()

        def test_exec(gone):
            gone.exec_run("true")
        """, needs_docker=True),
    Scenario("container-paused-under-a-test", C, INFRASTRUCTURE, """
        import docker, pytest

        @pytest.fixture
        def frozen():
            client = docker.from_env()
            container = client.containers.run("redis:8-alpine", detach=True, labels={"corpus": "1"})
            container.pause()
            yield container
            container.remove(force=True)
            client.close()

        def test_exec(frozen):
            frozen.exec_run("true")
        """, needs_docker=True),
    Scenario("container-name-taken", C, INFRASTRUCTURE, """
        import docker, pytest

        def test_two():
            client = docker.from_env()
            one = client.containers.create("redis:8-alpine", name="corpus-twice")
            try:
                client.containers.create("redis:8-alpine", name="corpus-twice")
            finally:
                one.remove(force=True)
                client.close()
        """, needs_docker=True),
    Scenario("container-port-taken", P, INFRASTRUCTURE, """
        import docker, socket

        def test_start():
            client = docker.from_env()
            with socket.socket() as taken:
                taken.bind(("127.0.0.1", 0))
                taken.listen()
                port = taken.getsockname()[1]
                container = client.containers.create("redis:8-alpine", ports={"6379/tcp": ("127.0.0.1", port)})
                try:
                    container.start()
                finally:
                    container.remove(force=True)
                    client.close()
        """, needs_docker=True),
    Scenario("port-bound-twice-by-the-test", P, TEST, """
        import asyncio, socket

        def test_bind():
            with socket.socket() as one, socket.socket() as other:
                one.bind(("127.0.0.1", 0))
                one.listen()
                other.bind(one.getsockname())

        async def test_server():
            one = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
            try:
                await asyncio.start_server(lambda r, w: None, *one.sockets[0].getsockname())
            finally:
                one.close()
        """),
    Scenario("port-of-the-service-taken", P, INFRASTRUCTURE, """
        import socket, pytest
        from test_framework.servers import in_loop

        @pytest.fixture
        def taken():
            with socket.socket() as other:
                other.bind(("127.0.0.1", 0))
                other.listen()
                yield other.getsockname()[1]

        async def test_it_listens(make_settings, taken):
            settings = make_settings(port=taken, environment="production")
            async with in_loop(settings):
                pass
        """),
    Scenario("port-of-the-process-taken", P, INFRASTRUCTURE, """
        import socket, pytest
        from test_framework.servers import in_process

        @pytest.fixture
        def taken():
            with socket.socket() as other:
                other.bind(("127.0.0.1", 0))
                other.listen()
                yield other.getsockname()[1]

        async def test_it_listens(make_settings, taken):
            async with in_process(make_settings(port=taken, environment="production")):
                pass
        """),
    Scenario("port-not-for-this-user", P, INFRASTRUCTURE, """
        import pytest
        from commitstream.service.server import listen

        def test_it_listens(make_settings):
            listen(make_settings(host="192.0.2.7", environment="production"))
        """),
)  # fmt: skip
