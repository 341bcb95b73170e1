"""The only file that knows pytest's hooks; it wires the kit's rooms into a run."""

from __future__ import annotations

import gc
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from test_framework.modes import (
    FOLDERS,
    NEEDS,
    VARIABLE,
    WHAT_IS_REAL,
    Mode,
    chosen,
    left_out,
    modes_of,
    place_of,
)

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

    from test_framework.service_pool import ServicePool

pytest_plugins = [
    "test_framework.fault_fixtures",
    "test_framework.fixtures",
    "test_framework.shared_server",
    "pytester",
]

MODE = pytest.StashKey[Mode]()
POOL = pytest.StashKey["ServicePool | None"]()
RUN = "service_pool_run"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("modes")
    group.addoption("--mode", default=None, help=f"what is real: {', '.join(Mode)} (or {VARIABLE}=…)")
    group.addoption("--shard", default=None, metavar="I/N", help="run the I-th of N shares of the tests, e.g. 2/4")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    if sys.flags.optimize:
        raise pytest.UsageError(
            "Python drops asserts under -O and PYTHONOPTIMIZE, so nothing here could fail: unset it"
        )
    try:
        config.stash[MODE] = chosen(config.getoption("--mode"))
    except ValueError as error:
        raise pytest.UsageError(str(error)) from None
    config.stash[POOL] = None
    if wanted := config.getoption("--shard"):
        _run_one_shard(config, wanted)


def _run_one_shard(config: pytest.Config, wanted: str) -> None:
    from test_framework.sharded_run import ShardedRun
    from test_framework.sharding import Shard, ShardError

    try:
        config.pluginmanager.register(ShardedRun(config, Shard.parse(wanted), config.stash[MODE]))
    except ShardError as error:
        raise pytest.UsageError(str(error)) from None


def pytest_report_header(config: pytest.Config) -> str:
    mode = config.stash[MODE]
    return f"mode: {mode} (real: {WHAT_IS_REAL[mode]})"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Don't even import what this mode can't run; the summary counts it, so that nothing is missing in silence."""
    folder, of_the_kit = place_of(collection_path, config.rootpath)
    away = folder in FOLDERS and config.stash[MODE] not in modes_of(folder, of_the_kit=of_the_kit)
    return True if away else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Refuse a test in a folder that no mode runs."""
    for item in items:
        if place_of(item.path, config.rootpath)[0] not in FOLDERS:
            raise pytest.UsageError(f"no mode runs {item.nodeid}: put it in one of {', '.join(FOLDERS)}")


def pytest_collection_finish(session: pytest.Session) -> None:
    """What is collected stays: no garbage collection need look through it again and again."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep why a test failed beside its report, while its frames still live."""
    report = yield
    if report.outcome == "failed":
        from test_framework.errors import capture

        capture.of_test(item, call, report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if report.outcome == "failed":
        from test_framework.errors import capture

        capture.of_collection(collector, report)
    return report


def pytest_terminal_summary(terminalreporter: TerminalReporter, config: pytest.Config) -> None:
    mode = config.stash[MODE]
    for folder, count in sorted(left_out(config.rootpath, mode).items()):
        others = " or ".join(f"nox -s {other}" for other in Mode if other in FOLDERS[folder])
        terminalreporter.write_line(
            f"not run in {mode}: {count} files of {folder}/, which need {NEEDS.get(folder, 'more')}: {others}"
        )
    pool = config.stash[POOL]
    if pool is not None:
        for name, seconds in pool.statistics.started.items():
            terminalreporter.write_line(f"started {name} in {seconds * 1000:.0f} ms")
    if terminalreporter.stats.keys() & {"failed", "error"}:
        from test_framework.errors import terminal

        terminal.show(terminalreporter)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: object) -> None:
    """Tell an xdist worker which run's services it shares."""
    config: pytest.Config = node.config  # type: ignore[attr-defined]
    if config.stash[MODE] is not Mode.LIGHTWEIGHT:
        node.workerinput[RUN] = pool_of(config).run  # type: ignore[attr-defined]


def pool_of(config: pytest.Config) -> ServicePool:
    """The services of this run: owned by the controller, shared by its workers, started by the first who asks."""
    pool = config.stash[POOL]
    if pool is None:
        from test_framework.service_pool import ServicePool

        worker: dict[str, str] | None = getattr(config, "workerinput", None)
        if worker is not None:
            pool = ServicePool.join(worker[RUN])
        else:
            pool = ServicePool()
            pool.begin()
        config.stash[POOL] = pool
    return pool


@pytest.fixture(scope="session")
def mode(pytestconfig: pytest.Config) -> Mode:
    """What is real in this run."""
    return pytestconfig.stash[MODE]


@pytest.fixture(scope="session")
def pool(pytestconfig: pytest.Config) -> ServicePool:
    """The services of this run; each starts when it is first asked for."""
    return pool_of(pytestconfig)


@pytest.fixture(autouse=True, scope="session")
def _no_network_in_lightweight(mode: Mode) -> Iterator[None]:
    if mode is not Mode.LIGHTWEIGHT:
        yield
        return
    from test_framework.guards.network import loopback_only

    with loopback_only():
        yield


def pytest_unconfigure(config: pytest.Config) -> None:
    pool = config.stash.get(POOL, None)
    if pool is not None and pool.owner:
        pool.stop_all()
