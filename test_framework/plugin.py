"""The pytest plugin: options, selection and fixtures; it registers the plugins of `running/` and `reporting/`."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Generator
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from test_framework.isolation.levels import MARKER_LINE, level_of
from test_framework.modes import VARIABLE, WHAT_IS_REAL, Mode, chosen, missing_for_a_model
from test_framework.project import ProjectError, named_project
from test_framework.reporting.recording import RecordedRun
from test_framework.running import lost_connections, machine, needs, reality, telling
from test_framework.running.memory import Memory
from test_framework.running.reality import MODE, POOL, share_of
from test_framework.running.selection import ORDERS
from test_framework.running.whole_run import WholeRun

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter


pytest.register_assert_rewrite(
    "tests", "test_framework.tests", "commitstream.tests"
)  # or an assert in a helper says nothing when it fails

pytest_plugins = [
    "test_framework.browser",
    "test_framework.faults.fixtures",
    "test_framework.fixtures",
    "test_framework.isolation.fixtures",
    "test_framework.websocket.shared_server",
    "test_framework.running.watched_run",
    "pytester",
]

RECORDED = pytest.StashKey[RecordedRun]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("modes")
    group.addoption("--mode", default=None, help=f"what is real: {', '.join(Mode)} (or {VARIABLE}=…)")
    group.addoption("--without-model", action="store_true", help="in full, leave out the tests that need a real model")
    group.addoption("--model-if-set", action="store_true", help="as --without-model where no model's settings are set")
    # >>> template only
    group.addoption("--delays", type=float, default=0.0, metavar="MS", help="hold tasks back by up to so many ms")
    # <<< template only
    group.addoption("--order", choices=ORDERS, default="random", help="in which order tests run")
    group.addoption("--no-record", action="store_true", help="write no record of this run under .reports/")
    group.addoption("--share-out", action="store_true", help="share a whole suite out among the processors")
    group.addoption("--shard", default=None, metavar="I/N", help="run the I-th of N shares of the tests, e.g. 2/4")


def workers_of(mode: str | None) -> int:
    """Return how many workers share a whole suite: one more than processors, since tests wait as well as work.

    In full each test has server processes besides, which use the processors and the memory of one more worker.
    """
    processors = os.cpu_count() or 1
    return processors if mode == Mode.FULL else processors + 1


@pytest.hookimpl(wrapper=True)
def pytest_cmdline_main(config: pytest.Config) -> Generator[None, object, object]:
    """Share a whole suite out if that is asked for; what somebody selects is sooner done by one."""
    settled = hasattr(config, "workerinput") or config.option.numprocesses is not None
    selected = config.args_source is config.ArgsSource.ARGS
    watched = config.getoption("usepdb") or config.getoption("trace")
    if config.getoption("--share-out") and not (settled or selected or watched):
        config.option.numprocesses = workers_of(config.getoption("--mode"))
        config.option.dist = "worksteal"
    return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    if sys.flags.optimize:
        raise pytest.UsageError(
            "Python drops asserts under -O and PYTHONOPTIMIZE, so nothing here could fail: unset it"
        )
    try:
        config.stash[MODE] = chosen(config.getoption("--mode"))
        needs.demand_whole_model(config.stash[MODE])
        if config.getoption("--model-if-set") and missing_for_a_model():
            config.option.without_model = True
        named_project(config.rootpath)
    except (ValueError, ProjectError) as error:
        raise pytest.UsageError(str(error)) from None
    config.addinivalue_line("markers", needs.MARKER)
    machine.raise_file_limit()
    lost_connections.ignore_writes()
    config.stash[POOL] = None
    config.addinivalue_line("markers", MARKER_LINE)
    _follow_the_rules_of_the_house(config)
    config.pluginmanager.register(reality, reality.__name__)
    config.pluginmanager.register(Memory(), "memory")
    config.pluginmanager.register(WholeRun(config, config.stash[MODE]))
    config.stash[RECORDED] = RecordedRun(config, config.stash[MODE])
    config.pluginmanager.register(config.stash[RECORDED])
    if wanted := config.getoption("--shard"):
        _run_one_shard(config, wanted)


def _follow_the_rules_of_the_house(config: pytest.Config) -> None:
    """A worker that died takes its share of the truth along, so nobody takes its place; an order can be chosen."""
    if config.getoption("trace") and getattr(config.option, "numprocesses", None):
        raise pytest.UsageError("--trace needs the terminal that the workers of -n have not got: use -n0")
    if getattr(config.option, "maxworkerrestart", "") is None:
        config.option.maxworkerrestart = "0"
    # >>> template only
    if config.getoption("--delays"):
        config.pluginmanager.import_plugin("test_framework.proving.delays")
    # <<< template only
    if config.getoption("--order") != "random":
        config.option.randomly_reorganize = False


def _run_one_shard(config: pytest.Config, wanted: str) -> None:
    from test_framework.running.sharded_run import ShardedRun
    from test_framework.sharding import Shard, ShardError

    try:
        config.pluginmanager.register(ShardedRun(config, Shard.parse(wanted), config.stash[MODE]))
    except ShardError as error:
        raise pytest.UsageError(str(error)) from None


def pytest_report_header(config: pytest.Config) -> str:
    mode = config.stash[MODE]
    return f"mode: {mode} (real: {WHAT_IS_REAL[mode]})"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse an isolation that there is none of."""
    for item in items:
        try:
            level_of(item)
        except ValueError as error:
            raise pytest.UsageError(str(error)) from None


def pytest_collection_finish(session: pytest.Session) -> None:
    """What is collected stays: no garbage collection need look through it again and again, nor when the process ends."""
    if not session.config.option.collectonly:
        gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, bool, bool]:
    """Let what the kit tells meanwhile be told of this test."""
    telling.listen(item.user_properties)
    try:
        return (yield)
    finally:
        telling.listen(None)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep why a test failed beside its report, while its frames still live."""
    report = yield
    if report.outcome == "failed":
        with suppress(ImportError, OSError):  # where no descriptor is left, say: the report then goes on alone
            from test_framework.errors import capture

            capture.of_test(item, call, report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if report.outcome == "failed":
        with suppress(ImportError, OSError):
            from test_framework.errors import capture

            capture.of_collection(collector, report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: TerminalReporter, config: pytest.Config) -> Generator[None, None, None]:
    """Record the services before the run is summed up, and print why it is red last, below pytest's own list."""
    pool = config.stash[POOL]
    if pool is not None:
        config.stash[RECORDED].told_of_services(share_of(config), pool.statistics.stopped)
    yield
    if pool is not None:
        from test_framework.services.statistics import lines

        found = pool.statistics
        for line in lines(share_of(config), found.peak, found.opened, found.stopped):
            terminalreporter.write_line(line)
    if terminalreporter.stats.keys() & {"failed", "error"}:
        from test_framework.errors import terminal

        terminal.show(terminalreporter)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if "hypothesis" not in sys.modules:  # its part of the summary would import it for nothing, which takes 70 ms
        session.config.pluginmanager.unregister(name="hypothesispytest")
