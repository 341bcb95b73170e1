"""What would meet the wrong loop, or hold it up, fails the test that did it, with its line; the same done well passes."""

from __future__ import annotations

import textwrap

import pytest

from test_framework.running.planted import Ended
from test_framework.tests.kit.guards.planted import run_planted

pytestmark = pytest.mark.timeout(250)  # each run has a hundred tests, and some compute for a second

HEAD = """\
import asyncio, concurrent.futures, gc, os, queue, socket, sqlite3, subprocess, sys, threading, time
from pathlib import Path
import pytest, pytest_asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from redis.asyncio import Redis
from app import service

async def work():
    await asyncio.sleep(0)

def compute(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass

def held_lock():
    lock = threading.Lock()
    lock.acquire()
    return lock
"""

SERVICE = """\
import asyncio, importlib, importlib.metadata, os, time, urllib.request

async def naps():
    time.sleep(0.01)

async def reads(path):
    return path.read_text()

async def naps_and_hides_it():
    try:
        time.sleep(0.01)
    except Exception:
        pass

async def runs_and_hides_it(work):
    try:
        asyncio.run(work())
    except RuntimeError:
        pass

async def may_read(path):
    return path.read_text()

async def imports(name):
    importlib.import_module(name)

async def computes(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass

async def may_compute(compute):
    compute(0.8)

async def asks_a_library(name):
    return importlib.import_module(name).version()

async def asks_for_a_version():
    return importlib.metadata.version("pytest")
"""

IMPORTED = {
    "site-packages/late_reader.py": "from pathlib import Path\nimport late_helper\nPath(__file__).read_text()\n",
    "site-packages/late_helper.py": "import os, pathlib\nlist(os.scandir())\npathlib.Path(__file__).stat()\n",
    "site-packages/late_sleeper.py": "import time\ntime.sleep(0.01)\n",
    "site-packages/late_caller.py": """\
        import socket
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(server.getsockname()).close()
        """,
    "site-packages/late_writer.py": "from pathlib import Path\nPath(__file__).with_suffix('.txt').write_text('it')\n",
    "site-packages/versioned.py": """\
        import importlib.metadata
        def version():
            return importlib.metadata.version("pytest")
        """,
    "app/late.py": "from pathlib import Path\nPath(__file__).read_text()\n",
}

