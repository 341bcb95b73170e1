"""All runs, in one SQLite file beside the records.

A part is known by run, attempt and shard, so taking one in twice changes nothing, and files of several machines are merged by
taking in what the other has. A fuller part replaces a poorer one of the same name, never the other way round.
"""

from __future__ import annotations

import json
import sqlite3
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from test_framework.reporting.facts import RunFacts, RunPart
from test_framework.reporting.model import AlertState
from test_framework.reporting.naming import RECORD
from test_framework.reporting.outcome import Outcome
from test_framework.reporting.reading import UnreadableRecordError, read_record

if TYPE_CHECKING:
    from pydantic import TypeAdapter

    from test_framework.reporting.ci_jobs import JobOutcome

FILE = "history.db"
VERSION = 1
BUSY_SECONDS = 10.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS parts (
    run TEXT NOT NULL, attempt INTEGER NOT NULL, shard INTEGER NOT NULL,
    mode TEXT NOT NULL, started REAL NOT NULL, weight INTEGER NOT NULL, size INTEGER NOT NULL,
    facts BLOB NOT NULL, digest BLOB NOT NULL, document BLOB NOT NULL,
    PRIMARY KEY (run, attempt, shard)
);
CREATE INDEX IF NOT EXISTS parts_by_time ON parts (mode, started);
CREATE TABLE IF NOT EXISTS alerts (
    key TEXT PRIMARY KEY, title TEXT NOT NULL, state TEXT NOT NULL, since REAL NOT NULL, told REAL NOT NULL,
    link TEXT NOT NULL DEFAULT ''
);
CREATE TABLE IF NOT EXISTS jobs (
    run INTEGER NOT NULL, attempt INTEGER NOT NULL, workflow TEXT NOT NULL, job TEXT NOT NULL, conclusion TEXT NOT NULL,
    started REAL NOT NULL, seconds REAL NOT NULL, "commit" TEXT NOT NULL, link TEXT NOT NULL,
    PRIMARY KEY (run, attempt, job)
);
"""


Circumstances = tuple[str, str, str]


@dataclass(frozen=True)
class Glance:
    """One test in one part of the past."""

    letter: str
    seconds: float
    lost: float


@dataclass(frozen=True)
class PastPart:
    """What later runs want to know of a part."""

    run: RunFacts
    tests: dict[str, Glance]
    memory_bytes: int | None = None
    cleanup_seconds: float | None = None
    service_seconds: float | None = None


@dataclass
class Intake:
    """What came of taking records in: the names of those that are new or fuller, and what was left out and why."""

    taken: list[str] = field(default_factory=list)
    runs: dict[str, None] = field(default_factory=dict)
    """The runs that these are parts of, each once."""
    known: int = 0
    refused: list[str] = field(default_factory=list)


class HistoryError(Exception):
    """A history that this kit can't use: which, why, and what to do."""


