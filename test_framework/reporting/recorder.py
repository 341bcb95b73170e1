"""The record of a run: pytest-reportlog's stream, line by line, between what was known at its start and at its end.

Every line is written when it is known, so that a run that is killed leaves all that happened until then. Whoever can't
write says so once, at the end, and leaves the tests alone.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from pytest_reportlog.plugin import ReportLogPlugin

from test_framework.reporting.facts import RunPart
from test_framework.reporting.naming import RunName
from test_framework.reporting.sampler import Sampler

FORMAT = 1
TYPE = "$report_type"
_ENCODER = json.JSONEncoder(default=str, separators=(",", ":"))
Line = dict[str, object]


class Recorder(ReportLogPlugin):  # type: ignore[misc]
    """Writes the record of one run, in the process that owns the run."""

    def __init__(self, config: pytest.Config, path: Path, name: RunName, facts: Mapping[str, object]) -> None:
        super().__init__(config, path)
        self.path = path
        self.name = name
        self.trouble: OSError | None = None
        self.dead_workers: list[str] = []
        self.part: RunPart | None = None
        self.exit_code: int | None = None
        self._lock = threading.Lock()
        self._running = ""
        self._collected = False
        self._sampler = Sampler(self._sample)
        self.write("RunStart", {"format": FORMAT, "time": time.time(), **vars(name), **facts})

    def write(self, kind: str, content: Mapping[str, object]) -> None:
        """Add one line of our own."""
        self._write_json_data({**content, TYPE: kind})

    def finish(self, content: Mapping[str, object]) -> None:
        """Write the last line, and close."""
        self._sampler.stop()
        self.write("RunFinish", {"time": time.time(), **content})
        with suppress(OSError):
            self.close()

    def _write_json_data(self, data: Line) -> None:
        """Write a line, and stop at the first that can't be written: a record with a hole would lie."""
        data.pop("node", None)
        try:
            line = _ENCODER.encode(_slim(data)) + "\n"
        except (ValueError, TypeError) as error:
            line = json.dumps({TYPE: "Unwritable", "of": str(data.get(TYPE)), "why": repr(error)}) + "\n"
        with self._lock:
            if self.trouble is not None or self._file is None:
                return
            try:
                self._file.write(line)
                self._file.flush()
            except OSError as error:
                self.trouble = error
                with suppress(OSError):
                    self._file.close()

    def begin(self) -> None:
        """Write that the session begins, and look at its resources from now on."""
        super().pytest_sessionstart()
        self._sampler.start()

    def _sample(self, sample: Line) -> None:
        self.write("Sample", {**sample, "test": self._running})

    def _collection(self, tests: Sequence[str]) -> None:
        if not self._collected:
            self._collected = True
            self.write("Collection", {"tests": list(tests)})

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        if session.items:
            self._collection([item.nodeid for item in session.items])

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        self._collection(ids)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._running = nodeid
        self.write("TestStart", {"nodeid": nodeid, "time": time.time()})

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodeready(self, node: object) -> None:
        self.write("WorkerUp", {"worker": _worker(node), "time": time.time()})

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: object, error: object) -> None:
        """A worker that was lost between two tests would otherwise be replaced in silence."""
        worker = _worker(node)
        if error:
            self.dead_workers.append(worker)
        told = getattr(node, "workeroutput", None) or {}
        facts = {key: value for key, value in told.items() if key not in _OF_XDIST}
        self.write("WorkerDown", {"worker": worker, "time": time.time(), "error": str(error or ""), "facts": facts})

    def pytest_terminal_summary(self, terminalreporter: object) -> None:
        """Keep silent: the run's summary tells where the record is."""


_OF_XDIST = frozenset({"exitstatus", "shouldfail", "shouldstop", "sharding"})


def _worker(node: object) -> str:
    gateway = getattr(node, "gateway", None)
    return str(getattr(gateway, "id", node))


def _slim(data: Line) -> Line:
    """Leave out what a passing phase says at length and nobody reads again."""
    if data.get("outcome") == "passed" and data.get("when"):
        return {**data, "keywords": {}, "sections": []}
    return data