FAULTS = {
    "run_inside": ("async", "asyncio.run(work())", "asyncio.run() cannot be called from a running event loop, tests/"),
    "run_inside_and_swallowed": (
        "async",
        "await service.runs_and_hides_it(work)",
        "app/service.py:17 in runs_and_hides_it",
    ),
    "run_until_complete_inside": (
        "async",
        "asyncio.get_running_loop().run_until_complete(work())",
        "loop.run_until_complete() cannot be called from a running event loop",
    ),
    "queue_of_another_loop": (
        "sync",
        """
        async def make():
            return asyncio.Queue()
        queue = asyncio.run(make())
        async def use():
            await queue.put(1)
        asyncio.run(use())
        """,
        "asyncio.Queue of another loop, begun at tests/",
    ),
    "lock_of_another_loop": (
        "sync",
        """
        lock = asyncio.Lock()
        async def use():
            async with lock:
                pass
        asyncio.run(use())
        asyncio.run(use())
        """,
        "asyncio.Lock of another loop",
    ),
    "connection_of_another_loop": (
        "sync",
        """
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/a.db")
        async def use():
            async with engine.connect() as connection:
                await connection.execute(text("SELECT 1"))
        asyncio.run(use())
        try:
            asyncio.run(use())
        finally:
            asyncio.run(engine.dispose())
        """,
        "a database connection of another loop, begun at tests/",
    ),
    "redis_of_another_loop": (
        "sync",
        """
        client = Redis.from_url(REDIS)
        async def use():
            await client.ping()
        asyncio.run(use())
        asyncio.run(use())
        """,
        "a Redis connection of another loop, begun at tests/",
    ),
    "sleep": ("async", "time.sleep(0.01)", "time.sleep() in a coroutine stops everything else on the loop, tests/"),
    "sleep_in_the_service": ("async", "await service.naps()", "app/service.py:4 in naps"),
    "sleep_that_is_swallowed": ("async", "await service.naps_and_hides_it()", "app/service.py:11 in naps_and_hides_it"),
    "socket": (
        "async",
        """
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(server.getsockname()).close()
        """,
        "socket.socket.connect() in a coroutine",
    ),
    "file_in_the_service": ("async", "await service.reads(Path(__file__))", "app/service.py:7 in reads"),
    "sleep_in_an_import": ("async", "await service.imports('late_sleeper')", "time.sleep() in a coroutine"),
    "socket_in_an_import": ("async", "await service.imports('late_caller')", "socket.socket.connect() in a coroutine"),
    "file_written_in_an_import": (
        "async",
        "await service.imports('late_writer')",
        "io.TextIOWrapper.write() in a coroutine",
    ),
    "version_read_by_the_service": ("async", "await service.asks_for_a_version()", "in asks_for_a_version"),
    "file_in_the_service_at_import": ("async", "await service.imports('app.late')", "app/late.py:2 in <module>"),
    "process": (
        "async",
        "subprocess.run(['true'], check=True)",
        "subprocess.Popen.communicate() in a coroutine stops everything else on the loop, tests/",
    ),
    "process_that_is_waited_for": (
        "async",
        """
        child = subprocess.Popen(["sleep", "0.1"])
        try:
            child.wait()
        finally:
            await asyncio.to_thread(child.wait)
        """,
        "subprocess.Popen.wait() in a coroutine",
    ),
    "system": ("async", "os.system('true')", "os.system() in a coroutine"),
    "thread": (
        "async",
        """
        thread = threading.Thread(target=time.sleep, args=[0.1])
        thread.start()
        thread.join()
        """,
        "threading.Thread.join() in a coroutine",
    ),
    "lock": ("async", "with held_lock(): pass", "threading.Lock.acquire() in a coroutine"),
    "lock_with_a_timeout": ("async", "held_lock().acquire(timeout=0.1)", "threading.Lock.acquire() in a coroutine"),
    "queue_of_threads": ("async", "queue.Queue().get(timeout=0.1)", "queue.Queue.get() in a coroutine"),
    "event_of_threads": ("async", "threading.Event().wait(0.1)", "threading.Event.wait() in a coroutine"),
    "future_of_threads": (
        "async",
        "concurrent.futures.Future().result(0.1)",
        "concurrent.futures._base.Future.result() in a coroutine",
    ),
    "computing": ("async", "compute(0.8)", " in compute: asyncio.to_thread(…)"),
    "computing_in_the_service": ("async", "await service.computes(0.8)", "app/service.py:"),
    "computing_in_one_call": (
        "async",
        "assert max(range(10_000_000)) and compute(0.5) is None",
        "s of computing without a pause in task",
    ),
    "computing_in_a_callback": (
        "async",
        """
        asyncio.get_running_loop().call_soon(compute, 0.8)
        await asyncio.sleep(0)
        """,
        "s of computing without a pause in <Handle compute(0.8)",
    ),
    "never_awaited": ("async", "work()", "coroutine 'work' was never awaited"),
    "never_awaited_in_a_cycle": (
        "async",
        """
        cycle = [work()]
        cycle.append(cycle)
        """,
        "coroutine: work() was called and never awaited, begun at tests/",
    ),
}