class History:
    """The runs of one checkout."""

    def __init__(self, connection: sqlite3.Connection, directory: Path) -> None:
        self._connection = connection
        self.directory = directory

    @classmethod
    @contextmanager
    def open(cls, directory: Path) -> Iterator[History]:
        """Open the history of a folder of records; a damaged file is set aside, and made anew from the records."""
        directory.mkdir(parents=True, exist_ok=True)
        file = directory / FILE
        try:
            connection = _connect(file)
        except sqlite3.DatabaseError as damage:
            if isinstance(damage, sqlite3.OperationalError):
                raise
            aside = file.with_name(f"{FILE}.damaged-{int(time.time())}")
            file.rename(aside)
            print(f"{file} is damaged ({damage}); it is now {aside.name}, and is made anew from the records")
            connection = _connect(file)
            with closing(connection):
                cls(connection, directory).ingest_all()
            connection = _connect(file)
        with closing(connection):
            yield cls(connection, directory)

    def ingest_all(self, directory: Path | None = None) -> Intake:
        """Take in every record of a folder that is not known yet; name what can't be read, and go on."""
        intake = Intake()
        for path in sorted((directory or self.directory).glob(f"**/{RECORD}*")):
            if path.suffix in (".jsonl", ".gz"):
                self._ingest(path, intake)
        return intake

    def ingest(self, path: Path) -> Intake:
        """Take in one record."""
        intake = Intake()
        self._ingest(path, intake)
        return intake

    def keep(self, part: RunPart, size: int) -> Intake:
        """Take in a part that was read already; `size` is its record's."""
        intake = Intake()
        self._store(part, size, intake)
        return intake

    def merge(self, other: Path) -> Intake:
        """Take in what another file of history has."""
        intake = Intake()
        with closing(sqlite3.connect(f"{other.resolve().as_uri()}?mode=ro", uri=True)) as source:
            try:
                _check_version(source, other)
                rows = source.execute("SELECT document, size FROM parts ORDER BY started")
                for document, size in rows:
                    self._store(_unpack(document), size, intake)
            except sqlite3.DatabaseError as damage:
                intake.refused.append(f"{other} can't be read: {damage}")
        return intake

    def parts(self, run: str) -> list[RunPart]:
        """Give all parts of a run, every attempt of every shard."""
        rows = self._connection.execute("SELECT document FROM parts WHERE run = ? ORDER BY shard, attempt", (run,))
        return [_unpack(document) for (document,) in rows]

    def runs(self, mode: str | None = None, limit: int = -1) -> list[RunFacts]:
        """Give the facts of all parts, newest first."""
        rows = self._connection.execute(
            "SELECT facts FROM parts WHERE ? IS NULL OR mode = ? ORDER BY started DESC LIMIT ?", (mode, mode, limit)
        )
        return [RunFacts(**json.loads(facts)) for (facts,) in rows]

    def past(self, mode: str, until: float, runs: int, like: RunFacts | None = None) -> list[PastPart]:
        """Give the parts of the last runs of a mode, up to a moment, oldest first.

        With `like`, only runs on the same system and Python count: what fails on one system alone is not flaky.
        """
        known = self._by_circumstances(mode)
        chosen = known.values() if like is None else [known.get(circumstances_of(like), [])]
        newest_first = sorted((facts for runs in chosen for facts in runs), key=lambda facts: -facts.started)
        last = [facts.run for facts in newest_first if facts.started <= until][:runs]
        found = [part for run in last for part in self.past_of(run)]
        return sorted(found, key=lambda part: (part.run.started, part.run.shard))

    def latest_of_each_kind(self) -> list[RunFacts]:
        """Give the newest run of each mode on each system and Python."""
        return [runs[0] for runs in self._by_circumstances().values()]

    def _by_circumstances(self, mode: str | None = None) -> dict[Circumstances, list[RunFacts]]:
        """Give the first part of each run, newest first, by mode, system and Python."""
        first: dict[str, RunFacts] = {}
        for facts in reversed(self.runs(mode)):
            first.setdefault(facts.run, facts)
        found: dict[Circumstances, list[RunFacts]] = {}
        for facts in sorted(first.values(), key=lambda facts: facts.started, reverse=True):
            found.setdefault(circumstances_of(facts), []).append(facts)
        return found

    def past_of(self, run: str) -> list[PastPart]:
        """Give the parts of one run as later runs see it."""
        rows = self._connection.execute("SELECT facts, digest FROM parts WHERE run = ? ORDER BY shard", (run,))
        return [_past(facts, digested) for facts, digested in rows]

    def alerts(self) -> list[AlertState]:
        """Give every alert that was ever raised, as it stands."""
        rows = self._connection.execute("SELECT key, title, state, since, told, link FROM alerts ORDER BY since")
        return [AlertState(*row) for row in rows]

    def keep_alert(self, alert: AlertState) -> None:
        """Write down how an alert stands now."""
        row = (alert.key, alert.title, alert.state, alert.since, alert.told, alert.link)
        self._connection.execute("INSERT OR REPLACE INTO alerts VALUES (?, ?, ?, ?, ?, ?)", row)
        self._connection.commit()

    def keep_jobs(self, outcomes: Iterable[JobOutcome]) -> None:
        """Write down what became of jobs of CI."""
        rows = [astuple(outcome) for outcome in outcomes]
        self._connection.executemany("INSERT OR REPLACE INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
        self._connection.commit()

    def known_ci_runs(self) -> set[tuple[int, int]]:
        """Give the runs of CI, and their attempts, whose jobs are known."""
        return set(self._connection.execute("SELECT DISTINCT run, attempt FROM jobs"))

    def newest_ci_job(self) -> float | None:
        """Say when the last job that is known began."""
        (started,) = self._connection.execute("SELECT max(started) FROM jobs").fetchone()
        return None if started is None else float(started)

    def jobs(self) -> list[JobOutcome]:
        """Give what became of CI's jobs, oldest first."""
        from test_framework.reporting.ci_jobs import JobOutcome

        rows = self._connection.execute("SELECT * FROM jobs ORDER BY run, attempt, job")
        return [JobOutcome(*row) for row in rows]

    def prune(self, keep_runs: int, keep_days: int, keep_records: int, now: float | None = None) -> list[str]:
        """Forget what is older or more than is kept; return the names of what went. The newest run always stays."""
        oldest = (time.time() if now is None else now) - keep_days * 86400
        gone: list[tuple[str]] = []
        for runs in self._by_circumstances().values():
            for place, facts in enumerate(runs, 1):
                if place > keep_runs or (place > 1 and facts.started < oldest):
                    gone += self._connection.execute("DELETE FROM parts WHERE run = ? RETURNING run", (facts.run,))
        self._connection.execute("DELETE FROM jobs WHERE started < ?", (oldest,))
        self._connection.commit()
        self._connection.execute("PRAGMA incremental_vacuum")
        return sorted({f"run {run}" for (run,) in gone} | set(self._prune_records(keep_records)))

    def _prune_records(self, keep: int) -> Iterator[str]:
        known = {RunFacts(**json.loads(facts)).name for (facts,) in self._connection.execute("SELECT facts FROM parts")}
        folders = [path.parent for path in self.directory.glob(f"*/{RECORD}*")]
        newest_first = sorted(folders, key=lambda folder: folder.stat().st_mtime, reverse=True)
        for folder in newest_first[keep:]:
            if folder.name in known:  # what no history holds is not ours to lose
                for file in folder.iterdir():
                    file.unlink()
                folder.rmdir()
                yield f"record {folder.name}"

    def _ingest(self, path: Path, intake: Intake) -> None:
        try:
            size = path.stat().st_size
            if self._connection.execute(
                "SELECT 1 FROM parts WHERE size = ? AND run || ':' || attempt || ':' || shard = ?",
                (size, _key_in(path)),
            ).fetchone():
                intake.known += 1
                return
            self._store(read_record(path), size, intake)
        except (OSError, UnreadableRecordError) as error:
            intake.refused.append(str(error))

    def _store(self, part: RunPart, size: int, intake: Intake) -> None:
        run = part.run
        ran = sum(result.outcome is not Outcome.NOT_RUN for result in part.results)
        changed = self._connection.execute(
            "INSERT INTO parts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
            " started = excluded.started, weight = excluded.weight, size = excluded.size, facts = excluded.facts,"
            " digest = excluded.digest, document = excluded.document WHERE excluded.weight > weight",
            (
                *(run.run, run.attempt, run.shard, run.mode, run.started),
                *(2 * ran + run.complete, size, json.dumps(vars(run)), _digested(part), _pack(part)),
            ),
        ).rowcount
        self._connection.commit()
        if changed > 0:
            intake.taken.append(run.name)
            intake.runs[run.run] = None
        else:
            intake.known += 1


def circumstances_of(facts: RunFacts) -> Circumstances:
    """Say in which mode, on which system and which Python a run ran: only runs of the same can be compared."""
    return facts.mode, facts.system.partition(" ")[0], ".".join(facts.python.split(".")[:2])


def _connect(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(file, timeout=BUSY_SECONDS)
    try:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        _check_version(connection, file)
        connection.executescript(_SCHEMA)
        connection.execute(f"PRAGMA user_version = {VERSION}")
    except BaseException:
        connection.close()
        raise
    return connection


def _check_version(connection: sqlite3.Connection, file: Path) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise HistoryError(
            f"{file} was written by a newer kit (its version is {version}, ours {VERSION}): update this one"
        )


def _key_in(path: Path) -> str:
    """Read a record's name from its first line, which is cheaper than reading it all."""
    import gzip

    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            start = json.loads(file.readline())
        return f"{start['run']}:{start['attempt']}:{start['shard']}"
    except (ValueError, KeyError, TypeError, EOFError):
        return ""


def digest(part: RunPart) -> PastPart:
    """Keep of a part what later runs want to know."""
    return PastPart(
        run=part.run,
        tests={
            result.id: Glance(result.outcome.letter, round(result.seconds, 4), round(result.lost, 4))
            for result in part.results
        },
        memory_bytes=max((sample.memory_bytes for sample in part.samples), default=None),
        cleanup_seconds=part.cleanup_seconds,
        service_seconds=max((service.start_seconds or 0.0 for service in part.services), default=None),
    )


def _digested(part: RunPart) -> bytes:
    kept = digest(part)
    tests = {test: (glance.letter, glance.seconds, glance.lost) for test, glance in kept.tests.items()}
    content = [tests, kept.memory_bytes, kept.cleanup_seconds, kept.service_seconds]
    return zlib.compress(json.dumps(content).encode(), 1)


def _past(facts: str, digested: bytes) -> PastPart:
    tests, *measured = json.loads(zlib.decompress(digested))
    return PastPart(RunFacts(**json.loads(facts)), {test: Glance(*glance) for test, glance in tests.items()}, *measured)


@cache
def _adapter() -> TypeAdapter[RunPart]:
    from pydantic import TypeAdapter

    return TypeAdapter(RunPart)


def _pack(part: RunPart) -> bytes:
    return zlib.compress(_adapter().dump_json(part), 1)


def _unpack(document: bytes) -> RunPart:
    return _adapter().validate_json(zlib.decompress(document))
