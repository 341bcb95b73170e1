"""What would meet the wrong loop is refused where it is written; the same call in its place passes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from test_framework.guards import event_loops
from test_framework.guards.source import Source

Plant = Callable[[str, str], Source]

FAULTS = {
    "run at import": "import asyncio\nAVAILABLE = asyncio.run(probe())",
    "run under another name": "import asyncio as aio\naio.run(probe())",
    "run imported alone": "from asyncio import run\nrun(probe())",
    "uvloop's run": "import uvloop\nuvloop.run(main())",
    "a loop at import": "import asyncio\nloop = asyncio.get_event_loop()",
    "a loop's work at import": "loop.run_until_complete(main())",
    "run in a class body": "import asyncio\nclass A:\n    x = asyncio.run(f())",
    "run in a default": "import asyncio\ndef f(x=asyncio.run(g())): ...",
    "run in a decorator": "import asyncio\n@mark(asyncio.run(g()))\ndef f(): ...",
    "run in a condition at import": "import asyncio\nif True:\n    asyncio.run(f())",
    "run in a coroutine": "import asyncio\nasync def f():\n    asyncio.run(g())",
    "run_until_complete in a coroutine": "async def f(loop):\n    loop.run_until_complete(g())",
    "get_event_loop in a coroutine": "import asyncio\nasync def f():\n    return asyncio.get_event_loop()",
    "a lock at import": "import asyncio\nlock = asyncio.Lock()",
    "a queue on a class": "from asyncio import Queue\nclass Bus:\n    queue: Queue[int] = Queue()",
    "a lock as a default": "import asyncio\nasync def f(lock=asyncio.Lock()): ...",
    "a Redis at import": "from redis.asyncio import Redis\nredis = Redis.from_url('redis://')",
    "a Redis by module": "import redis.asyncio\nclient = redis.asyncio.Redis()",
    "a Redis by alias": "from redis import asyncio as r\nclient = r.from_url('')",
    "an engine at import": "from sqlalchemy.ext.asyncio import create_async_engine\nengine = create_async_engine('')",
    "an HTTP client at import": "import httpx\nclient = httpx.AsyncClient()",
    "sleep in a coroutine": "import time\nasync def f():\n    time.sleep(1)",
    "sleep by its own name": "from time import sleep\nasync def f():\n    sleep(1)",
    "sleep in an async method": "import time\nclass A:\n    async def f(self):\n        with x:\n            time.sleep(1)",
}

HARMLESS = {
    "run in main": "import asyncio\ndef main():\n    asyncio.run(serve())",
    "run as a program": "import asyncio\nif __name__ == '__main__':\n    asyncio.run(main())",
    "another run": "import subprocess\nsubprocess.run(['ls'])\nfrom mine import run\nrun()",
    "a lock made later": "import asyncio\nclass A:\n    def __init__(self):\n        self.lock = asyncio.Lock()",
    "a lock in a coroutine": "import asyncio\nasync def f():\n    return asyncio.Lock()",
    "a lock per object": "import asyncio\nfrom dataclasses import field\nclass A:\n    x = field(default_factory=asyncio.Lock)",
    "a lock in a lambda": "import asyncio\nmake = lambda: asyncio.Lock()",
    "a thread's lock": "import threading\nlock = threading.Lock()",
    "a thread's queue": "from queue import Queue\nqueue = Queue()",
    "a blocking Redis": "import redis\nclient = redis.Redis()",
    "an annotation": "from redis.asyncio import Redis\nclient: Redis | None = None",
    "sleep in a function": "import time\ndef f():\n    time.sleep(1)",
    "sleep in a thread": "import asyncio, time\nasync def f():\n    await asyncio.to_thread(time.sleep, 1)",
    "sleep in a function in a coroutine": "import time\nasync def f():\n    def g():\n        time.sleep(1)\n    await x(g)",
    "the right sleep": "import asyncio\nasync def f():\n    await asyncio.sleep(1)",
    "the running loop": "import asyncio\nasync def f():\n    return asyncio.get_running_loop()",
    "a stated purpose": "import time\nasync def f():\n    time.sleep(1)  # on purpose: the guard must notice this",
}


@pytest.mark.parametrize("code", FAULTS.values(), ids=FAULTS)
def test_what_would_meet_the_wrong_loop_is_refused(plant: Plant, code: str) -> None:
    findings = event_loops.check([plant("app/main.py", code + "\n")])

    assert len(findings) == 1
    assert "on purpose" in findings[0].message


@pytest.mark.parametrize("code", HARMLESS.values(), ids=HARMLESS)
def test_the_same_in_its_place_passes(plant: Plant, code: str) -> None:
    assert event_loops.check([plant("tests/test_main.py", code + "\n")]) == []


def test_a_purpose_needs_a_reason(plant: Plant) -> None:
    source = plant("app/main.py", "import asyncio\nlock = asyncio.Lock()  # on purpose:\n")

    assert event_loops.check([source])
