"""Whoever leaves something behind fails, with the line where it began; whoever cleans up passes; nobody else is touched."""

from __future__ import annotations

import textwrap

import pytest

from test_framework.running.planted import Ended
from test_framework.tests.kit.guards.planted import run_planted

pytestmark = pytest.mark.timeout(250)  # each run has a hundred tests, and some wait for their leak to end

HEAD = """\
import asyncio, contextlib, ctypes, decimal, gc, locale, logging, os, signal, socket, subprocess, sys, tempfile
import concurrent.futures, multiprocessing, threading, time, unittest.mock

import pytest, pytest_asyncio
import websockets
from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from test_framework.service_pool import ServicePool

KEPT = []
QUIT = threading.Event()

def a_library():
    with open("/proc/self/maps") as maps:
        return next(word for line in maps for word in line.split() if ".so" in word)

async def for_ever():
    await asyncio.Event().wait()

async def echo(connection):
    async for message in connection:
        await connection.send(message)

@contextlib.asynccontextmanager
async def listening():
    async with websockets.serve(echo, "127.0.0.1", 0) as server:
        yield "ws://127.0.0.1:%d" % server.sockets[0].getsockname()[1]
"""

LEAKS = {
    "task": ("async", "KEPT.append(asyncio.create_task(for_ever(), name='pump'))", "task: 'pump', waiting at"),
    "task_of_a_task": (
        "async",
        """
        async def begin():
            KEPT.append(asyncio.create_task(for_ever(), name='grandchild'))
        await asyncio.create_task(begin())
        """,
        "task: 'grandchild'",
    ),
    "coroutine_that_is_kept": ("sync", "KEPT.append(for_ever())", "coroutine: for_ever() was called and never awaited"),
    "thread": ("sync", "threading.Thread(target=QUIT.wait, name='worker', daemon=True).start()", "thread: 'worker'"),
    "child": (
        "sync",
        "KEPT.append(subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE))",
        "child",
    ),
    "zombie": (
        "sync",
        "KEPT.append(os.posix_spawn('/bin/true', ['true'], {}))",
        "nobody has waited for it (a zombie)",
    ),
    "file": ("sync", "KEPT.append(open(__file__))", "open file or socket: /"),
    "library": ("sync", "KEPT.append(open(a_library(), 'rb'))", "open file or socket: /"),
    "socket": ("sync", "KEPT.append(socket.create_server(('127.0.0.1', 0)))", " at ('127.0.0.1'"),
    "temporary_folder": ("sync", "tempfile.mkdtemp(prefix='planted-')", "temporary file: /"),
    "temporary_file": ("sync", "os.close(tempfile.mkstemp(prefix='planted-')[0])", "was not removed"),
    "variable": ("sync", "os.environ['PLANTED'] = '1'", "environment variable: PLANTED was set"),
    "variable_taken_away": ("sync", "del os.environ['PATH']", "environment variable: PATH was taken away"),
    "signal_handler": ("sync", "signal.signal(signal.SIGUSR1, lambda *_: None)", "signal handler: SIGUSR1"),
    "logging_handler": (
        "sync",
        "logging.getLogger('a').addHandler(logging.StreamHandler())",
        "logging handler: logger 'a'",
    ),
    "working_folder": ("sync", "os.chdir('/')", "working folder: was changed to /"),
    "import_path": ("sync", "sys.path.append('/planted')", "sys.path: was changed"),
    "umask": ("sync", "os.umask(0o70)", "umask: was changed to 0o70"),
    "disabled_logging": ("sync", "logging.disable(logging.ERROR)", "logging.disable: was changed to 40"),
    "exception_handler": (
        "async",
        "asyncio.get_running_loop().set_exception_handler(lambda *_: None)",
        "exception handler of the loop: is now ",
    ),
    "socket_timeout": ("sync", "socket.setdefaulttimeout(5)", "default timeout of sockets: was changed to 5.0"),
    "time_zone": (
        "sync",
        """
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TZ", "Planted-3")
            time.tzset()
        """,
        "time zone: was changed to ('Planted', 'Planted')",
    ),
    "locale": ("sync", "locale.setlocale(locale.LC_TIME, 'C.UTF-8')", "locale: was changed to "),
    "decimal_context": ("sync", "decimal.getcontext().prec = 5", "decimal context: was changed to (5, "),
    "garbage_collection": ("sync", "gc.disable()", "garbage collection: was changed to (False, "),
    "started_mock": ("sync", "unittest.mock.patch('os.getlogin').start()", "mock.patch: was changed to ("),
    "orphan": ("sync", "subprocess.run(['sh', '-c', 'sleep 61 &'], check=True)", "(sleep 61)"),
    "process_pool": (
        "sync",
        """
        pool = concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
        assert pool.submit(os.getppid).result() == os.getpid()
        KEPT.append(pool)
        """,
        "child process: ",
    ),
    "session": (
        "async",
        """
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/a.db")
        session = AsyncSession(engine)
        await session.execute(text("SELECT 1"))
        KEPT.extend([engine, session])
        """,
        "database session: a transaction of Session is still open",
    ),
    "connection": (
        "async",
        """
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/a.db")
        KEPT.extend([engine, await engine.connect()])
        """,
        "database connection: was taken out of its pool and not given back",
    ),
    "engine": (
        "async",
        """
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/a.db")
        async with engine.connect():
            KEPT.append(engine)
        """,
        "database engine: its pool still holds 1 connections",
    ),
    "redis": (
        "async",
        "client = Redis.from_url(REDIS); await client.ping(); KEPT.append(client)",
        "Redis connection: to ",
    ),
    "subscription": (
        "async",
        """
        client = Redis.from_url(REDIS)
        pubsub = client.pubsub()
        await pubsub.subscribe('planted')
        KEPT.extend([client, pubsub])
        """,
        "Redis subscription: to planted still stands",
    ),
    "services": (
        "sync",
        "pool = ServicePool('bundled'); KEPT.append(pool); pool.get('redis')",
        "services of a run: run",
    ),
    "websocket": (
        "async",
        """
        server = listening()
        KEPT.extend([server, await websockets.connect(await server.__aenter__())])
        """,
        "WebSocket: a client's connection is still open",
    ),
}

