"""A run that is recorded: it begins a record with the session, sums it up in a few lines, and keeps it in the history.

Nothing here may fail a test or a run: who can't record says why in one line. Only what the record shows to be missing, a
worker that died or a test that never ran, makes a green run red; and a quarantine that can't be kept stops one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from test_framework.modes import Mode
from test_framework.project import named_project
from test_framework.reporting.config import ReportConfig, ReportConfigError, load_config

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

    from test_framework.reporting.quarantine import Quarantine
    from test_framework.reporting.recorder import Recorder
    from test_framework.services.statistics import Share

DESELECTED = "deselected"
Status = tuple[str, str, tuple[str, dict[str, bool]]]
_NARROWING = (
    "keyword", "markexpr", "deselect", "ignore", "ignore_glob", "stepwise", "lf", "failedfirst", "without_model",
)  # fmt: skip


class RecordedRun:
    """Registered with pytest for the length of one run; only the controller's writes a record."""

    def __init__(self, config: pytest.Config, mode: Mode) -> None:
        self._config = config
        self._mode = mode
        self._session: pytest.Session | None = None
        self._recorder: Recorder | None = None
        self._trouble = ""
        self._own = _config_of(config)
        self._quarantine = _quarantine_of(config, self._own)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Begin the record, where tests will run and nobody refused it."""
        self._session = session
        option = self._config.option
        if not (option.no_record or option.collectonly or option.setupplan or hasattr(self._config, "workerinput")):
            self._begin()

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        if not hasattr(self._config, "workerinput"):
            self._check_quarantine([item.nodeid for item in items])

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        self._check_quarantine(ids)

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        """Count what was left out on purpose, and let a worker tell its controller."""
        output: dict[str, Any] | None = getattr(self._config, "workeroutput", None)
        if output is not None:
            output[DESELECTED] = output.get(DESELECTED, 0) + len(items)
        elif self._recorder is not None:
            self._recorder.write("Deselected", {"count": len(items)})

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Let the fall of a quarantined test be told, and redden nothing."""
        report = yield
        if self._quarantine is not None and (entry := self._quarantine.of(item.nodeid)):
            from test_framework.reporting import quarantine

            quarantine.mark(item, report, entry)
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> Status | None:
        """Give that fall a letter and a colour of its own."""
        if self._quarantine is None or report.outcome != "failed" or not hasattr(report, "wasxfail"):
            return None
        return "quarantined", "Q", ("QUARANTINED", {"purple": True})

    def told_of_services(self, share: Share, stopped: float | None) -> None:
        """Keep what the run's services were asked for, and how long it took to end them."""
        if self._recorder is not None:
            self._recorder.write("Services", {**share.plain(), "stopped": stopped})

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: TerminalReporter) -> None:
        """Print the run's summary, out of its record."""
        if self._recorder is not None and self._session is not None:
            from test_framework.reporting.closing import close_run

            close_run(self._recorder, self._session, terminalreporter)
        elif self._trouble:
            terminalreporter.write_line(self._trouble)

    def pytest_unconfigure(self, config: pytest.Config) -> None:
        """Write the last line, and keep the run in the history."""
        if self._recorder is not None:
            from test_framework.reporting.closing import keep_run

            keep_run(self._recorder, config.rootpath)

    def _begin(self) -> None:
        from test_framework.reporting import circumstances, naming
        from test_framework.reporting.recorder import Recorder

        config, option = self._config, self._config.option
        provider = "" if self._mode is Mode.LIGHTWEIGHT else os.environ.get("SERVICES", "auto")
        shard = str(config.getoption("--shard", None) or "")
        name = naming.name_run(os.environ, time.time(), mode=self._mode, provider=provider, shard=shard)
        facts = {
            "mode": str(self._mode),
            "provider": provider,
            "seed": str(getattr(option, "randomly_seed", "")),
            "workers": len(getattr(option, "tx", None) or ()),
            "leaks_watched": str(getattr(option, "leaks", None) or "off") != "off",
            "command": circumstances.command_line(config.invocation_params.args),
            "whole": _is_whole(config),
            "event_types": [*adapter.event_types()] if (adapter := named_project(config.rootpath)) else [],
            **circumstances.of_the_code(config.rootpath),
            **circumstances.of_the_machine(),
            **circumstances.of_ci(),
        }
        directory = config.rootpath / naming.DIRECTORY
        try:
            name, path = naming.make_place(directory, name)
            self._recorder = Recorder(config, path, name, facts)
        except OSError as error:
            self._trouble = naming.no_record(error, directory)
            return
        config.pluginmanager.register(self._recorder, "record")
        self._recorder.begin()

    def _check_quarantine(self, collected: Sequence[str]) -> None:
        """End a run whose quarantine names parameters that no collected test has."""
        if self._quarantine is None or any("::" in argument for argument in self._config.args):
            return
        try:
            self._quarantine.check_collected(collected)
        except ValueError as error:
            pytest.exit(str(error), returncode=pytest.ExitCode.USAGE_ERROR)


def _config_of(config: pytest.Config) -> ReportConfig:
    """Read the project's settings, and refuse to run with some that can't be used."""
    try:
        own = load_config(config.rootpath)
        if own.gates:
            from test_framework.reporting.gates import check_names

            check_names(own.gates)
    except ReportConfigError as error:
        raise pytest.UsageError(str(error)) from None
    return own


def _quarantine_of(config: pytest.Config, own: ReportConfig) -> Quarantine | None:
    """Read the quarantine, and refuse to run with one that can't be kept."""
    file = config.rootpath / own.quarantine
    if not file.exists():
        return None
    from test_framework.reporting import quarantine

    try:
        found = quarantine.load(file, config.rootpath, quarantine.today(), own.quarantine_days)
    except ValueError as error:
        raise pytest.UsageError(str(error)) from None
    return found if found.entries else None


def _is_whole(config: pytest.Config) -> bool:
    """Nothing was selected by hand: the arguments are the configured test paths, and no option narrows them."""
    configured = config.args_source is not pytest.Config.ArgsSource.ARGS
    return configured and not any(getattr(config.option, name, None) for name in _NARROWING)
