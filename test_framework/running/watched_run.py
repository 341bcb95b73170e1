"""The guards' ears in a run: pytest says what happens, and they say what to fail with. All judgement is in `guards/`."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from test_framework.guards.leaks.ledger import LeakVerdict, name_of_wider, verdict_on
from test_framework.guards.runtime import RuntimeGuards

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

GUARDS = pytest.StashKey[RuntimeGuards]()
FAILED = pytest.StashKey[bool]()
OVER_BUDGET = pytest.StashKey[str]()
TIME = pytest.StashKey[Any]()
CLEAN_UP_SECONDS = 5.0


def guards_of(config: pytest.Config) -> RuntimeGuards:
    """The guards that watch this run."""
    return config.stash[GUARDS]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("guards")
    group.addoption(
        "--leaks", default="fail", choices=[*LeakVerdict], help="what becomes of a test that leaves something"
    )
    group.addoption(
        "--async-debug", action="store_true", help="asyncio's debug mode, and what held up the loop for 0.1 s"
    )


def pytest_configure(config: pytest.Config) -> None:
    verdict, debug = LeakVerdict(config.getoption("--leaks")), config.getoption("--async-debug")
    basetemp = partial(_temporary_folder, config)
    config.stash[GUARDS] = RuntimeGuards(config.rootpath, verdict, basetemp, async_debug=debug)
    config.stash[GUARDS].start()


def _temporary_folder(config: pytest.Config) -> str:
    """Where `tmp_path` lies, if anybody has asked for one: pytest clears that itself."""
    factory = getattr(config, "_tmp_path_factory", None)
    return str(getattr(factory, "_basetemp", None) or "")


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Generator[None, Any, Any]:
    """What a wider fixture begins is its own; what a loop does is watched."""
    guards = guards_of(request.config)
    with guards.fixture(fixturedef, name_of_wider(fixturedef, request.config.rootpath)):
        made = yield
    if isinstance(made, asyncio.Runner):
        guards.loop_made(made)
        if fixturedef.scope == "function":
            fixturedef.addfinalizer(guards.loop_ends)  # its runner would cancel what is left, in silence
    return made


def pytest_fixture_post_finalizer(fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest) -> None:
    guards_of(request.config).fixture_ended(fixturedef)


@pytest.fixture(autouse=True)
def _nothing_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Look at what there is before a test's own fixtures begin, and after they have ended."""
    guards, node = guards_of(request.config), request.node
    with guards.test(node.nodeid) as left:
        yield
    if slow := guards.slow_callbacks():
        node.user_properties.append(("guards.slow_callbacks", slow))
    # what failed, or was interrupted, was in the middle of something: that it left things is no news
    ended = not node.stash.get(FAILED, False) and node.session.exitstatus != pytest.ExitCode.INTERRUPTED
    if left and ended:
        node.user_properties.append(("guards.leaks", left))
        if guards.verdict is LeakVerdict.FAIL:
            pytest.fail(verdict_on(left, node.nodeid), pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, Any, Any]:
    return (yield from _with_offences(item))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    return (yield from _with_offences(item))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, Any, Any]:
    _clean_up_in_time(item)
    return (yield from _with_offences(item))


@pytest.hookimpl(tryfirst=True, optionalhook=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> None:
    item.stash[TIME] = settings


def _clean_up_in_time(item: pytest.Item) -> None:
    """Give what has failed as much time again, or enough: its timer stopped when it failed, for whoever would debug it."""
    settings = item.stash.get(TIME, None)
    if item.stash.get(FAILED, False) and settings is not None and not settings.func_only:
        again = settings._replace(timeout=max(settings.timeout, CLEAN_UP_SECONDS))
        item.config.hook.pytest_timeout_set_timer(item=item, settings=again)


def _with_offences(item: pytest.Item) -> Generator[None, Any, Any]:
    """Fail the phase in which something was done wrong, also if the error was swallowed."""
    guards = guards_of(item.config)
    try:
        result = yield
    except BaseException:
        guards.after_phase()
        raise
    if offence := guards.after_phase():
        pytest.fail(offence, pytrace=False)
    if late := guards.late():
        item.user_properties.append(("guards.leaks", late))
        if guards.verdict is LeakVerdict.FAIL:
            pytest.fail(verdict_on(late, "what outlives a test"), pytrace=False)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    report: pytest.TestReport = yield
    item.stash[FAILED] = report.failed or item.stash.get(FAILED, False)
    _refuse_skip(report, item.config)
    if said := guards_of(item.config).said_at_timeout():
        report.sections.append(("who waited for what", said))
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, Any, Any]:
    report: pytest.CollectReport = yield
    _refuse_skip(report, collector.config)
    from test_framework.guards.loops.scopes import faults_at_collection

    if faults := faults_at_collection(report.result, collector.config.rootpath):
        report.outcome, report.result = "failed", []
        report.longrepr = "\n".join(faults)
    return report


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport, config: pytest.Config) -> None:
    """Fail a skip whose reason nobody has agreed to."""
    if report.skipped and not hasattr(report, "wasxfail"):
        from test_framework.guards.skips import unknown_reason

        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if refusal := unknown_reason(reason, config.rootpath):
            report.outcome = "failed"
            report.longrepr = f"{report.nodeid} is {refusal}"


@pytest.hookimpl(wrapper=True)
def pytest_terminal_summary(terminalreporter: TerminalReporter, config: pytest.Config) -> Generator[None]:
    """Tell what was left behind where that fails nobody, what held up the loop, and which skips are too many."""
    guards = guards_of(config)
    for reports in list(terminalreporter.stats.values()):
        for report in reports:
            if getattr(report, "when", "") == "teardown" or getattr(report, "failed", False):
                for line in guards.worth_telling(report.nodeid, dict(getattr(report, "user_properties", ()))):
                    terminalreporter.write_line(line)
    if over := config.stash.get(OVER_BUDGET, None):
        terminalreporter.write_line(over, red=True)
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None]:
    """A run that skipped more than it can afford is not green."""
    reporter: TerminalReporter | None = session.config.pluginmanager.getplugin("terminalreporter")
    skipped = [] if reporter is None or hasattr(session.config, "workerinput") else reporter.stats.get("skipped", [])
    if skipped:
        from test_framework.guards.skips import over_budget
        from test_framework.modes import chosen

        each = [f"{report.nodeid}: {report.longrepr[2]}" for report in skipped]
        if over := over_budget(each, chosen(session.config.getoption("--mode")), session.config.rootpath):
            session.config.stash[OVER_BUDGET] = over
            if session.exitstatus in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED
    return (yield)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    if (guards := config.stash.get(GUARDS, None)) is not None:
        guards.stop()