TWINS = {
    "run_outside": ("sync", "asyncio.run(work())"),
    "run_in_a_thread": ("async", "await asyncio.to_thread(asyncio.run, work())"),
    "run_on_purpose": (
        "async",
        """
        with pytest.raises(RuntimeError):
            asyncio.run(DONE)  # on purpose: shows what happens
        """,
    ),
    "queue": ("async", "queue = asyncio.Queue(); queue.put_nowait(1); assert await queue.get() == 1"),
    "lock_made_before_its_loop": (
        "sync",
        """
        lock = asyncio.Lock()
        async def use():
            async with lock:
                pass
        asyncio.run(use())
        """,
    ),
    "sleep": ("async", "await asyncio.sleep(0.001)"),
    "sleep_on_purpose": ("async", "time.sleep(0.001)  # on purpose: shows what happens"),
    "sleep_in_a_thread": ("async", "await asyncio.to_thread(time.sleep, 0.001)"),
    "sleep_outside": ("sync", "time.sleep(0.001)"),
    "process": ("async", "child = await asyncio.create_subprocess_exec('true'); await child.wait()"),
    "process_in_a_thread": ("async", "await asyncio.to_thread(subprocess.run, ['true'], check=True)"),
    "process_that_has_ended": (
        "async",
        """
        child = subprocess.Popen(["true"])
        while child.poll() is None:
            await asyncio.sleep(0.01)
        child.wait()
        """,
    ),
    "thread_that_has_ended": (
        "async",
        """
        thread = threading.Thread(target=int)
        thread.start()
        while thread.is_alive():
            await asyncio.sleep(0.01)
        thread.join()
        """,
    ),
    "free_lock": ("async", "with threading.Lock(), threading.RLock(): pass"),
    "lock_that_is_not_waited_for": ("async", "assert not held_lock().acquire(blocking=False)"),
    "kinds_of_locks": (
        "sync",
        "assert isinstance(threading.RLock(), type(threading.RLock())) and threading.Lock() != 1",
    ),
    "queue_that_holds_something": ("async", "made = queue.Queue(); made.put(1); assert made.get() == 1"),
    "queue_that_is_not_waited_for": (
        "async",
        """
        with pytest.raises(queue.Empty):
            queue.Queue().get_nowait()
        """,
    ),
    "future_that_is_done": (
        "async",
        "future = concurrent.futures.Future(); future.set_result(1); assert future.result() == 1",
    ),
    "pool_of_threads": (
        "async",
        """
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            await asyncio.get_running_loop().run_in_executor(pool, int)
            await asyncio.to_thread(pool.shutdown)
        """,
    ),
    "loop_with_a_pool": ("sync", "asyncio.run(asyncio.to_thread(int))"),
    "computing_in_a_thread": ("async", "await asyncio.to_thread(compute, 0.8)"),
    "computing_with_pauses": (
        "async",
        """
        for _ in range(4):
            compute(0.2)
            await asyncio.sleep(0)
        """,
    ),
    "computing_on_purpose": (
        "async",
        """
        end = time.thread_time() + 0.8
        while time.thread_time() < end: pass  # on purpose: shows what happens
        """,
    ),
    "computing_outside": ("sync", "compute(0.8)"),
    "computing_for_a_moment": ("async", "compute(0.2)"),
    "computing_that_is_allowed": ("async", "await service.may_compute(compute)"),
    "a_step_that_is_long_because_the_machine_is_busy": ("async", "time.sleep(0.8)  # on purpose: it takes no CPU time"),
    "file_in_a_test": ("async", "Path(__file__).read_text()"),
    "allowed_file": ("async", "await service.may_read(Path(__file__))"),
    "import_of_a_library_that_reads": ("async", "await service.imports('late_reader')"),
    "version_read_by_a_library": ("async", "await service.asks_a_library('versioned')"),
    "awaited": ("async", "await work()"),
    "closed": ("async", "work().close()"),
}


OF_THE_ENGINE = """\
from pathlib import Path

async def test_reads_below_the_engine():
    Path(__file__).read_text()
"""


def _test(name: str, kind: str, body: str) -> str:
    body = textwrap.dedent(body).strip()
    given = "tmp_path" if "tmp_path" in body else ""
    return f"\n{'async def' if kind == 'async' else 'def'} test_{name}({given}):\n{textwrap.indent(body, '    ')}\n"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, pool: object) -> Ended:
    """One run: every fault, each with a neighbour right after it, and every harmless twin."""
    code = HEAD + f"REDIS = {pool.get('redis').url!r}\nDONE = None\n"  # type: ignore[attr-defined]
    for name, (kind, body, _) in FAULTS.items():
        code += _test(f"does_{name}", kind, body)
        code += f"\nasync def test_after_{name}():\n    gc.collect()\n    await asyncio.sleep(0)\n"
    for name, (kind, body) in TWINS.items():
        code += _test(f"twin_{name}", kind, body)
    files = {
        "tests/mission_critical/test_planted.py": code,
        "app/__init__.py": "",
        "app/service.py": SERVICE,
        "commitstream/tests/mission_critical/test_engine.py": OF_THE_ENGINE,
        **IMPORTED,
    }
    allowed = (
        '[tool.guards.may_block]\n"app/service.py:may_read" = "a small file"\n"app/service.py:may_compute" = "once"\n'
    )
    folders = ("tests", "commitstream/tests")
    return run_planted(tmp_path_factory.mktemp("loops"), files, "--mode=integration", *folders, pyproject=allowed)


@pytest.mark.parametrize("name", FAULTS)
def test_whoever_does_it_fails_with_the_line(run: Ended, name: str) -> None:
    outcome = run.of(f"test_does_{name}")

    assert outcome.failed, run.output
    assert FAULTS[name][2] in outcome.words


