"""From a run to its record: begin one with the session, sum it up in a few lines, end it with the process.

Nothing here may fail a test or a run: who can't record says why in one line. Only what the record shows to be missing, a
worker that died or a test that never ran, makes a green run red.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from test_framework.modes import Mode

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

    from test_framework.reporting.quarantine import Quarantine
    from test_framework.reporting.recorder import Recorder
    from test_framework.services.state import ServiceName

RECORDER: pytest.StashKey[Recorder] = pytest.StashKey()
TROUBLE = pytest.StashKey[str]()
SESSION = pytest.StashKey[pytest.Session]()
QUARANTINE: pytest.StashKey[Quarantine] = pytest.StashKey()
_NARROWING = (
    "keyword",
    "markexpr",
    "deselect",
    "ignore",
    "ignore_glob",
    "stepwise",
    "lf",
    "failedfirst",
    "without_model",
)


def begin(session: pytest.Session, mode: Mode) -> None:
    """Begin the record of this run, unless it has none: a worker's is its controller's."""
    config = session.config
    option = config.option
    config.stash[SESSION] = session
    if option.no_record or option.collectonly or getattr(option, "setupplan", False) or hasattr(config, "workerinput"):
        return
    from test_framework.reporting import circumstances, naming
    from test_framework.reporting.recorder import Recorder

    provider = "" if mode is Mode.LIGHTWEIGHT else os.environ.get("SERVICES", "auto")
    shard = str(config.getoption("--shard", None) or "")
    name = naming.name_run(os.environ, time.time(), mode=mode, provider=provider, shard=shard)
    facts = {
        "mode": str(mode),
        "provider": provider,
        "seed": str(getattr(option, "randomly_seed", "")),
        "workers": len(getattr(option, "tx", None) or ()) or int(getattr(option, "numprocesses", None) or 0),
        "command": circumstances.command_line(config.invocation_params.args),
        "whole": _is_whole(config),
        **circumstances.of_the_code(config.rootpath),
        **circumstances.of_the_machine(),
        **circumstances.of_ci(),
    }
    directory = config.rootpath / naming.DIRECTORY
    try:
        name, path = naming.make_place(directory, name)
        recorder = Recorder(config, path, name, facts)
    except OSError as error:
        config.stash[TROUBLE] = naming.no_record(error, directory)
        return
    config.stash[RECORDER] = recorder
    config.pluginmanager.register(recorder, "record")
    recorder.begin()


def sum_up(config: pytest.Config, terminal: TerminalReporter) -> None:
    """Print the run's summary from its record; what the record shows to be missing makes a green run red."""
    recorder = config.stash.get(RECORDER, None)
    if recorder is None:
        if trouble := config.stash.get(TROUBLE, ""):
            terminal.write_line(trouble)
        return
    from test_framework.reporting.closing import close_run

    close_run(recorder, config.stash[SESSION], terminal)


def end(config: pytest.Config, cleanup_seconds: float | None) -> None:
    """Write the last line, now that the services are down, and keep the run in the history."""
    recorder = config.stash.get(RECORDER, None)
    if recorder is not None:
        from test_framework.reporting.closing import keep_run

        keep_run(recorder, config.rootpath, cleanup_seconds)


def tell_controller(config: pytest.Config, started: Mapping[ServiceName, float]) -> None:
    """Let the process that records know which services this process waited for."""
    output: dict[str, Any] | None = getattr(config, "workeroutput", None)
    if output is not None:
        output["services"] = dict(started)
    elif config.stash.get(RECORDER, None) is not None and started:
        config.stash[RECORDER].write("Services", {"started": dict(started)})


def note_deselected(items: Sequence[pytest.Item]) -> None:
    """Count what was left out on purpose."""
    for config in {item.config for item in items}:
        output: dict[str, Any] | None = getattr(config, "workeroutput", None)
        if output is not None:
            output["deselected"] = output.get("deselected", 0) + len(items)
        elif config.stash.get(RECORDER, None) is not None:
            config.stash[RECORDER].write("Deselected", {"count": len(items)})


def read_quarantine(config: pytest.Config) -> None:
    """Read the quarantine, and refuse to run with one that can't be kept."""
    from test_framework.reporting.config import ReportConfigError, load_config

    try:
        file = config.rootpath / (own := load_config(config.rootpath)).quarantine
        if file.exists():
            from test_framework.reporting import quarantine

            found = quarantine.load(file, config.rootpath, quarantine.today(), own.quarantine_days)
            config.stash[QUARANTINE] = found
    except (ReportConfigError, ValueError) as error:
        raise pytest.UsageError(str(error)) from None


def check_quarantine(config: pytest.Config, collected: Sequence[str]) -> None:
    """End a run whose quarantine names parameters that no collected test has; a worker leaves that to its controller."""
    found = config.stash.get(QUARANTINE, None)
    if found is None or hasattr(config, "workerinput") or any("::" in argument for argument in config.args):
        return
    try:
        found.check_collected(collected)
    except ValueError as error:
        pytest.exit(str(error), returncode=pytest.ExitCode.USAGE_ERROR)


def mark_quarantined(item: pytest.Item, report: pytest.TestReport) -> None:
    """Let the fall of a quarantined test be told, and redden nothing."""
    found = item.config.stash.get(QUARANTINE, None)
    if found is not None and (entry := found.of(item.nodeid)):
        from test_framework.reporting import quarantine

        quarantine.mark(item, report, entry)


def status_of(report: pytest.TestReport) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
    """Give the fall of a quarantined test its own letter and colour."""
    if report.outcome != "failed" or not hasattr(report, "wasxfail"):
        return None
    from test_framework.reporting.quarantine import is_quarantined

    return ("quarantined", "Q", ("QUARANTINED", {"purple": True})) if is_quarantined(report) else None


def _is_whole(config: pytest.Config) -> bool:
    """Nothing was selected by hand: the arguments are the configured test paths, and no option narrows them."""
    configured = config.args_source is not pytest.Config.ArgsSource.ARGS
    return configured and not any(getattr(config.option, name, None) for name in _NARROWING)
