"""The wheel of commitstream, installed far from this checkout, runs the application that docs/engine.md shows."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import shutil
import subprocess
import zipfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio
from sqlalchemy import make_url

from commitstream.tests.documents import block_with, command
from test_framework import CHECKOUT
from test_framework.running.hearing import hearing
from test_framework.tests.wheels import BUILD_SECONDS, INSTALL_SECONDS, build, environment, installed
from test_framework.waiting import becomes

START_SECONDS = 20.0
SEEN_SECONDS = 10.0
END_SECONDS = 8.0
ADDRESS = re.compile(r"running on (http://\S+)")
PROVE_ALONE = """
import commitstream, importlib.util
for name in commitstream._MODULES:
    getattr(commitstream, name)
foreign = ["app", "test_framework", "pydantic_ai", "commitstream.tests"]
print(commitstream.__file__, [name for name in foreign if importlib.util.find_spec(name)])
"""

pytestmark = [
    pytest.mark.needs("package_index", "curl"),
    pytest.mark.timeout(BUILD_SECONDS + INSTALL_SECONDS + 60),
]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(CHECKOUT / "commitstream", tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a new virtual environment with the wheel and its dependencies, as the lock pins them."""
    return installed(wheel, CHECKOUT / "requirements.lock", tmp_path_factory.mktemp("elsewhere"))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with the application and the client of the document."""
    (tmp_path / "auction.py").write_text(block_with("install(app, engine)"), encoding="utf-8")
    return tmp_path


@pytest_asyncio.fixture
async def new_database(database_url: str) -> AsyncIterator[str]:
    """A database on the kit's Postgres without any table."""
    url = make_url(database_url)
    name = f"auction_{secrets.token_hex(6)}"
    plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
    connection = await asyncpg.connect(plain)
    try:
        await connection.execute(f"CREATE DATABASE {name}")
        yield url.set(database=name).render_as_string(hide_password=False)
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await connection.close()


@dataclass
class Auction:
    """A process of the application."""

    url: str
    home: Path
    python: Path
    process: asyncio.subprocess.Process

    def spelled(self, text: str) -> str:
        """Return what the document shows, for the port of this process."""
        return text.replace("localhost:8000", self.url.removeprefix("http://"))

    async def bid(self, amount: int) -> str:
        """Place a bid by the lines of the document; return the token."""
        lines = [
            command("token="),
            command("curl -s -X POST").replace("-s ", "-sf ").replace("amount=5", f"amount={amount}"),
        ]
        process = await asyncio.create_subprocess_exec(
            *("bash", "-euc", self.spelled("\n".join([*lines, "echo", "echo $token"]))), stdout=asyncio.subprocess.PIPE
        )
        answer, _ = await asyncio.wait_for(process.communicate(), SEEN_SECONDS)
        assert process.returncode == 0
        return answer.decode().split()[-1]

    @asynccontextmanager
    async def stream(self, token: str, after: int) -> AsyncIterator[Watcher]:
        """Watch by the document's line for server-sent events."""
        line = self.spelled(command("curl -sN")).replace("after=0", f"after={after}")
        async with watching("bash", "-euc", f"token={token}; exec {line}", prefix="data: ") as watcher:
            yield watcher

    @asynccontextmanager
    async def socket(self, token: str, after: int) -> AsyncIterator[Watcher]:
        """Watch by the document's client of the WebSocket."""
        client = self.home / f"watch_{secrets.token_hex(4)}.py"
        client.write_text(self.spelled(block_with("websockets.connect")), encoding="utf-8")
        async with watching(str(self.python), str(client), token, str(after)) as watcher:
            yield watcher


@dataclass
class Watcher:
    process: asyncio.subprocess.Process
    prefix: str

    async def event(self) -> tuple[int, object]:
        """Return the number and the amount of the next event."""
        assert self.process.stdout is not None
        async with asyncio.timeout(SEEN_SECONDS):
            while line := await self.process.stdout.readline():
                frame = self._frame(line.decode())
                if "seq" in frame:
                    return frame["seq"], frame["payload"]["amount"]
        raise AssertionError("the watcher ended without another event")

    def _frame(self, line: str) -> dict[str, Any]:
        return json.loads(line.removeprefix(self.prefix)) if line.startswith(self.prefix or "{") else {}