@pytest.mark.parametrize("name", FAULTS)
def test_the_next_test_is_not_blamed(run: Ended, name: str) -> None:
    assert run.of(f"test_after_{name}").failed == {}


@pytest.mark.parametrize("name", TWINS)
def test_the_same_done_well_passes(run: Ended, name: str) -> None:
    assert run.of(f"test_twin_{name}").failed == {}, run.output


def test_a_test_below_the_engine_may_read_a_file(run: Ended) -> None:
    assert run.of("test_reads_below_the_engine").failed == {}, run.output


FIRST_CALL = """\
from redis.asyncio import Redis

async def pings(url):
    async with Redis.from_url(url) as client:
        return await client.ping()
"""


def test_the_first_call_of_redis_from_the_service_passes(
    tmp_path_factory: pytest.TempPathFactory, pool: object
) -> None:
    test = f"from app import store\n\nasync def test_it():\n    assert await store.pings({pool.get('redis').url!r})\n"  # type: ignore[attr-defined]
    files = {"app/__init__.py": "", "app/store.py": FIRST_CALL, "tests/mission_critical/test_planted.py": test}

    run = run_planted(tmp_path_factory.mktemp("first"), files, "--mode=integration")

    assert run.code == 0, run.output


AT_IMPORT = {
    "a queue": ("QUEUE = asyncio.Queue()", "asyncio.Queue() at import, tests/"),
    "a lock in a class": ("class Room:\n    lock = asyncio.Lock()", "asyncio.Lock() at import, tests/"),
    "a loop": ("LOOP = asyncio.get_event_loop()", "asyncio.get_event_loop() at import, tests/"),
    "a Redis client": ("CLIENT = Redis()", "Redis() at import, tests/"),
    "an engine": ("ENGINE = create_async_engine('sqlite+aiosqlite://')", "AsyncEngine() at import, tests/"),
}


@pytest.fixture(scope="module")
def imports(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    head = HEAD.replace("from app import service\n", "")
    test = "\nasync def test_it():\n    await work()\n"
    files = {f"tests/unit/test_{number}.py": head + code + test for number, (code, _) in enumerate(AT_IMPORT.values())}
    later = "\ndef later():\n    return asyncio.Queue(), Redis(), create_async_engine('sqlite+aiosqlite://')\n"
    return run_planted(tmp_path_factory.mktemp("imports"), {**files, "tests/unit/test_later.py": head + later + test})


@pytest.mark.parametrize("name", AT_IMPORT)
def test_what_is_made_at_import_fails_its_own_module(imports: Ended, name: str) -> None:
    number = list(AT_IMPORT).index(name)

    outcome = imports.outcomes[f"tests/unit/test_{number}.py"]

    assert AT_IMPORT[name][1] in outcome.failed["collect"]


def test_what_is_made_later_passes(imports: Ended) -> None:
    assert imports.outcomes["tests/unit/test_later.py"].failed == {}, imports.output


SCOPES = """
import pytest, pytest_asyncio

@pytest_asyncio.fixture({arguments})
async def planted():
    yield 1

async def test_it(planted):
    assert planted == 1
"""

REFUSED = {
    "no loop": ('scope="module"', "async fixture planted outlives a test (scope module) and names no loop"),
    "a loop that ends first": ('scope="session", loop_scope="function"', "outlives its loop (loop_scope function)"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_fixture_that_outlives_a_test_must_say_in_which_loop(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    arguments, words = REFUSED[name]

    run = run_planted(
        tmp_path_factory.mktemp("scopes"), {"tests/unit/test_planted.py": SCOPES.format(arguments=arguments)}
    )

    assert run.code == pytest.ExitCode.INTERRUPTED
    assert list(run.outcomes["tests/unit/test_planted.py"].failed) == ["collect"]
    assert f"tests/unit/test_planted.py:4: {words.split(' (')[0]}" in run.output or words in run.output
    assert 'loop_scope="session")' in run.output


@pytest.mark.parametrize(
    "arguments", ["", 'scope="session", loop_scope="session"', 'scope="module", loop_scope="session"']
)
def test_a_fixture_that_says_so_is_left_alone(arguments: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    run = run_planted(
        tmp_path_factory.mktemp("scopes"), {"tests/unit/test_planted.py": SCOPES.format(arguments=arguments)}
    )

    assert run.code == 0, run.output
