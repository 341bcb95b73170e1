"""Records of runs that really happened: green, red, retried, quarantined, crashed, killed, and where nothing can be written."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from test_framework.reporting.history import History
from test_framework.reporting.model import GateState
from test_framework.reporting.naming import DIRECTORY
from test_framework.reporting.outcome import Outcome
from test_framework.reporting.reading import UnreadableRecordError, parse
from test_framework.reporting.summary import summarise
from test_framework.reporting.views import FORMATS
from test_framework.tests.kit.reporting.suites import DEADLINE_SECONDS, Suite, by_name, lines_of
from test_framework.waiting import becomes

pytestmark = pytest.mark.timeout(150)  # each starts Pythons of its own, on a machine that may be busy

EVERYTHING = """
import pytest

TRIES = []

@pytest.fixture
def without_setup():
    raise RuntimeError("no set-up")

@pytest.fixture
def without_teardown():
    yield
    raise RuntimeError("no tear-down")

def test_good(record_property):
    record_property("events.delivery", {"committed": 3, "published": 3, "received": 3})

def test_bad():
    print("said before it fell")
    assert 1 == 2, "one is not two"

def test_no_setup(without_setup): ...

def test_no_teardown(without_teardown): ...

def test_flaky():
    TRIES.append(1)
    assert len(TRIES) > 1, "only at first"

def test_held():
    assert False, "known to fall"

@pytest.mark.parametrize("n", [1, 2])
def test_each(n):
    assert n == 1

@pytest.mark.skip(reason="not on this machine")
def test_left_out(): ...

@pytest.mark.xfail(reason="not built yet")
def test_to_come():
    assert False

@pytest.mark.xfail(reason="not built yet", strict=False)
def test_already_there(): ...
"""
QUARANTINE = """
[[quarantined]]
test = "tests/unit/test_a.py::test_held"
owner = "@ada"
reason = "waits for the clock"
expires = {expires}