@asynccontextmanager
async def watching(*words: str, prefix: str = "") -> AsyncIterator[Watcher]:
    process = await asyncio.create_subprocess_exec(
        *words, env=environment(), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        yield Watcher(process, prefix)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@asynccontextmanager
async def served(python: Path, home: Path, given: Mapping[str, str]) -> AsyncIterator[Auction]:
    """Run the application by plain uvicorn until the block ends; it must end although somebody watches."""
    log = home / f"{secrets.token_hex(4)}.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(str(python.with_name("uvicorn")), "auction:app", "--port", "0"),
            cwd=home,
            env=environment(**given),
            stderr=output,
            stdout=output,
            preexec_fn=hearing(),
        )
    try:
        await becomes(lambda: ADDRESS.search(log.read_text()) is not None, "the address of uvicorn", START_SECONDS)
        found = ADDRESS.search(log.read_text())
        assert found is not None
        async with httpx.AsyncClient(base_url=found[1]) as client:

            async def ready() -> bool:
                return (await client.get("/health/ready")).status_code == 200

            await becomes(ready, "a ready application", START_SECONDS)
        yield Auction(found[1], home, python, process)
        process.terminate()
        await asyncio.wait_for(process.wait(), END_SECONDS)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def test_the_same_files_give_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copied"
    shutil.copytree(CHECKOUT / "commitstream", copy, copy_function=shutil.copyfile)  # other times, other modes

    again = build(copy, tmp_path / "dist")

    assert again.name == wheel.name == "commitstream-0.1.0-py3-none-any.whl"
    assert again.read_bytes() == wheel.read_bytes()


def test_the_wheel_holds_the_engine_without_its_tests(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    here = CHECKOUT / "commitstream"
    modules = {file.relative_to(CHECKOUT).as_posix() for file in here.rglob("*.py")}

    assert {name for name in names if name.endswith(".py")} == {
        name for name in modules if not name.startswith("commitstream/tests/")
    }
    assert {"commitstream/py.typed", "commitstream/db/migrations/script.py.mako"} <= set(names)


def test_the_installed_engine_needs_nothing_of_the_checkout(python: Path, tmp_path: Path) -> None:
    ended = subprocess.run(
        [str(python), "-c", PROVE_ALONE],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        check=True,
    )

    file, _, foreign = ended.stdout.strip().partition(" ")
    assert Path(file).is_relative_to(python.parents[1])
    assert foreign == "[]"


async def test_the_documented_application_shows_a_bid_and_resumes(python: Path, home: Path) -> None:
    given = {"COMMITSTREAM_TOKEN_SECRET": secrets.token_urlsafe(48)}
    async with AsyncExitStack() as watchers:
        async with served(python, home, given) as auction:
            token = await auction.bid(5)
            stream = await watchers.enter_async_context(auction.stream(token, after=0))
            socket = await watchers.enter_async_context(auction.socket(token, after=0))
            assert await stream.event() == (1, 5)
            assert await socket.event() == (1, 5)

        async with served(python, home, given) as auction:
            await auction.bid(6)
            stream = await watchers.enter_async_context(auction.stream(token, after=1))
            socket = await watchers.enter_async_context(auction.socket(token, after=1))
            assert await stream.event() == (2, 6)
            assert await socket.event() == (2, 6)
            await auction.bid(7)
            assert await stream.event() == (3, 7)
            assert await socket.event() == (3, 7)


async def test_two_processes_show_the_bids_of_each_other(
    python: Path, home: Path, new_database: str, redis_url: str, redis_namespace: str
) -> None:
    given = {
        "DATABASE_URL": new_database,
        "REDIS_URL": redis_url,
        "COMMITSTREAM_CHANNEL_PREFIX": redis_namespace,
        "COMMITSTREAM_TOKEN_SECRET": secrets.token_urlsafe(48),
    }
    async with AsyncExitStack() as stack:
        one, other = await asyncio.gather(*(stack.enter_async_context(served(python, home, given)) for _ in range(2)))
        token = await one.bid(5)
        async with other.socket(token, after=0) as socket, other.stream(token, after=0) as stream:
            assert await socket.event() == await stream.event() == (1, 5)
            await one.bid(6)
            assert await socket.event() == await stream.event() == (2, 6)
        async with httpx.AsyncClient(base_url=other.url) as client:
            received = re.search(r"^events_received_total (\S+)", (await client.get("/metrics")).text, re.MULTILINE)

    assert received is not None
    assert float(received[1]) >= 1
