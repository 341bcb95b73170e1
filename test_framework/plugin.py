"""The only file that knows pytest's hooks; it wires the kit's rooms into a run."""

from __future__ import annotations

import gc
import os
import sys
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from test_framework.isolation.levels import MARKER_LINE, level_of
from test_framework.modes import VARIABLE, WHAT_IS_REAL, Mode, chosen
from test_framework.reporting.recording import RecordedRun
from test_framework.running import memory, needs, telling
from test_framework.running.selection import ORDERS
from test_framework.running.whole_run import WholeRun

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

    from test_framework.service_pool import ServicePool
    from test_framework.services.statistics import Share

pytest.register_assert_rewrite("tests", "test_framework.tests")  # or an assert in a helper says nothing when it fails

pytest_plugins = [
    "test_framework.browser",
    "test_framework.faults.fixtures",
    "test_framework.fixtures",
    "test_framework.isolation.fixtures",
    "test_framework.websocket.shared_server",
    "test_framework.running.watched_run",
    "pytester",
]

MODE = pytest.StashKey[Mode]()
POOL = pytest.StashKey["ServicePool | None"]()
SHARE = pytest.StashKey["Share"]()
RECORDED = pytest.StashKey[RecordedRun]()
RUN = "service_pool_run"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("modes")
    group.addoption("--mode", default=None, help=f"what is real: {', '.join(Mode)} (or {VARIABLE}=…)")
    group.addoption("--without-model", action="store_true", help="in full, leave out the tests that need a real model")
    group.addoption("--delays", type=float, default=0.0, metavar="MS", help="hold tasks back by up to so many ms")
    group.addoption("--order", choices=ORDERS, default="random", help="in which order tests run")
    group.addoption("--no-record", action="store_true", help="write no record of this run under .reports/")
    group.addoption("--share-out", action="store_true", help="share a whole suite out among the processors")
    group.addoption("--shard", default=None, metavar="I/N", help="run the I-th of N shares of the tests, e.g. 2/4")


@pytest.hookimpl(wrapper=True)
def pytest_cmdline_main(config: pytest.Config) -> Generator[None, object, object]:
    """Share a whole suite out if that is asked for; what somebody selects is sooner done by one."""
    settled = hasattr(config, "workerinput") or config.option.numprocesses is not None
    selected = config.args_source is config.ArgsSource.ARGS
    watched = config.getoption("usepdb") or config.getoption("trace")
    if config.getoption("--share-out") and not (settled or selected or watched):
        config.option.numprocesses = (os.cpu_count() or 1) + 1  # tests wait as well as work
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
    except ValueError as error:
        raise pytest.UsageError(str(error)) from None
    config.addinivalue_line("markers", needs.MARKER)
    config.stash[POOL] = None
    config.addinivalue_line("markers", MARKER_LINE)
    _follow_the_rules_of_the_house(config)
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
    if config.getoption("--delays"):
        config.pluginmanager.import_plugin("test_framework.proving.delays")
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
    """What is collected stays: no garbage collection need look through it again and again."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, bool, bool]:
    """Let what the kit tells meanwhile be told of this test; keep no memory that only its module has needed."""
    telling.listen(item.user_properties)
    try:
        return (yield)
    finally:
        telling.listen(None)
        if nextitem is None or nextitem.path != item.path:
            memory.give_back()


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
    """Say why a run is red where it is read: last, below pytest's own list."""
    yield
    pool = config.stash[POOL]
    if pool is not None:
        from test_framework.services.statistics import lines

        found = pool.statistics
        for line in lines(share_of(config), found.peak, found.opened, found.stopped):
            terminalreporter.write_line(line)
        config.stash[RECORDED].told_of_services(share_of(config), found.stopped)
    if terminalreporter.stats.keys() & {"failed", "error"}:
        from test_framework.errors import terminal

        terminal.show(terminalreporter)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: object) -> None:
    """Tell an xdist worker which run's services it shares."""
    config: pytest.Config = node.config  # type: ignore[attr-defined]
    if config.stash[MODE] is not Mode.LIGHTWEIGHT:
        pool = pool_of(config)
        pool.shared = True
        node.workerinput[RUN] = pool.run  # type: ignore[attr-defined]


def pool_of(config: pytest.Config) -> ServicePool:
    """The services of this run: owned by the controller, shared by its workers, started by the first who asks."""
    pool = config.stash[POOL]
    if pool is None:
        if config.stash[MODE] is Mode.LIGHTWEIGHT:
            raise RuntimeError("lightweight starts no service: have the test say needs(…), or move it to integration/")
        from test_framework.running.watched_run import guards_of
        from test_framework.service_pool import ServicePool

        worker: dict[str, str] | None = getattr(config, "workerinput", None)
        if worker is not None:
            pool = ServicePool.join(worker[RUN], worker=worker["workerid"])
        else:
            pool = ServicePool()
            with guards_of(config).of_the_run("the services"):
                pool.begin()
        pool.around = lambda: guards_of(config).of_the_run("the services")
        config.stash[POOL] = pool
    return pool


def share_of(config: pytest.Config) -> Share:
    """What this process, and in the controller all workers, did with the services."""
    from test_framework.services.statistics import Share

    return config.stash.setdefault(SHARE, Share())


@pytest.fixture(scope="session")
def service_share(pytestconfig: pytest.Config) -> Share:
    """Where what is counted about services goes."""
    return share_of(pytestconfig)


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


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand a worker's share of the statistics over; the owner ends its services here, so that the summary can tell of it."""
    if "hypothesis" not in sys.modules:  # its part of the summary would import it for nothing, which takes 70 ms
        session.config.pluginmanager.unregister(name="hypothesispytest")
    pool = session.config.stash[POOL]
    if pool is None:
        return
    share = share_of(session.config)
    healed = Counter(healed.service for healed in pool.statistics.healed)
    share.add({"started": pool.statistics.started, "healed": dict(healed)})
    if pool.owner:
        pool.stop_all()
    else:
        session.config.workeroutput[RUN] = share.plain()  # type: ignore[attr-defined]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object) -> None:
    """Add up what a worker that has ended says of its services; one that crashed says nothing."""
    output: dict[str, dict[str, object]] = getattr(node, "workeroutput", {})
    if RUN in output:
        share_of(node.config).add(output[RUN])  # type: ignore[attr-defined]


def pytest_unconfigure(config: pytest.Config) -> None:
    pool = config.stash.get(POOL, None)
    if pool is not None and pool.owner:
        pool.stop_all()