[[quarantined]]
test = "tests/unit/test_a.py::test_each[2]"
owner = "@ada"
reason = "waits for the clock"
expires = {expires}
"""


def soon() -> str:
    from datetime import UTC, datetime, timedelta

    return (datetime.now(UTC).date() + timedelta(days=10)).isoformat()


@pytest.fixture
def everything(tmp_path: Path) -> Suite:
    suite = Suite.of(tmp_path, EVERYTHING)
    (tmp_path / "tests/quarantine.toml").write_text(QUARANTINE.format(expires=soon()))
    return suite


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_run_of_everything_is_recorded_as_it_was(everything: Suite, workers: str) -> None:
    done = everything.run("-n", workers, "--reruns", "1", "-p", "no:randomly")

    part = everything.part()
    results = by_name(part)
    assert {name: result.outcome for name, result in results.items()} == {
        "test_good": Outcome.PASSED,
        "test_bad": Outcome.FAILED,
        "test_no_setup": Outcome.ERROR,
        "test_no_teardown": Outcome.ERROR,
        "test_flaky": Outcome.RETRIED,
        "test_held": Outcome.QUARANTINED,
        "test_each[1]": Outcome.PASSED,
        "test_each[2]": Outcome.QUARANTINED,
        "test_left_out": Outcome.SKIPPED,
        "test_to_come": Outcome.XFAILED,
        "test_already_there": Outcome.XPASSED,
    }
    assert done.code == 1
    assert part.run.complete
    assert part.run.exit_code == 1
    assert (part.run.mode, part.run.workers) == ("lightweight", int(workers))
    assert {result.worker for result in part.results} <= ({"main"} if workers == "0" else {"gw0", "gw1"})
    assert [attempt.phase for attempt in results["test_bad"].attempts] == ["call", "call"]
    assert "one is not two" in results["test_bad"].reason
    assert "said before it fell" in results["test_bad"].falls[-1].detail
    assert [attempt.outcome for attempt in results["test_flaky"].attempts] == [Outcome.FAILED, Outcome.PASSED]
    assert "only at first" in results["test_flaky"].attempts[0].message
    assert results["test_no_setup"].falls[-1].phase == "setup"
    assert results["test_no_teardown"].falls[-1].phase == "teardown"
    assert results["test_left_out"].reason == "not on this machine"
    assert results["test_to_come"].reason == "not built yet"
    assert results["test_good"].facts["events.delivery"] == ({"committed": 3, "published": 3, "received": 3},)


def test_the_numbers_of_pytest_the_record_and_junit_are_the_same(everything: Suite, tmp_path: Path) -> None:
    done = everything.run("--reruns", "1")

    said = {words: int(count) for count, words in re.findall(r"(\d+) (\w+)", done.said.splitlines()[-1])}
    report = summarise([everything.part()])
    assert said["failed"] == report.counts.failed == 1
    assert said["errors"] == report.counts.errors == 2
    assert said["quarantined"] == report.counts.quarantined == 2
    assert said["skipped"] == report.counts.skipped
    assert said["rerun"] == sum(len(result.attempts) - 1 for result in report.results)
    cases = ET.fromstring(FORMATS["junit"](report)).findall(".//testcase")
    assert len(cases) == report.counts.collected == 11
    flaky = [case.get("name") for case in cases if case.find("flakyFailure") is not None]
    assert sorted(filter(None, flaky)) == ["test_each[2]", "test_flaky", "test_held"]
    json.loads(FORMATS["ctrf"](report))


def test_the_end_of_a_run_is_short_and_says_where_its_record_is(everything: Suite) -> None:
    done = everything.run("--reruns", "1")

    (verdict,) = lines_of(done.said, "RED: ")
    (counts,) = lines_of(done.said, "tests     ")
    (record,) = lines_of(done.said, "record    ")
    assert verdict == "RED: 1 failed; 2 had an error (of 11 tests)"
    assert "1 passed after retry" in counts
    assert (everything.root / record.split()[1]).exists()
    assert "QUARANTINED" in everything.run("-v").said


def test_what_is_in_quarantine_falls_without_reddening_the_run(tmp_path: Path) -> None:
    suite = Suite.of(tmp_path, "def test_held():\n    assert False\n\ndef test_good(): ...\n")
    entry = QUARANTINE.format(expires=soon()).split("\n\n")[0]
    (tmp_path / "tests/quarantine.toml").write_text(entry)

    done = suite.run("-x")

    assert done.code == 0, done.said
    assert "1 quarantined" in done.said.splitlines()[-1]
    assert list(lines_of(done.said, "ATTENTION: ")) == ["ATTENTION: 2 tests, none failed, but 1 failed in quarantine"]
    assert by_name(suite.part())["test_held"].quarantined


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ((r"expires = .*", "expires = 2020-01-31"), "expired on 2020-01-31"),
        ((r"::test_held", "::test_gone"), "test_gone names no test"),
        ((r"\[2\]", "[3]"), "no such parameters"),
        ((r"owner", "oner"), "needs owner"),
        ((r"\[\[", "["), "no TOML"),
    ],
)
@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_quarantine_that_cannot_be_kept_stops_the_run(
    everything: Suite, change: tuple[str, str], said: str, workers: str
) -> None:
    file = everything.root / "tests/quarantine.toml"
    file.write_text(re.sub(change[0], change[1], file.read_text()))

    done = everything.run("-n", workers)

    assert done.code == pytest.ExitCode.USAGE_ERROR
    assert said in done.output
    assert "passed" not in done.said


SLOW = """
import os, time, pytest

@pytest.mark.parametrize("n", range(6))
def test_quick(n): ...

def test_slow():
    open("there", "w").close()
    time.sleep(60)