TWINS = {
    "task": ("async", "task = asyncio.create_task(for_ever()); task.cancel()"),
    "task_about_to_end": ("async", "KEPT.append(asyncio.create_task(asyncio.sleep(0.05)))"),
    "coroutine": ("sync", "for_ever().close()"),
    "thread": ("sync", "t = threading.Thread(target=time.sleep, args=[0.05]); t.start()"),
    "pool_of_the_loop": ("async", "await asyncio.to_thread(time.monotonic)"),
    "child": ("sync", "subprocess.run([sys.executable, '-c', ''], check=True)"),
    "orphan_that_ends": ("sync", "subprocess.run(['sh', '-c', 'sleep 0.05 &'], check=True)"),
    "process_pool": (
        "sync",
        """
        with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            assert pool.submit(os.getppid).result() == os.getpid()
        """,
    ),
    "process_pool_after_that": (
        "sync",
        """
        spawn = multiprocessing.get_context("spawn")
        with spawn.Pool(1) as pool:
            pool.map(time.sleep, [0.01])
        pool.join()
        """,
    ),
    "disabled_logging": ("sync", "logging.disable(logging.ERROR); logging.disable(logging.NOTSET)"),
    "exception_handler": (
        "async",
        """
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda *_: None)
        loop.set_exception_handler(None)
        """,
    ),
    "decimal_context": ("sync", "with decimal.localcontext() as context: context.prec = 5"),
    "mock": ("sync", "with unittest.mock.patch('os.getlogin'): pass"),
    "child_of_the_loop": (
        "async",
        "child = await asyncio.create_subprocess_exec(sys.executable, '-c', ''); await child.wait()",
    ),
    "file": ("sync", "open(__file__).close()"),
    "library_that_keeps_its_own_file_open": (
        "sync",
        "assert ctypes.CDLL(None).open(a_library().encode(), os.O_RDONLY) > 0",
    ),
    "socket": ("sync", "socket.create_server(('127.0.0.1', 0)).close()"),
    "temporary_folder": ("sync", "tempfile.TemporaryDirectory().cleanup()"),
    "temporary_folder_of_pytest": ("sync", "tempfile.mkdtemp(dir=tmp_path)"),
    "variable": ("sync", "monkeypatch.setenv('PLANTED', '1')"),
    "working_folder": ("sync", "monkeypatch.chdir('/')"),
    "import_path": ("sync", "monkeypatch.syspath_prepend('/planted')"),
    "signal_handler": (
        "sync",
        "before = signal.signal(signal.SIGUSR1, signal.SIG_IGN); signal.signal(signal.SIGUSR1, before)",
    ),
    "logging_handler": (
        "sync",
        "logger, handler = logging.getLogger('a'), logging.NullHandler(); logger.addHandler(handler)",
    ),
    "engine": (
        "async",
        """
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/a.db")
        async with AsyncSession(engine) as session:
            await session.execute(text("SELECT 1"))
        await engine.dispose()
        """,
    ),
    "redis": (
        "async",
        """
        async with Redis.from_url(REDIS) as client, client.pubsub() as pubsub:
            await pubsub.subscribe('planted')
        """,
    ),
    "websocket": (
        "async",
        """
        async with listening() as url, websockets.connect(url) as connection:
            await connection.send("a")
        """,
    ),
    "services": (
        "sync",
        """
        with ServicePool('bundled') as pool:
            pool.get('redis')
        """,
    ),
    "lasting_engine": (
        "async",
        """
        async with lasting_engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
        """,
    ),
    "lasting_redis": ("async", "await lasting_redis.ping()"),
    "lasting_server": (
        "async",
        "KEPT.append(await asyncio.open_connection(*lasting_server)); KEPT.pop()[1].close()",
    ),
    "lasting_variable": ("sync", "assert os.environ['LASTING'] == lasting_variable"),
    "lasting_thread": ("sync", "assert lasting_thread.is_alive()"),
}

