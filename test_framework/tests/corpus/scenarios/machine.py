"""The network, memory, disk, descriptors, permissions and settings of the machine."""

from __future__ import annotations

from test_framework.errors.categories import Category, Responsibility
from test_framework.tests.corpus.scenario import Scenario

INFRASTRUCTURE, TEST, CODE = Responsibility.INFRASTRUCTURE, Responsibility.TEST, Responsibility.CODE
N, R, F = Category.NETWORK, Category.RESOURCES, Category.CONFIGURATION

SCENARIOS = (
    Scenario("name-unknown", N, INFRASTRUCTURE, """
        import socket, httpx, pytest

        def test_look_up():
            socket.create_connection(("nosuch.invalid", 80), timeout=3)

        def test_http():
            httpx.get("http://nosuch.invalid/", timeout=3, trust_env=False)

        async def test_redis():
            import redis.asyncio
            async with redis.asyncio.Redis(host="nosuch.invalid", socket_connect_timeout=3) as client:
                await client.ping()
        """, mode="integration"),
    Scenario("blocked-by-the-guard", N, TEST, """
        import socket, httpx, pytest

        def test_look_up():
            socket.getaddrinfo("example.com", 443)

        def test_connect():
            socket.create_connection(("192.0.2.1", 80), timeout=1)

        async def test_http():
            async with httpx.AsyncClient(trust_env=False) as client:
                await client.get("https://example.com/")
        """),
    Scenario("certificate-not-trusted", N, INFRASTRUCTURE, """
        import asyncio, ssl, subprocess, httpx, pytest

        @pytest.fixture
        async def served(tmp_path):
            subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                            "-keyout", tmp_path / "k.pem", "-out", tmp_path / "c.pem"], check=True, capture_output=True)
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(tmp_path / "c.pem", tmp_path / "k.pem")
            server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0, ssl=context)
            yield server.sockets[0].getsockname()[1]
            server.close()

        async def test_https(served):
            async with httpx.AsyncClient(trust_env=False) as client:
                await client.get(f"https://localhost:{served}/")

        async def test_wss(served):
            import websockets
            async with websockets.connect(f"wss://localhost:{served}/", proxy=None):
                pass
        """, mode="integration"),
    Scenario("tls-where-there-is-none", N, INFRASTRUCTURE, """
        import httpx

        async def test_https(server):
            async with httpx.AsyncClient(trust_env=False) as client:
                await client.get(server.url.replace("http:", "https:") + "/health/live")
        """),
    Scenario("host-unreachable", N, INFRASTRUCTURE, """
        import socket, httpx

        def test_connect():
            socket.create_connection(("240.0.0.1", 80), timeout=2)

        def test_http():
            httpx.get("http://240.0.0.1/", timeout=2, trust_env=False)
        """, mode="integration"),
    Scenario("disk-full", R, INFRASTRUCTURE, """
        import pytest

        def test_write():
            with open("/dev/full", "w") as file:
                file.write("x" * 100_000)

        def test_report():
            import json
            with open("/dev/full", "wb", buffering=0) as file:
                file.write(b"x")
        """),
    Scenario("disk-full-for-sqlite", R, INFRASTRUCTURE, """
        from sqlalchemy import text
        from commitstream.db.database import Database

        async def test_insert(database_url):
            database = Database(database_url)
            try:
                async with database.transaction() as session:
                    await session.execute(text("PRAGMA max_page_count = 1"))
                    for user in range(5000):
                        await session.execute(text("INSERT INTO commitstream_streams (stream, last_seq) VALUES (:u, 1)"), {"u": str(user) * 10})
            finally:
                await database.close()
        """),
    Scenario("file-size-limited", R, INFRASTRUCTURE, """
        import signal

        def test_write(tmp_path):
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            (tmp_path / "big").write_bytes(b"x" * 200_000_000)
        """, limits={"RLIMIT_FSIZE": 100_000_000}),
    Scenario("few-descriptors-allowed", R, INFRASTRUCTURE, """
        import asyncio, socket, httpx

        async def test_sockets(server):
            clients = [socket.socket() for _ in range(5)]
            for client in clients:
                client.close()
            pairs = []
            try:
                for _ in range(20):
                    pairs.append(socket.socketpair())
            finally:
                for one, other in pairs:
                    one.close()
                    other.close()
        """, limits={"RLIMIT_NOFILE": 40}),
    Scenario("descriptors-used-up-by-the-test", R, TEST, """
        def test_open(tmp_path):
            files = []
            try:
                for number in range(5000):
                    files.append(open(tmp_path / str(number), "w"))
            finally:
                for file in files:
                    file.close()
        """, limits={"RLIMIT_NOFILE": 1024}),
    Scenario("memory-used-up-by-the-test", R, TEST, """
        def test_big():
            assert len(bytearray(10**15))

        def test_bigger():
            assert [0] * 10**14
        """),
    Scenario("memory-used-up-by-the-app", R, CODE, """
        from app.agents.tools import count_words

        async def test_count():
            assert await count_words("one two") == 2
        """, patches=(("app/agents/tools.py", "    return len(text.split())", "    return len(text.split() * 10**15)"),)),
    Scenario("little-memory-allowed", R, INFRASTRUCTURE, """
        def test_read(tmp_path):
            held = bytearray(1_500_000_000)
            assert held
        """, limits={"RLIMIT_AS": 1_000_000_000}),
    Scenario("recursion-in-the-app", R, CODE, """
        from app.agents.tools import count_words

        async def test_count():
            assert await count_words("one two") == 2
        """, patches=(("app/agents/tools.py", "    return len(text.split())", "    return await count_words(text)"),)),
    Scenario("recursion-in-the-test", R, TEST, """
        def depth(tree):
            return 1 + depth(tree)

        def test_depth():
            assert depth({}) == 3
        """),
    Scenario("permission-denied", R, INFRASTRUCTURE, """
        import contextlib, os, pathlib

        @contextlib.contextmanager
        def nobody():
            was = os.geteuid()
            os.seteuid(65534)
            try:
                yield
            finally:
                os.seteuid(was)

        def test_read():
            with nobody():
                pathlib.Path("/etc/shadow").read_text()

        def test_write():
            with nobody():
                pathlib.Path("/etc/anything").write_text("x")
        """),
    Scenario("read-only-place", R, INFRASTRUCTURE, """
        import pathlib

        def test_write():
            pathlib.Path("/proc/version").write_text("x")

        def test_folder():
            pathlib.Path("/sys/anything").mkdir()
        """),
    Scenario("setting-refused-in-the-test", F, TEST, """
        def test_port(make_settings):
            make_settings(port=99999)

        def test_model(make_settings):
            make_settings(model="magic")
        """),
    Scenario("setting-refused-in-the-environment", F, INFRASTRUCTURE, """
        from app.settings import load_settings

        def test_load():
            load_settings(None)
        """, environment={"APP_PORT": "many", "APP_LOG_LEVEL": "loud"}),
    Scenario("secret-missing", F, INFRASTRUCTURE, """
        from app.settings import load_settings

        def test_load():
            load_settings(None)
        """, environment={"APP_ENVIRONMENT": "production"}),
    Scenario("variable-missing", F, INFRASTRUCTURE, """
        import os, pytest

        @pytest.fixture
        def key():
            return os.environ["PAYMENT_API_KEY"]

        def test_pay(key):
            assert key

        def test_again():
            assert os.environ["PAYMENT_REGION"]
        """),
    Scenario("provider-unknown", F, INFRASTRUCTURE, """
        def test_redis(redis_url):
            pass
        """, mode="integration", environment={"SERVICES": "podman"}),
    Scenario("external-without-an-address", F, INFRASTRUCTURE, """
        def test_redis(redis_url):
            pass

        def test_postgres(database_url):
            pass
        """, mode="integration", environment={"SERVICES": "external"}),
    Scenario("external-with-another-s-address", F, INFRASTRUCTURE, """
        def test_redis(redis_url):
            pass
        """, mode="integration", environment={"SERVICES": "external", "REDIS_URL": "http://127.0.0.1:1"}),
    Scenario("settings-file-damaged", F, INFRASTRUCTURE, """
        def test_settings(settings):
            assert settings.port == 0
        """, files={".env.test": "APP_REQUESTS_PER_MINUTE=lots\nAPP_SOCKETS_PER_USER=-3\n"}),
)  # fmt: skip