def test_never(): ...
"""


@pytest.mark.needs("posix")
async def test_a_killed_run_leaves_all_that_happened_and_says_that_it_did_not_end(tmp_path: Path) -> None:
    suite = Suite.of(tmp_path, SLOW)
    with suite.begun("-p", "no:randomly"):
        await becomes((tmp_path / "there").exists, "the slow test", DEADLINE_SECONDS)

    part = suite.part()
    results = by_name(part)
    assert not part.run.complete
    assert part.run.exit_code is None
    assert "the record ends before the run did" in part.problems
    assert [results[f"test_quick[{n}]"].outcome for n in range(6)] == [Outcome.PASSED] * 6
    assert (results["test_slow"].outcome, results["test_slow"].reason) == (
        Outcome.NOT_RUN, "it was at work when the run ended",
    )  # fmt: skip
    assert results["test_never"].reason == "the run ended before it"
    assert "did not end by itself" in summarise([part]).verdict.reason


@pytest.mark.needs("posix")
@pytest.mark.parametrize("restarts", [(), ("--max-worker-restart=0",)])
def test_a_worker_that_dies_reddens_the_run_and_is_named(tmp_path: Path, restarts: tuple[str, ...]) -> None:
    suite = Suite.of(tmp_path, "import os\n\ndef test_good(): ...\n\ndef test_deadly():\n    os.kill(os.getpid(), 9)\n")

    done = suite.run("-n", "2", *restarts)

    part = suite.part()
    assert done.code != 0
    assert by_name(part)["test_deadly"].outcome is Outcome.FAILED
    assert by_name(part)["test_deadly"].falls[-1].phase == "crash"
    assert [worker.name for worker in part.workers if worker.error]
    assert "died" in next(lines_of(done.said, "RED: "))


DIES_BETWEEN = """
import os, signal, pytest

@pytest.mark.parametrize("n", range(8))
def test_good(n): ...
"""
DIES_AT_THE_END = """
import os
pytest_plugins = ["test_framework.plugin"]

def pytest_sessionfinish(session):
    if os.environ.get("PYTEST_XDIST_WORKER") == "gw1":
        os.kill(os.getpid(), 9)
"""


@pytest.mark.needs("posix")
def test_a_worker_that_dies_after_its_last_test_reddens_a_run_in_which_every_test_passed(tmp_path: Path) -> None:
    suite = Suite.of(tmp_path, DIES_BETWEEN)
    (tmp_path / "conftest.py").write_text(DIES_AT_THE_END)

    done = suite.run("-n", "2", "--max-worker-restart=0")

    assert "8 passed" in done.said
    assert done.code == 1, done.said
    assert "worker gw1 died" in done.said


def test_a_file_that_cannot_be_imported_is_an_error_of_its_own(tmp_path: Path) -> None:
    suite = Suite.of(tmp_path, "def test_good(): ...\n")
    Suite.of(tmp_path, "import nothing_of_that_name\n", name="test_b.py")

    suite.run("-n", "2")

    (broken,) = [result for result in suite.part().results if result.outcome is Outcome.ERROR]
    assert broken.id == "tests/unit/test_b.py"
    assert "nothing_of_that_name" in broken.falls[0].message


def test_a_run_without_a_record_leaves_nothing(everything: Suite) -> None:
    everything.run("--no-record")

    assert not (everything.root / DIRECTORY).exists()


@pytest.mark.parametrize("arguments", [("--collect-only",), ("--help",), ("--setup-plan",)])
def test_what_runs_no_test_makes_no_record(everything: Suite, arguments: tuple[str, ...]) -> None:
    everything.run(*arguments)

    assert not everything.records


def test_where_nothing_can_be_written_the_tests_run_and_one_line_says_so(tmp_path: Path) -> None:
    suite = Suite.of(tmp_path, "def test_good(): ...\n")
    (tmp_path / DIRECTORY).write_text("in the way")

    done = suite.run()

    assert done.code == 0, done.said
    (said,) = lines_of(done.said, "no record of this run: ")
    assert "--no-record" in said


FILLS_UP = """
import pytest
from test_framework.reporting.recorder import Recorder

pytest_plugins = ["test_framework.plugin"]


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session):
    recorder = session.config.pluginmanager.get_plugin("record")
    if recorder is not None:
        recorder._file.close()
        recorder._file = open("/dev/full", "w", buffering=1)
