"""Each fault breaks what it says, for as long as it says, on every provider; and afterwards all is well at the same address."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import pytest
import redis as redis_client

from test_framework import CHECKOUT, reaper
from test_framework.faults.breakable import Breakable, BreakablePool
from test_framework.services import small_disk
from test_framework.services.bundled import bundled
from test_framework.services.drivers.redis import Redis
from test_framework.services.lifecycle import Lifecycle
from test_framework.services.stack import Stack
from test_framework.services.state import ServiceName, State
from test_framework.tests.kit.services.conftest import OURS, log_in, on
from test_framework.tests.kit.services.remains import Remains, gone_within
from test_framework.waiting import comes_true

both = pytest.mark.parametrize("service", ["redis", "postgres"])


@pytest.fixture(scope="module", params=on(*sorted(OURS)))
def breakable(request: pytest.FixtureRequest, binaries_on_path: None) -> Iterator[BreakablePool]:
    """Servers to break, on each provider that has servers of its own."""
    with BreakablePool(request.param, say=lambda line: None) as pool:
        yield pool


def ask(service: Breakable, seconds: float = 3.0) -> str:
    return log_in(service.name, service.url, seconds)


def is_away(service: Breakable) -> bool:
    try:
        ask(service, 1.0)
    except Exception:  # noqa: BLE001 - however a driver says it
        return True
    return False


@both
@pytest.mark.parametrize("fault", ["paused", "killed", "stopped"])
async def test_a_service_is_away_for_the_block_and_then_back_where_it_was(
    breakable: BreakablePool, service: ServiceName, fault: str
) -> None:
    broken = breakable.get(service)
    address = broken.url

    async with getattr(broken, fault)():
        assert is_away(broken)

    assert broken.url == address
    assert ask(broken)


@both
def test_a_restarted_service_comes_back_while_the_block_goes_on(breakable: BreakablePool, service: ServiceName) -> None:
    broken = breakable.get(service)
    address, starts = broken.url, starts_of(broken)

    with broken.restarted():
        comes_true(lambda: not is_away(broken), "an answer from the restarted service", 20)

    assert starts_of(broken) == starts + 1
    assert broken.url == address


def starts_of(broken: Breakable) -> int:
    return broken.lifecycle.provider.logs(broken.name, 1000).lower().count("ready to accept connections")


def test_a_fault_ends_before_its_block_where_that_is_asked_for(breakable: BreakablePool) -> None:
    redis = breakable.get("redis")

    with redis.paused(for_=0.3):
        assert redis.observe().state is State.PAUSED
        comes_true(lambda: redis.observe().state is State.HEALTHY, "the end of the fault", 20)


def test_a_fault_ends_with_its_block_whatever_happens_there(breakable: BreakablePool) -> None:
    redis = breakable.get("redis")

    with pytest.raises(ZeroDivisionError), redis.killed(for_=60):
        raise ZeroDivisionError

    assert ask(redis)


async def test_what_was_committed_outlives_a_kill(breakable: BreakablePool) -> None:
    postgres = breakable.get("postgres")
    table = f"kept_{secrets.token_hex(4)}"
    url = postgres.url.replace("+asyncpg", "")
    connection = await asyncpg.connect(url)
    await connection.execute(f"CREATE TABLE {table} AS SELECT 42 AS answer")

    async with postgres.killed():
        with pytest.raises((OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)):
            await connection.fetchval("SELECT 1")

    connection = await asyncpg.connect(url)
    assert await connection.fetchval(f"SELECT answer FROM {table}") == 42
    await connection.execute(f"DROP TABLE {table}")
    await connection.close()


def test_a_delayed_network_is_late_by_that_and_by_no_more_than_the_jitter(breakable: BreakablePool) -> None:
    redis = breakable.get("redis")
    with redis_client.Redis.from_url(redis.url, socket_timeout=10) as client:
        calm = statistics.median(timed(client.ping) for _ in range(5))
        with breakable.network.delayed(60):
            late = [timed(client.ping) for _ in range(3)]
        with breakable.network.delayed(60, 100):
            jittery = [timed(client.ping) for _ in range(8)]

        assert min(late) >= 0.12
        assert calm < min(late) / 4
        assert min(jittery) >= 0.12
        assert max(jittery) - min(jittery) > 0.02
        assert statistics.median(timed(client.ping) for _ in range(5)) < 0.06


def test_a_delay_may_be_for_one_service_alone(breakable: BreakablePool) -> None:
    redis, postgres = breakable.get("redis"), breakable.get("postgres")

    with breakable.network.delayed(300, 0, "postgres"):
        assert timed(lambda: ask(postgres)) > 0.6
        assert timed(lambda: ask(redis)) < 0.6


@both
def test_a_cut_network_lets_nobody_through_and_breaks_who_is(breakable: BreakablePool, service: ServiceName) -> None:
    broken = breakable.get(service)
    identity = broken.identity
    with redis_client.Redis.from_url(breakable.get("redis").url, socket_timeout=5) as client:
        connection = client.client_id()

        with breakable.network.cut():
            assert is_away(broken)
            assert broken.observe().state is State.HEALTHY

        assert client.client_id() != connection
    assert ask(broken)
    assert broken.identity == identity


def test_broken_connections_are_made_anew(breakable: BreakablePool) -> None:
    with redis_client.Redis.from_url(breakable.get("redis").url, socket_timeout=5) as client:
        connection = client.client_id()

        breakable.network.broken("redis")

        with contextlib.suppress(
            redis_client.ConnectionError
        ):  # the first to use it may be told, where a network would
            client.ping()
        assert client.client_id() != connection


@pytest.mark.parametrize("provider", on(*sorted(OURS), small_disk=True))
async def test_a_full_disk_refuses_to_write_and_takes_it_again_afterwards(
    provider: str, binaries_on_path: None
) -> None:
    with BreakablePool(provider, say=lambda line: None, storage="small") as pool:
        postgres = pool.get("postgres")
        connection = await asyncpg.connect(postgres.url.replace("+asyncpg", ""))
        await connection.execute("CREATE TABLE filled (text text)")
        fill = "INSERT INTO filled SELECT repeat('x', 1000) FROM generate_series(1, 1000)"

        async with pool.disk.full():
            with pytest.raises(asyncpg.DiskFullError, match="No space left on device"):
                await connection.execute(fill)

        await connection.execute(fill)
        assert await connection.fetchval("SELECT count(*) FROM filled") == 1000
        await connection.close()
        disk = pool.stack.directory
    assert not disk.exists()


@pytest.mark.parametrize("wanted", ["external", "auto"])
def test_what_was_given_or_is_warm_is_never_broken(wanted: str, dev: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    warm = Lifecycle(dev, bundled(dev))
    warm.ensure("redis")
    if wanted == "external":
        monkeypatch.setenv("REDIS_URL", warm.provider.url("redis"))

    with BreakablePool(wanted, say=lambda line: None, checkout=dev.checkout) as pool:
        own = pool.get("redis")
        assert own.lifecycle.stack != dev
        with own.killed():
            assert Redis().check_url(warm.provider.url("redis"))


VICTIM = """
import sys, time
from test_framework.faults.breakable import BreakablePool
provider, storage = sys.argv[1:]
with BreakablePool(provider, storage=storage, say=lambda line: None) as pool:
    redis, postgres = pool.get("redis"), pool.get("postgres")
    with redis.paused(), postgres.killed(), pool.network.cut():
        print(pool.run, flush=True)
        time.sleep(60)
