"""A run that is killed at any moment leaves nothing, and touches nothing of anybody else's."""

from __future__ import annotations

import os
import random
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest

from test_framework import CHECKOUT, reaper
from test_framework.running.hearing import hearing
from test_framework.running.planted import Planted
from test_framework.services import port_leases
from test_framework.services.bundled import bundled
from test_framework.services.compose import ComposeProvider
from test_framework.services.lifecycle import Lifecycle
from test_framework.services.run import Run, is_held, lease_of, sweep
from test_framework.services.stack import Stack, runtime_root
from test_framework.services.state import ServiceName
from test_framework.tests.kit.services.conftest import on
from test_framework.tests.kit.services.remains import Remains, gone_within
from test_framework.waiting import comes_true

VICTIM = """
import asyncio, sys
from test_framework.faults.slow_proxy import slow_proxy
from test_framework.ports import lease
from test_framework.service_pool import ServicePool
provider, run = sys.argv[1:]
with ServicePool(provider, run=run) as pool, lease("victim"):
    print("begun", flush=True)
    postgres, redis = pool.get_all()
    print("up", flush=True)
    if provider != "external":
        redis.pause()

    async def proxied():
        async with slow_proxy(lambda: redis.url):
            print("proxied", flush=True)
            await asyncio.sleep(60)

    asyncio.run(proxied())
"""
USER = """
from pathlib import Path

import pytest


@pytest.mark.parametrize("turn", range(4))
async def test_it(pool, redis_url, database_url, turn):
    Path("run").write_text(pool.run)
"""
MOMENTS = 10
SECONDS = {"bundled": 1.0, "native": 1.0, "external": 1.0, "compose": 2.0}
STARVED = 5
LONGEST = {"bundled": 0.5, "native": 0.5, "external": 0.5, "compose": 2.2}


@pytest.fixture
def bystander() -> Iterator[Lifecycle]:
    """Somebody else's stack, which must not notice anything."""
    run = Run(Stack.of_a_run())
    lifecycle = Lifecycle(run.stack, bundled(run.stack), register=run.stack.register)
    lifecycle.ensure("redis")
    yield lifecycle
    assert run.end() == []


def begin(provider: str, run: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", VICTIM, provider, run],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=hearing(),  # noqa: PLW1509
        cwd=CHECKOUT,
    )


def ways_of(pid: int) -> list[Path]:
    """The folders of proxies whose lease that process holds."""
    held = {file.path for file in psutil.Process(pid).open_files()}
    return [way for way in runtime_root().glob("way-*") if str(lease_of(way)) in held]


