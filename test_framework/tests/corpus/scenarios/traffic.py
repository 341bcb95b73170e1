"""Sockets, events, the start-up's order, routes and time-outs."""

from __future__ import annotations

from test_framework.errors.categories import Category, Responsibility
from test_framework.tests.corpus.scenario import Scenario

INFRASTRUCTURE, TEST, CODE = Responsibility.INFRASTRUCTURE, Responsibility.TEST, Responsibility.CODE
W, ORDER, R, T = Category.WEBSOCKET, Category.STARTUP_ORDER, Category.ROUTING, Category.TIMEOUT
SCRIPTED = "app/agents/scripted.py"
THINK = 'await turn.think("How long is this message?")\n'
MEASURE = 'words = await turn.call("count_words", {"text": message})\n'

SCENARIOS = (
    Scenario("socket-without-a-valid-token", W, TEST, """
        import json, websockets

        async def test_hello(server):
            async with websockets.connect(server.url.replace("http", "ws") + "/ws", proxy=None) as socket:
                await socket.send(json.dumps({"token": "made up"}))
                json.loads(await socket.recv())

        async def test_garbage(server):
            async with websockets.connect(server.url.replace("http", "ws") + "/ws", proxy=None) as socket:
                await socket.send("{")
                await socket.recv()
        """),
    Scenario("socket-closed-by-a-bug", W, CODE, """
        from test_framework.test_context import TestContext

        async def test_hello(server):
            async with TestContext(server) as ada:
                await ada.run_agent("hello")
        """, patches=(("commitstream/transports/websocket.py", "heads = await self._engine.journal.heads(", "heads = await self._engine.nosuch.heads("),)),
    Scenario("socket-closed-in-the-midst", W, CODE, """
        from test_framework.test_context import TestContext

        async def test_events(server):
            async with TestContext(server) as ada:
                await ada.run_agent("hello")
                await ada.socket.recv()
        """, patches=(("commitstream/transports/websocket.py", "            self._engine.require_open()\n            self._user, hello", "            asyncio.get_running_loop().call_later(0.3, lambda: asyncio.create_task(self._close(4500, 'tired')))\n            self._engine.require_open()\n            self._user, hello"),)),
    Scenario("socket-at-a-wrong-path", W, TEST, """
        import websockets

        async def test_path(server):
            async with websockets.connect(server.url.replace("http", "ws") + "/sockets", proxy=None):
                pass
        """),
    Scenario("socket-where-nobody-listens", W, TEST, """
        import socket, websockets

        def closed_port():
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                return free.getsockname()[1]

        async def test_connect():
            async with websockets.connect(f"ws://127.0.0.1:{closed_port()}/ws", proxy=None):
                pass
        """),
    Scenario("socket-never-greeted", W, CODE, """
        from test_framework.test_context import TestContext
        import test_framework.test_context

        async def test_hello(server, monkeypatch):
            monkeypatch.setattr(test_framework.test_context, "DEADLINE_SECONDS", 1.0)
            async with TestContext(server):
                pass
        """, patches=(("commitstream/transports/websocket.py", "        await self._say(hello_message(self._user.id, cursors, datetime.now(UTC)))\n", ""),)),
    Scenario("event-missing-at-the-end", W, CODE, """
        from test_framework.test_context import TestContext

        async def test_it_ends(server):
            async with TestContext(server) as ada:
                await ada.run_agent("hello", deadline=1.5)

        async def test_another_ends(server):
            async with TestContext(server) as ada:
                await ada.run_agent("hello there", deadline=1.5)
        """, patches=(("app/agents/runner.py", "        await asyncio.wait([answering])\n", "        await asyncio.wait([answering])\n        return\n"),)),
    Scenario("event-missing-in-the-midst", W, CODE, """
        from app.agents.events import RUN_EVENTS
        from test_framework.test_context import TestContext

        async def test_all_five(server):
            async with TestContext(server) as ada:
                run = await ada.run_agent("hello")
                ada.capture.assert_kinds(run.id, [kind.event_type for kind in RUN_EVENTS])
        """, patches=((SCRIPTED, f"    {THINK}", ""),)),
    Scenario("event-out-of-order", W, CODE, """
        from app.agents.events import RUN_EVENTS
        from test_framework.test_context import TestContext

        async def test_order(server):
            async with TestContext(server) as ada:
                run = await ada.run_agent("hello")
                ada.capture.assert_kinds(run.id, [kind.event_type for kind in RUN_EVENTS])
        """, patches=((SCRIPTED, f"    {THINK}    try:\n        {MEASURE}", f"    try:\n        {MEASURE}        {THINK}"),)),
    Scenario("event-against-the-grammar", W, CODE, """
        from app.agents.replay import check

        def test_order():
            check(["agent_started", "agent_completed"])
        """, files={"app/agents/replay.py": '''
            from app.agents.events import RUN_ORDER

            def check(types):
                before = None
                for after in reversed(types):
                    RUN_ORDER.check(before, after)
                    before = after
            '''}),
    Scenario("event-shown-twice", W, CODE, """
        from test_framework.test_context import TestContext

        async def test_once(server):
            async with TestContext(server) as ada:
                await ada.run_agent("hello")
                ada.capture.assert_unbroken()
        """, patches=(("test_framework/test_context.py", "            self._capture_of(line).capture(line)\n", "            self._capture_of(line).capture(line)\n            self._capture_of(line).capture(line)\n"),)),
    Scenario("event-never-published", W, CODE, """
        import test_framework.websocket.event_path
        from commitstream.topics import user_stream
        from test_framework.websocket.event_path import thought

        async def test_it_is_published(path, monkeypatch):
            monkeypatch.setattr(test_framework.websocket.event_path, "HEAR_SECONDS", 0.5)
            async with path.database.transaction() as session:
                await path.journal.append(session, user_stream("ada"), thought("x"))
            await path.bus.hear("agent_thinking", "run")
        """, patches=(("test_framework/websocket/event_path.py", "    outbox.feed(relay)\n    try", "    outbox.feed(None)\n    try"),)),
    Scenario("plan-goes-in-a-circle", ORDER, TEST, """
        from commitstream.lifecycle.cleanup import CleanupCoordinator
        from commitstream.lifecycle.startup import StartupManager

        async def start():
            pass

        def manager():
            return StartupManager(CleanupCoordinator(), ("one", "two"))

        async def test_circle():
            plan = manager()
            plan.add("hen", phase="one", start=start, after=("egg",))
            plan.add("egg", phase="one", start=start, after=("hen",))
            await plan.run()

        async def test_later_phase():
            plan = manager()
            plan.add("hen", phase="one", start=start, after=("egg",))
            plan.add("egg", phase="two", start=start)
            await plan.run()
        """),
    Scenario("plan-of-the-app-broken", ORDER, CODE, """
        def test_server(server):
            pass

        async def test_plan(settings):
            from app.main import create_app
            create_app(settings).state.startup.validate()
        """, patches=(("commitstream/application.py", 'stop=engine.hub.close, after=("bus",))', 'stop=engine.hub.close, after=("runner",))'),)),
    Scenario("plan-names-nobody", ORDER, CODE, """
        def test_server(server):
            pass
        """, patches=(("commitstream/application.py", 'stop=engine.hub.close, after=("bus",))', 'stop=engine.hub.close, after=("cache",))'),)),
    Scenario("component-does-not-start", ORDER, CODE, """
        def test_server(server):
            pass

        def test_again(server):
            pass
        """, patches=(("app/agents/runner.py", "    async def open(self) -> None:\n", "    async def open(self) -> None:\n        raise RuntimeError('no agents today')\n"),)),
    Scenario("component-takes-for-ever", ORDER, CODE, """
        import test_framework.servers
        from test_framework.servers import in_loop

        async def test_server(settings, monkeypatch):
            monkeypatch.setattr(test_framework.servers, "START_SECONDS", 1.0)
            async with in_loop(settings):
                pass
        """, patches=(("app/agents/runner.py", "    async def open(self) -> None:\n", "    async def open(self) -> None:\n        await asyncio.sleep(60)\n"),)),
    Scenario("component-out-of-time", ORDER, CODE, """
        async def test_start(settings):
            from app.main import create_app
            await create_app(settings).state.startup.run()
        """, patches=(("app/agents/domain.py", 'stop=self.runner.close, after=("model",))', 'stop=self.runner.close, after=("model",), timeout=0.3)'),
                      ("app/agents/runner.py", "    async def open(self) -> None:\n", "    async def open(self) -> None:\n        await asyncio.sleep(60)\n"))),
    Scenario("route-not-found", R, TEST, """
        import httpx
        from test_framework.backend_client import BackendClient

        async def test_status(server):
            async with httpx.AsyncClient(trust_env=False) as client:
                answer = await client.get(server.url + "/api/rums")
            assert answer.status_code == 200

        async def test_raise(server):
            async with httpx.AsyncClient(trust_env=False) as client:
                (await client.get(server.url + "/api/v2/runs")).raise_for_status()
        """),
    Scenario("route-taken-away", R, CODE, """
        from test_framework.test_context import TestContext

        async def test_run(server):
            async with TestContext(server) as ada:
                await ada.run_agent("hello")

        async def test_list(server):
            async with TestContext(server) as ada:
                assert await ada.client.runs() == []
        """, patches=(("app/agents/domain.py", "routers = (routes.router, page.router)", "routers = (page.router,)"),)),
    Scenario("method-not-allowed", R, TEST, """
        import httpx

        async def test_status(server):
            async with httpx.AsyncClient(trust_env=False) as client:
                answer = await client.delete(server.url + "/health/live")
            assert answer.status_code == 204
        """),
    Scenario("request-refused", R, TEST, """
        from test_framework.test_context import TestContext

        async def test_empty(server):
            async with TestContext(server) as ada:
                await ada.client.start_run("")

        async def test_wrong_field(server):
            async with TestContext(server) as ada:
                answer = await ada.client.request("POST", "/api/runs", json={"text": "hello"})
                assert answer.status_code == 202
        """),
    Scenario("route-by-an-unknown-name", R, TEST, """
        from app.main import create_app

        def test_url(settings):
            create_app(settings).url_path_for("show_rum", run_id="1")
        """),
    Scenario("override-left-behind", R, TEST, """
        import httpx, pytest
        from fastapi import Depends, FastAPI

        app = FastAPI()

        def price():
            return 3

        @app.get("/price")
        def get_price(amount: int = Depends(price)):
            return amount

        def client():
            return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app")

        async def test_sale():
            app.dependency_overrides[price] = lambda: 1
            async with client() as http:
                assert (await http.get("/price")).json() == 1

        async def test_price():
            async with client() as http:
                assert (await http.get("/price")).json() == 3
        """),
    Scenario("override-left-on-the-service", R, TEST, """
        import httpx
        from commitstream.service import dependencies

        async def test_who(settings):
            from app.main import create_app
            app = create_app(settings)
            app.dependency_overrides[dependencies.get_user] = lambda: None
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as http:
                answer = await http.get("/api/runs")
            assert answer.status_code == 401
        """),
    Scenario("dependency-can-t-be-given", R, CODE, """
        def test_app(settings):
            from app.main import create_app
            create_app(settings)
        """, patches=(("app/agents/routes.py", "async def start_run(\n    body: NewRun,", "async def start_run(\n    lock: __import__('threading').Lock().__class__,\n    body: NewRun,"),)),
    Scenario("dependency-raises", R, CODE, """
        from test_framework.test_context import TestContext

        async def test_list(server):
            async with TestContext(server) as ada:
                assert await ada.client.runs() == []
        """, patches=(("app/agents/routes.py", "router = APIRouter(\n", "def closed() -> None:\n    from fastapi import HTTPException\n\n    raise HTTPException(404, 'no such tenant')\n\n\nrouter = APIRouter(\n    dependencies=[Depends(closed)],\n"),)),
    Scenario("test-waits-for-ever", T, TEST, """
        import asyncio, time, pytest

        @pytest.mark.timeout(1)
        async def test_event():
            await asyncio.Event().wait()

        @pytest.mark.timeout(1)
        def test_sleep():
            time.sleep(30)

        @pytest.mark.timeout(1)
        def test_loop():
            while True:
                pass
        """),
    Scenario("test-waits-too-shortly", T, TEST, """
        import asyncio, threading, pytest
        from concurrent.futures import Future

        async def test_queue():
            async with asyncio.timeout(0.1):
                await asyncio.Queue().get()

        async def test_wait_for():
            await asyncio.wait_for(asyncio.Event().wait(), 0.1)

        def test_future():
            Future().result(0.1)
        """),
    Scenario("awaited-in-vain", T, TEST, """
        from test_framework.waiting import becomes

        async def test_becomes():
            done = []
            await becomes(lambda: bool(done), "the list's first entry", 0.3)
        """),
    Scenario("program-takes-too-long", T, TEST, """
        import subprocess, sys

        def test_program():
            subprocess.run([sys.executable, "-c", "import time; time.sleep(20)"], timeout=0.5, check=True)
        """),
    Scenario("lock-file-held", T, TEST, """
        import filelock

        def test_lock(tmp_path):
            with filelock.FileLock(tmp_path / "a.lock", is_singleton=False), filelock.FileLock(tmp_path / "a.lock", timeout=0.2):
                pass
        """),
    Scenario("app-hangs-in-a-loop", T, CODE, """
        import pytest
        from app.agents.tools import count_words

        @pytest.mark.timeout(1)
        async def test_count():
            assert await count_words("a b") == 2
        """, patches=(("app/agents/tools.py", "    return len(text.split())", "    while True:\n        text = text.strip()"),)),
    Scenario("app-waits-for-ever", T, CODE, """
        import asyncio, pytest
        from app.agents.tools import count_words

        @pytest.mark.timeout(1)
        async def test_count():
            assert await count_words("a b") == 2

        async def test_count_soon():
            async with asyncio.timeout(0.3):
                assert await count_words("a b") == 2
        """, patches=(("app/agents/tools.py", "    return len(text.split())", "    import asyncio\n    return await asyncio.Queue().get()"),)),
    Scenario("route-does-not-answer", T, CODE, """
        import httpx

        async def test_live(server):
            async with httpx.AsyncClient(trust_env=False, timeout=0.7) as client:
                await client.get(server.url + "/health/live")
        """, patches=(("commitstream/application.py", "    problems.install(app)\n", "    problems.install(app)\n\n    @app.get('/health/live')\n    async def hang() -> None:\n        await asyncio.sleep(5)\n"),)),
    Scenario("tool-takes-too-long", T, CODE, """
        import asyncio
        from commitstream.lifecycle.attempt import attempt, OutOfTimeError
        from app.agents.tools import current_time

        async def test_in_time():
            error = await attempt(current_time, 0.3)
            if error:
                raise error
        """, patches=(("app/agents/tools.py", "    return datetime.now", "    import asyncio\n    await asyncio.sleep(9)\n    return datetime.now"),)),
)  # fmt: skip