"""


@pytest.mark.parametrize(
    ("provider", "storage"),
    [
        pytest.param(*case.values, storage, marks=case.marks)
        for storage in ("kept", "small")
        for case in on(*sorted(OURS), small_disk=storage == "small")
    ],
)
def test_killed_tests_leave_nothing_of_what_they_broke(provider: str, storage: str, binaries_on_path: None) -> None:
    command = [sys.executable, "-c", VICTIM, provider, storage]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=CHECKOUT, start_new_session=True) as victim:
        assert victim.stdout is not None
        remains = Remains(Stack.of_a_run(victim.stdout.readline().strip()))
        assert remains.look(containers=provider == "compose")

        os.killpg(victim.pid, signal.SIGKILL)

    assert gone_within(10.0, lambda: remains.look(containers=provider == "compose")) is not None, remains.found


def timed(step: Callable[[], object]) -> float:
    began = time.perf_counter()
    step()
    return time.perf_counter() - began


@pytest.mark.needs("mount")
def test_a_small_disk_is_mounted_without_a_program_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    register, folder = tmp_path / "register", tmp_path / "disk"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(tmp_path))

    try:
        small_disk.mount(folder, register)
        mounted = folder.is_mount()
    finally:
        left = reaper.end_registered(register)

    assert (mounted, left, folder.is_mount()) == (True, [], False)