@pytest.mark.parametrize("provider", on(*sorted(SECONDS)))
@pytest.mark.timeout(180)
def test_a_run_that_is_killed_leaves_nothing(
    provider: str, bystander: Lifecycle, binaries_on_path: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if provider == "external":
        bystander.ensure("postgres")
        monkeypatch.setenv("REDIS_URL", bystander.provider.url("redis"))
        monkeypatch.setenv("DATABASE_URL", bystander.provider.url("postgres"))
    identity = bystander.provider.identity("redis")
    seed = random.randrange(2**32)
    moments = random.Random(seed)
    runs: list[Remains] = []
    took: list[float] = []

    for _ in range(MOMENTS):
        stack = Stack.of_a_run()
        victim = begin(provider, stack.run)
        moment = moments.uniform(0.02, LONGEST[provider])
        time.sleep(moment)
        os.killpg(victim.pid, signal.SIGKILL)
        victim.wait()

        remains = Remains(stack)
        gone = gone_within(SECONDS[provider] * STARVED, partial(remains.look, containers=provider == "compose"))
        assert gone is not None, f"killed after {moment:.3f} s (seed {seed}): {remains.found}"
        runs.append(remains)
        took.append(gone)

    print(f"\n{provider}: gone after {statistics.median(took):.2f} s, at most {max(took):.2f} s")
    # what the engine was still making for a killed client must not turn up later
    assert [run.found for run in runs if run.look(containers=provider == "compose")] == []
    assert bystander.provider.identity("redis") == identity
    assert bystander.provider.observe("redis").state.runs


def test_a_run_of_tests_that_ends_well_leaves_nothing(tmp_path: Path) -> None:
    planted = Planted(tmp_path)
    planted.file("tests/integration/test_it.py", USER)

    ended = planted.run("--mode=integration", "-n2", SERVICES="bundled")

    assert ended.code == 0, ended.output
    assert Remains(Stack.of_a_run((tmp_path / "run").read_text())).look(containers=False) == []


@pytest.mark.needs("linux")
def test_a_postgres_that_was_killed_gives_its_shared_memory_back() -> None:
    def segments() -> set[str]:
        return {line.split()[1] for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]}

    run = Run(Stack.of_a_run())
    lifecycle = Lifecycle(run.stack, bundled(run.stack), register=run.stack.register)
    lifecycle.ensure("postgres")
    data = bundled(run.stack).data("postgres")
    mine = [(data / "postmaster.pid").read_text().splitlines()[6].split()[1]]
    lifecycle.kill("postgres")
    lifecycle.ensure("postgres")
    mine.append((data / "postmaster.pid").read_text().splitlines()[6].split()[1])
    assert mine[1] in segments()
    lifecycle.kill("postgres")

    assert run.end() == []

    assert segments().isdisjoint(mine)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_run_that_is_told_to_end_leaves_nothing(number: signal.Signals) -> None:
    stack = Stack.of_a_run()
    victim = begin("bundled", stack.run)
    comes_true((stack.directory / "redis.wanted").exists, "the victim's Redis", 10)

    os.killpg(victim.pid, number)
    victim.wait(10)

    assert gone_within(1.0 * STARVED, lambda: Remains(stack).look(containers=False)) is not None


def test_what_a_killed_watchdog_could_not_end_is_ended_by_the_next_run() -> None:
    stack = Stack.of_a_run()
    victim = begin("bundled", stack.run)
    comes_true(lambda: any(list(way.glob("redis*")) for way in ways_of(victim.pid)), "the victim's proxy", 20)
    ways = ways_of(victim.pid)
    (port,) = [port for port, holder in port_leases.leased().items() if holder.pid == victim.pid]
    for process in psutil.Process(victim.pid).children():
        if reaper.COMMAND in process.cmdline():
            process.kill()
    os.killpg(victim.pid, signal.SIGKILL)
    victim.wait()
    assert Remains(stack).look(containers=False)

    sweep()  # unless another run began meanwhile, and did it
    assert gone_within(SECONDS["bundled"] * STARVED, lambda: Remains(stack).look(containers=False)) is not None
    assert [way for way in ways if way.exists() and not is_held(lease_of(way))] == []
    assert list(port_leases.folder().glob(f"{port}.*")) == []


def test_a_run_at_work_is_not_swept() -> None:
    run = Run(Stack.of_a_run())
    assert run.stack.directory.name not in sweep()
    assert run.stack.directory.exists()
    assert run.end() == []


@pytest.mark.parametrize("provider", on("bundled", "compose"))
def test_what_a_killed_test_had_paused_goes_on(provider: str, dev: Stack) -> None:
    service: ServiceName = "redis"
    lifecycle = Lifecycle(dev, ComposeProvider(dev) if provider == "compose" else bundled(dev))
    lifecycle.ensure(service)
    code = PAUSER.format(checkout=str(dev.checkout), provider=provider)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=CHECKOUT) as pauser:
        assert pauser.stdout is not None
        assert pauser.stdout.readline() == b"paused\n"
        pauser.kill()

    unpaused = gone_within(2.0 * STARVED, lambda: [] if lifecycle.provider.glance(service).runs else ["still paused"])

    assert unpaused is not None


PAUSER = """
import time
from pathlib import Path
from test_framework.services.choice import maker
from test_framework.services.lifecycle import Lifecycle
from test_framework.services.stack import Stack
stack = Stack.dev(Path({checkout!r}))
with Lifecycle(stack, maker({provider!r})(stack)).paused("redis"):
    print("paused", flush=True)
    time.sleep(60)
"""