"""


@pytest.mark.needs("linux")
@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_full_disk_costs_the_record_and_one_line(tmp_path: Path, workers: str) -> None:
    suite = Suite.of(tmp_path, "def test_good(): ...\n\ndef test_too(): ...\n")
    (tmp_path / "conftest.py").write_text(FILLS_UP)

    done = suite.run("-n", workers)

    assert done.code == 0, done.said
    assert "2 passed" in done.said
    (said,) = lines_of(done.said, "no record of this run: ")
    assert "No space left on device" in said


def test_a_record_cut_anywhere_is_read_as_far_as_it_goes(everything: Suite) -> None:
    everything.run("--reruns", "1")
    (path,) = everything.records
    whole = path.read_bytes()
    first = whole.index(b"\n")
    known = {result.id for result in parse(whole.splitlines()).results}

    for cut in range(0, len(whole), 97):
        try:
            part = parse(whole[:cut].splitlines())
        except UnreadableRecordError:
            assert cut <= first + 1
            continue
        assert {result.id for result in part.results} <= known
        report = summarise([part])
        assert sum(report.counts.by_outcome().values()) == report.counts.collected
        assert report.verdict.colour == "red"


def test_damaged_lines_are_named_and_cost_nothing_else(everything: Suite) -> None:
    everything.run()
    (path,) = everything.records
    lines = path.read_text().splitlines()
    whole = parse(lines)

    damaged = parse(
        [*lines[:3], "\x00\x00", "[1]", '{"$report_type": "Sample"}', '{"$report_type": "Later"}', *lines[3:]]
    )

    assert damaged.results == whole.results
    assert len(damaged.problems) == 3


def test_a_run_finds_its_way_into_the_history_by_itself(everything: Suite) -> None:
    for _ in range(2):
        everything.run()

    with History.open(everything.root / DIRECTORY) as history:
        assert len(history.runs()) == 2
        assert not history.ingest_all().taken


def test_the_shards_of_a_ci_job_and_their_repetition_are_one_run(tmp_path: Path) -> None:
    suite = Suite.of(tmp_path, "import pytest\n\n@pytest.mark.parametrize('n', range(6))\ndef test_each(n): ...\n")

    for shard, attempt in (("1/2", "1"), ("2/2", "1"), ("2/2", "2")):
        done = suite.run(*("--shard", shard), GITHUB_RUN_ID="77", GITHUB_JOB="lightweight", GITHUB_RUN_ATTEMPT=attempt)
        assert done.code == 0, done.said

    with History.open(tmp_path / DIRECTORY) as history:
        (run,) = {run.run for run in history.runs()}
        report = summarise(history.parts(run))
    assert report.counts.collected == report.counts.passed == 6
    assert [(shard.attempt, shard.superseded) for shard in report.trust.shards] == [(1, 0), (2, 1)]
    assert report.run.complete


def test_the_history_knows_how_services_began_and_ended(tmp_path: Path) -> None:
    suite = Suite.of(tmp_path, "")
    suite.file("tests/integration/test_it.py", "def test_it(pool): assert pool.get('redis').url\n")

    done = suite.run("--mode=integration", SERVICES="bundled")

    assert done.code == 0, done.said
    with History.open(tmp_path / DIRECTORY) as history:
        report = summarise(history.parts(history.runs()[0].run))
    assert [service.name for service in report.services] == ["redis"]
    assert {gate.name: gate.state for gate in report.gates if gate.name in ("services", "cleanup")} == {
        "services": GateState.HELD,
        "cleanup": GateState.HELD,
    }


def test_a_job_in_ci_gets_its_page(everything: Suite, tmp_path: Path) -> None:
    page = tmp_path / "page.md"

    everything.run(GITHUB_STEP_SUMMARY=str(page))

    assert "| **collected** | **11** |" in page.read_text(encoding="utf-8")


@pytest.mark.needs("git")
def test_a_run_knows_its_commit_and_whether_anything_was_changed(tmp_path: Path) -> None:
    suite = Suite.of(tmp_path, "def test_good(): ...\n")
    (tmp_path / ".gitignore").write_text(f"{DIRECTORY}/\n__pycache__/\n")
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    for command in (("init", "-q", "-b", "trunk"), ("add", "."), (*who, "commit", "-q", "-m", "all")):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)

    suite.run()
    (tmp_path / "more.txt").write_text("changed")
    suite.run()

    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=tmp_path, capture_output=True, text=True, check=True)
    with History.open(tmp_path / DIRECTORY) as history:
        changed, clean = history.runs()
    assert clean.commit == changed.commit == head.stdout.strip()
    assert clean.branch == "trunk"
    assert (clean.dirty, changed.dirty) == (False, True)


def test_what_the_processes_use_is_looked_at_while_they_run(tmp_path: Path) -> None:
    suite = Suite.of(
        tmp_path, "import time\n\ndef test_slow():\n    held = bytearray(50_000_000)\n    time.sleep(2.5)\n"
    )

    suite.run()

    part = suite.part()
    assert part.samples
    assert max(sample.memory_bytes for sample in part.samples) > 80_000_000
    assert {sample.test for sample in part.samples} == {"tests/unit/test_a.py::test_slow"}


USES_SERVICES = """
import subprocess, time
from pathlib import Path