WIDER = """
@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def lasting_engine(tmp_path_factory):
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path_factory.mktemp('a')}/a.db")
    yield engine
    await engine.dispose()

@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def lasting_redis():
    async with Redis.from_url(REDIS) as client:
        yield client

@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def lasting_server():
    async def serve(reader, writer):
        try:
            await for_ever()
        finally:
            writer.close()
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()
        for task in asyncio.all_tasks():
            if task.get_coro().__name__ == "serve":
                task.cancel()

@pytest.fixture(scope="module")
def lasting_variable():
    os.environ["LASTING"] = "yes"
    yield "yes"
    del os.environ["LASTING"]

@pytest.fixture(scope="module")
def lasting_thread():
    leave = threading.Event()
    thread = threading.Thread(target=leave.wait)
    thread.start()
    yield thread
    leave.set()
"""


def _test(name: str, kind: str, body: str) -> str:
    body = textwrap.dedent(body).strip()
    given = [fixture for fixture in (*_LASTING, "tmp_path", "monkeypatch") if fixture in body]
    word = "async def" if kind == "async" else "def"
    return f"\n{word} test_{name}({', '.join(given)}):\n{textwrap.indent(body, '    ')}\n"


_LASTING = ("lasting_engine", "lasting_redis", "lasting_server", "lasting_variable", "lasting_thread")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, pool: object) -> Ended:
    """One run: every leak, each with a neighbour right after it, and every harmless twin."""
    url = pool.get("redis").url  # type: ignore[attr-defined]
    code = HEAD + f"REDIS = {url!r}\n" + WIDER
    for name, (kind, body, _) in LEAKS.items():
        code += _test(f"leaves_{name}", kind, body) + f"\nasync def test_after_{name}():\n    await asyncio.sleep(0)\n"
    for name, (kind, body) in TWINS.items():
        code += _test(f"twin_{name}", kind, body)
    return run_planted(
        tmp_path_factory.mktemp("leaks"), {"tests/mission_critical/test_planted.py": code}, "--mode=integration"
    )


