"""The history: taken in once, never poorer, merged from anywhere, and not stopped by what can't be read."""

from __future__ import annotations

import gzip
import json
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from test_framework.reporting import sample
from test_framework.reporting.facts import RunPart
from test_framework.reporting.history import FILE, History, HistoryError, digest
from test_framework.reporting.naming import RECORD
from test_framework.tests.unit.reporting.runs import MODE, part, parts


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    with History.open(tmp_path) as opened:
        yield opened


def record(directory: Path, run: str, tests: str, *, shard: int = 1, complete: bool = True) -> Path:
    """Write a record by hand, of tests that pass."""
    start = {
        "$report_type": "RunStart",
        "format": 1,
        "time": 1000.0,
        "run": run,
        "shard": shard,
        "mode": MODE,
        "attempt": 1,
    }
    phases = ("setup", "call", "teardown")
    reports = [
        {
            "$report_type": "TestReport",
            "nodeid": test,
            "when": when,
            "outcome": "passed",
            "start": 1001.0,
            "stop": 1002.0,
        }
        for test in tests
        for when in phases
    ]
    lines = [start, {"$report_type": "Collection", "tests": list(tests)}, *reports]
    lines += [{"$report_type": "SessionFinish", "exitstatus": 0}] if complete else []
    path = directory / f"{run}.{shard}" / RECORD
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_what_is_taken_in_comes_out_again_whole(history: History) -> None:
    for made in (sample.green(), sample.red(2), sample.killed(3)):
        history.keep(made, 1)

        assert history.parts(made.run.run) == [made]


@given(parts())
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_same_twice_changes_nothing(tmp_path_factory: pytest.TempPathFactory, made: list[RunPart]) -> None:
    with History.open(tmp_path_factory.mktemp("history")) as history:
        for each in (*made, *made):
            history.keep(each, 1)

        stored = {(each.run.shard, each.run.attempt): each for each in history.parts("run-1")}
        assert stored == {(each.run.shard, each.run.attempt): each for each in made}


def test_a_record_is_taken_in_once_and_again_when_it_has_become_fuller(tmp_path: Path, history: History) -> None:
    record(tmp_path, "r", "ab", complete=False)
    first, second = history.ingest_all(), history.ingest_all()
    record(tmp_path, "r", "abc")
    third = history.ingest_all()

    assert [len(intake.taken) for intake in (first, second, third)] == [1, 0, 1]
    assert len(history.parts("r")[0].results) == 3


def test_a_cut_copy_never_replaces_the_whole(tmp_path: Path, history: History) -> None:
    record(tmp_path, "r", "abc")
    history.ingest_all()
    record(tmp_path, "r", "ab", complete=False)

    assert not history.ingest_all().taken
    assert history.parts("r")[0].run.complete


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "its first line is not a RunStart"),
        (b"\x80\x81\n", "its first line is not a RunStart"),
        (b'{"$report_type": "SessionStart"}\n', "its first line is not a RunStart"),
        (b'{"$report_type": "RunStart", "run": "r", "format": 99, "time": 1}\n', "has format 99"),
        (b'{"$report_type": "RunStart", "run": "r"}\n', "has no time"),
    ],
)
def test_a_record_that_cannot_be_read_is_named_and_the_others_are_taken_in(
    tmp_path: Path, history: History, content: bytes, said: str
) -> None:
    record(tmp_path, "good", "a")
    bad = tmp_path / "bad" / RECORD
    bad.parent.mkdir()
    bad.write_bytes(content)

    intake = history.ingest_all()

    assert len(intake.taken) == 1
    assert len(intake.refused) == 1
    assert str(bad) in intake.refused[0]
    assert said in intake.refused[0]


def test_a_zipped_record_is_a_record_and_a_cut_one_is_named(tmp_path: Path, history: History) -> None:
    whole = record(tmp_path, "zipped", "ab")
    packed = gzip.compress(whole.read_bytes())
    whole.unlink()
    whole.with_suffix(".jsonl.gz").write_bytes(packed)
    cut = tmp_path / "cut" / f"{RECORD}.gz"
    cut.parent.mkdir()
    cut.write_bytes(packed[:-20])

    intake = history.ingest_all()

    assert (len(intake.taken), len(intake.refused)) == (1, 1)


def test_histories_of_several_machines_become_one(tmp_path: Path) -> None:
    for shard in (1, 2):
        with History.open(tmp_path / f"machine-{shard}") as machine:
            machine.keep(part({f"t{shard}": "."}, shard=shard, shards=2), 1)
    with History.open(tmp_path / "here") as here:
        for _ in range(2):
            for shard in (1, 2):
                here.merge(tmp_path / f"machine-{shard}" / FILE)

        assert [each.run.shard for each in here.parts("run-1")] == [1, 2]


def test_merging_what_is_no_history_is_refused_and_named(tmp_path: Path, history: History) -> None:
    other = tmp_path / "other.db"
    other.write_bytes(b"no database, whatever its name says" * 100)

    assert str(other) in history.merge(other).refused[0]


def test_a_damaged_file_is_set_aside_and_made_anew_from_the_records(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(tmp_path, "r", "abc")
    (tmp_path / FILE).write_bytes(b"SQLite format 3\x00" + b"nonsense" * 500)

    with History.open(tmp_path) as history:
        assert len(history.parts("r")[0].results) == 3

    assert len(list(tmp_path.glob(f"{FILE}.damaged-*"))) == 1
    assert "is damaged" in capsys.readouterr().out


def test_a_history_of_a_newer_kit_is_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / FILE) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()

    with pytest.raises(HistoryError, match="newer kit"), History.open(tmp_path):
        pass


def test_many_runs_that_end_at_once_all_get_in(tmp_path: Path) -> None:
    def end(number: int) -> None:
        with History.open(tmp_path) as history:
            history.keep(part("...", f"run-{number}"), 1)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(end, range(8)))

    with History.open(tmp_path) as history:
        assert len(history.runs()) == 8


def test_the_past_is_the_last_runs_of_the_mode_oldest_first(history: History) -> None:
    made = [part("..F", f"run-{n}", started=100.0 * n) for n in range(6)]
    for each in (*made, part("F", "other", mode="full", started=150.0)):
        history.keep(each, 1)

    assert history.past(MODE, 400.0, 3) == [digest(each) for each in made[2:5]]


def test_what_is_too_old_or_too_much_goes_and_the_newest_stays(tmp_path: Path, history: History) -> None:
    day = 86_400.0
    for number in range(6):
        history.keep(part(".", f"run-{number}", started=number * day), 1)
    history.keep(part(".", "old-but-only", mode="full", started=0.0), 1)

    history.prune(keep_runs=4, keep_days=3, keep_records=9, now=6.5 * day)

    assert {run.run for run in history.runs()} == {"run-5", "run-4", "old-but-only"}


def test_raw_records_go_only_when_the_history_has_them(tmp_path: Path, history: History) -> None:
    for number in range(4):
        path = record(tmp_path, f"run-{number}", "a")
        path.parent.rename(tmp_path / f"run-{number}")
    history.ingest_all()
    stranger = record(tmp_path, "stranger", "a")

    gone = history.prune(keep_runs=99, keep_days=99_999, keep_records=1)

    assert len([name for name in gone if name.startswith("record ")]) >= 3
    assert stranger.exists()