def samples():
    return sum(file.read_text().count('"Sample"') for file in Path(".reports").glob("*/record.jsonl"))

def test_it(pool, record_property):
    names = [pool.get(name).identity.split()[-1] for name in ("postgres", "redis")]
    time.sleep(4)
    if {asked}:
        asked = ["docker", "stats", "--no-stream", "--format", "{{{{.MemUsage}}}}", *names]
        record_property("said", subprocess.check_output(asked, text=True, timeout=20).split())
    known, deadline = samples(), time.monotonic() + 20
    while samples() == known and time.monotonic() < deadline:  # on a busy machine they are many seconds apart
        time.sleep(0.1)
"""
UNITS = {"KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}


def used_by_containers(said: list[str]) -> float:
    """Add up what `docker stats` printed: `23.5MiB / 1GiB` for each."""
    return sum(float(used[:-3]) * UNITS[used[-3:]] for used in said[::3])


@pytest.mark.timeout(90)
@pytest.mark.parametrize("provider", [pytest.param("compose", marks=pytest.mark.needs("docker")), "bundled"])
def test_the_curves_count_the_services_too(tmp_path: Path, provider: str) -> None:
    suite = Suite.of(tmp_path, "")
    suite.file("tests/integration/test_it.py", USES_SERVICES.format(asked=provider == "compose"))

    done = suite.run("--mode=integration", SERVICES=provider)

    assert done.code == 0, done.output
    part = suite.part()
    last = part.samples[-1]
    if provider == "compose":
        (said,) = by_name(part)["test_it"].facts["said"]
        assert last.services_bytes == pytest.approx(used_by_containers(said), rel=0.3)  # type: ignore[arg-type]
        assert last.memory_bytes > last.services_bytes
    else:
        assert last.services_bytes == 0, "they are processes of the tree"
    assert last.processes > 5, "Postgres alone is as many"
    assert max(sample.cpu for sample in part.samples) > 0


@pytest.mark.needs("posix")
async def test_an_interrupted_run_is_whole_and_says_what_it_left(tmp_path: Path) -> None:
    suite = Suite.of(tmp_path, SLOW)
    with suite.begun("-p", "no:randomly") as process:
        await becomes((tmp_path / "there").exists, "the slow test", DEADLINE_SECONDS)
        os.kill(process.pid, signal.SIGINT)
        output, _ = await asyncio.to_thread(process.communicate, timeout=DEADLINE_SECONDS)

    assert process.returncode == pytest.ExitCode.INTERRUPTED, output
    assert suite.part().run.exit_code == pytest.ExitCode.INTERRUPTED
    assert "2 never ran" in next(lines_of(output, "RED: "))