@pytest.mark.parametrize("name", LEAKS)
def test_whoever_leaves_something_behind_fails_and_is_told_what_and_where(run: Ended, name: str) -> None:
    outcome = run.of(f"test_leaves_{name}")

    assert list(outcome.failed) == ["teardown"], run.output
    assert LEAKS[name][2] in outcome.words
    assert "test_planted.py::test_leaves_" in outcome.words
    if name not in SILENCED_FAILURES:
        assert f" in {'begin' if name == 'task_of_a_task' else f'test_leaves_{name}'}" in outcome.words
    assert LEAKS[name][2] in "\n".join(outcome.properties["guards.leaks"])


SILENCED_FAILURES = {
    "signal_handler",
    "logging_handler",
    "import_path",
    "umask",
    "disabled_logging",
    "exception_handler",
    "socket_timeout",
    "time_zone",
    "locale",
    "decimal_context",
    "garbage_collection",
    "started_mock",
}
"""Python announces none of these, so the test is named and not the line."""


@pytest.mark.parametrize("name", LEAKS)
def test_the_next_test_is_not_blamed(run: Ended, name: str) -> None:
    assert run.of(f"test_after_{name}").failed == {}


@pytest.mark.parametrize("name", TWINS)
def test_whoever_cleans_up_is_left_alone(run: Ended, name: str) -> None:
    assert run.of(f"test_twin_{name}").failed == {}, run.output


WIDER_ONE = """
import pytest, threading

@pytest.fixture(scope="module")
def forgetful():
    leave = threading.Event()
    threading.Thread(target=leave.wait, name="forgotten", daemon=True).start()
    yield leave

def test_uses_it(forgetful):
    assert not forgetful.is_set()

def test_uses_it_last(forgetful):
    assert not forgetful.is_set()

"""
SCOPES = ("class", "module", "session")
PROCESSES = {
    "child": "subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE)",
    "orphan": "subprocess.run(['sh', '-c', 'sleep 61 >/dev/null 2>&1 &'], check=True)",
}
WIDER_PROCESS = """
import subprocess, sys

import pytest

KEPT = []


@pytest.fixture(scope="{scope}")
def forgetful():
    KEPT.append({process})
    yield


@pytest.fixture(scope="{scope}")
def tidy():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        yield child
        child.communicate()


class TestOfTheFixtures:
    def test_uses_them(self, forgetful, tidy):
        assert tidy.poll() is None

    def test_uses_them_last(self, forgetful, tidy):
        assert tidy.poll() is None
"""
VERDICTS = """
import threading

def test_leaves_a_thread():
    threading.Thread(target=threading.Event().wait, name="own", daemon=True).start()

def test_fails_and_leaves_a_thread():
    threading.Thread(target=threading.Event().wait, name="beside", daemon=True).start()
    assert not "what the test is about"
"""


RESTLESS = """
import contextvars, subprocess, sys

import pytest


@pytest.fixture(scope="session")
def lasting_child():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield child
    assert child.poll() is None, "somebody ended it"
    child.communicate()


@pytest.fixture(scope="module")
def restless():
    context = contextvars.copy_context()
    yield
    context.run(subprocess.run, ["true"], check=True)


def test_begins_it(lasting_child):
    assert lasting_child.poll() is None

def test_begins_something_else(restless):
    assert restless is None
"""


def test_a_process_of_somebody_else_is_not_taken_for_what_was_begun_last(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    planted = run_planted(
        tmp_path_factory.mktemp("restless"), {"tests/unit/test_planted.py": RESTLESS}, "-p", "no:randomly"
    )

    assert planted.code == 0, planted.output


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ended]:
    """The same leaks under each verdict."""
    files = {"tests/unit/test_wider.py": WIDER_ONE, "tests/unit/test_planted.py": VERDICTS}
    return {
        verdict: run_planted(tmp_path_factory.mktemp(verdict), files, f"--leaks={verdict}")
        for verdict in ("fail", "warn", "off")
    }


