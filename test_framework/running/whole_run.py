"""One pytest run as a whole: what it selects, what it leaves out, how it is interrupted, and what its end means.

It follows the run in the controller and in each of its workers; those send what they have counted when they end.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from test_framework.guards.unheard import listening
from test_framework.modes import Mode
from test_framework.running import needs
from test_framework.running.exits import INCOMPLETE, explain, no_end_in_silence
from test_framework.running.interrupts import Interrupts
from test_framework.running.selection import Selection

if TYPE_CHECKING:
    import subprocess

    from _pytest.terminal import TerminalReporter

RECORD = "selection"
ANSWERS = "what_the_machine_lacks"
OUTCOMES = ("passed", "failed", "error", "skipped", "xfailed", "xpassed", "quarantined")


class WholeRun:
    """Registered with pytest for the length of one run."""

    def __init__(self, config: pytest.Config, mode: Mode) -> None:
        self._config = config
        self._worker = hasattr(config, "workerinput")
        asked = [config.invocation_params.dir / argument.partition("::")[0] for argument in config.args]
        answers = needs.Answers(config.workerinput[ANSWERS] if self._worker else None)  # type: ignore[attr-defined]
        self.selection = Selection(mode, config.rootpath, asked, answers)
        self._workers: list[int] = []
        self._interrupts = Interrupts(self._say, worker=self._worker)
        self._exit_status = 0
        self._at_the_end = ExitStack()
        self._at_the_end.enter_context(self._interrupts.routed())
        self._at_the_end.enter_context(no_end_in_silence(self._say))
        self._ear = self._at_the_end.enter_context(listening())

    def pytest_ignore_collect(self, collection_path: Path) -> bool | None:
        """Don't even import what this mode can't run."""
        return True if self.selection.leaves_out(collection_path) else None

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Refuse what can never be had, leave out what this run has not got, and put the rest in order."""
        selection = self.selection
        selection.refused = [line for item in items for line in needs.contradictions(item, selection.root)]
        if selection.refused:
            items.clear()  # a worker can't raise it: its controller does, once it has been told
        away = selection.take(items, without_model=self._config.getoption("--without-model"))
        if away:
            selection.deselected -= len(away)  # they have lines of their own
            self._config.hook.pytest_deselected(items=away)
        if self._config.getoption("--order") == "reverse":
            items.reverse()

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        self.selection.deselected += len(items)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        if session.items:
            self.selection.selected = len(session.items)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self) -> Generator[None, None, None]:
        """Fail a test in whose background something failed."""
        yield
        self._ear.demand_silence()

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Give a worker the answers of this process, or workers could select different tests."""
        node.workerinput[ANSWERS] = self.selection.answers.of(self.selection.mode)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodeready(self, node: Any) -> None:
        """Know whom to tell of an interrupt."""
        process: subprocess.Popen[bytes] | None = getattr(node.gateway._io, "popen", None)
        if process is not None:
            self._workers.append(process.pid)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        """Know how much there was to do, should that worker not live to tell."""
        self.selection.selected = len(ids)

    @pytest.hookimpl(tryfirst=True)
    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """From an interrupt on, the next signal is an order."""
        if excinfo.type is KeyboardInterrupt:  # and not xdist's own kind, which says that it stops by itself
            self._interrupts.interrupted(self._workers)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take over what a worker has left out: all of them leave out the same."""
        record = getattr(node, "workeroutput", {}).get(RECORD)
        if record is not None:
            self.selection.adopt(record)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Have what is incomplete not end as green, and what ends not be interrupted."""
        self._interrupts.ending()
        if self._worker:
            self._config.workeroutput[RECORD] = self.selection.record()  # type: ignore[attr-defined]
        elif self.selection.refused:
            session.exitstatus = pytest.ExitCode.USAGE_ERROR
        elif exitstatus in {0, 5} and self.selection.lacks_a_model:
            session.exitstatus = INCOMPLETE
        self._exit_status = int(session.exitstatus)

    def pytest_terminal_summary(self, terminalreporter: TerminalReporter) -> None:
        for line in self.selection.refused:
            terminalreporter.write_line(line, red=True)
        shown = {report.nodeid for how in OUTCOMES for report in terminalreporter.stats.get(how, [])}
        for line in (*self.selection.left_out(), *self.selection.unfinished(shown, self._interrupts.heard)):
            terminalreporter.write_line(line)
        if meaning := explain(self._exit_status):
            terminalreporter.write_line(meaning, red=True)

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        self._at_the_end.close()

    def _say(self, line: str) -> None:
        """Write a line past pytest's capture, when this process is about to be gone."""
        capture = self._config.pluginmanager.getplugin("capturemanager")
        if capture is not None:
            capture.suspend_global_capture(in_=True)
        print(f"\n{line}", file=sys.stderr, flush=True)