def test_a_wider_fixture_that_leaves_something_is_named_where_it_ends(verdicts: dict[str, Ended]) -> None:
    run = verdicts["fail"]

    assert run.of("test_uses_it").failed == {}
    words = run.of("test_uses_it_last").failed["teardown"]
    assert "the module fixture forgetful (tests/unit/test_wider.py:4) left behind thread: 'forgotten'" in words


def test_a_test_that_failed_for_its_own_reason_keeps_that_reason_and_what_it_left_is_no_news(
    verdicts: dict[str, Ended],
) -> None:
    outcome = verdicts["fail"].of("test_fails_and_leaves_a_thread")

    assert list(outcome.failed) == ["call"]
    assert "guards.leaks" not in outcome.properties


def test_warn_tells_of_a_leak_and_fails_nobody(verdicts: dict[str, Ended]) -> None:
    run = verdicts["warn"]

    assert run.of("test_leaves_a_thread").failed == {}
    assert "test_planted.py::test_leaves_a_thread left behind thread: 'own'" in run.output
    assert "'forgotten'" in run.output


def test_off_does_not_look(verdicts: dict[str, Ended]) -> None:
    outcome = verdicts["off"].of("test_leaves_a_thread")

    assert (outcome.failed, outcome.properties) == ({}, {})


@pytest.fixture(scope="module")
def wider_processes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ended]:
    """A fixture of each scope that leaves each kind of process, beside one that ends its own."""
    return {
        f"{scope} {kind}": run_planted(
            tmp_path_factory.mktemp("wider"),
            {"tests/unit/test_wider.py": WIDER_PROCESS.format(scope=scope, process=process)},
        )
        for scope in SCOPES
        for kind, process in PROCESSES.items()
    }


@pytest.mark.parametrize("kind", PROCESSES)
@pytest.mark.parametrize("scope", SCOPES)
def test_a_process_that_a_wider_fixture_leaves_is_a_leak(
    wider_processes: dict[str, Ended], scope: str, kind: str
) -> None:
    run = wider_processes[f"{scope} {kind}"]

    assert run.of("test_uses_them").failed == {}, run.output
    words = run.of("test_uses_them_last").failed["teardown"]
    assert f"the {scope} fixture forgetful (tests/unit/test_wider.py:9) left behind child process: " in words
    assert "tidy" not in words


DEAF = """
import asyncio, gc, logging

async def fails():
    raise ValueError("planted")

async def fail_in_the_background():
    task = asyncio.create_task(fails())
    await asyncio.sleep(0)
    del task
    gc.collect()

async def test_disables_logging():
    logging.disable(logging.CRITICAL)

async def test_fails_afterwards():
    await fail_in_the_background()

async def test_takes_the_exception_handler():
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)

async def test_fails_after_that():
    await fail_in_the_background()

async def test_fails_while_logging_is_disabled():
    logging.disable(logging.CRITICAL)
    await fail_in_the_background()
    logging.disable(logging.NOTSET)

async def test_fails_while_the_handler_is_taken():
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    await fail_in_the_background()
    asyncio.get_running_loop().set_exception_handler(None)

async def test_fails_nowhere():
    await asyncio.sleep(0)
"""


@pytest.fixture(scope="module")
def deaf(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """Tests that try to silence what fails in the background, each before one that fails there."""
    return run_planted(tmp_path_factory.mktemp("deaf"), {"tests/unit/test_planted.py": DEAF})


@pytest.mark.parametrize(
    "name", ["afterwards", "after_that", "while_logging_is_disabled", "while_the_handler_is_taken"]
)
def test_a_failure_in_the_background_is_seen_although_logging_is_silenced(deaf: Ended, name: str) -> None:
    assert "ValueError('planted')" in deaf.of(f"test_fails_{name}").words, deaf.output


def test_a_neighbour_of_what_fails_in_the_background_passes(deaf: Ended) -> None:
    assert deaf.of("test_fails_nowhere").failed == {}, deaf.output
