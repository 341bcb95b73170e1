"""What became of CI's jobs: those that write no record, such as lint, and those that died before they could, are seen too.

GitHub's API lists the runs of the main branch, their jobs and their artifacts. Each job's outcome is kept in the history, and so
is every record that a run has uploaded, so that one place knows all modes.
"""

from __future__ import annotations

import io
import json
import os
import tempfile
import urllib.request
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from test_framework.reporting.alerts import Problem
from test_framework.reporting.naming import RECORD
from test_framework.reporting.web import call

if TYPE_CHECKING:
    from test_framework.reporting.history import History

CALL_SECONDS = 60.0
PAGE = 100
MOST_RUNS = 60
"""How many runs one look takes in; the newest come first."""
OVERLAP_SECONDS = 2 * 86400.0
"""How long a run may take, from its start to its end."""
FIRST_LOOK_SECONDS = 14 * 86400.0
"""How far the first look goes back: older artifacts are gone."""
RECORDS = "records-"
SUCCESS = "success"
BAD = frozenset({"failure", "timed_out", "startup_failure"})
SCOPE = "ci/"


class CiError(Exception):
    """GitHub could not be asked: what was asked, and what came back."""


@dataclass(frozen=True)
class JobOutcome:
    """One job of one workflow run. A run that died before its jobs began has one without a name."""

    run: int
    attempt: int
    workflow: str
    job: str
    conclusion: str
    started: float
    seconds: float
    commit: str
    link: str

    @property
    def bad(self) -> bool:
        return self.conclusion in BAD

    @property
    def judged(self) -> bool:
        """A job that was skipped, or whose run was cancelled for a newer one, shows nothing."""
        return self.bad or self.conclusion == SUCCESS


@dataclass
class JobsSnapshot:
    """What one look at CI found."""

    jobs: int = 0
    records: int = 0
    refused: list[str] = field(default_factory=list)
    left_out: int = 0


@dataclass(frozen=True)
class GitHubActions:
    """The workflow runs of one repository's main branch."""

    repository: str
    token: str
    branch: str
    api: str = "https://api.github.com"
    own_run: int = 0

    @classmethod
    def from_environment(cls, branch: str, environment: Mapping[str, str] = os.environ) -> GitHubActions | None:
        """Take repository and token from where CI puts them; None outside of CI."""
        repository, token = environment.get("GITHUB_REPOSITORY", ""), environment.get("GITHUB_TOKEN", "")
        if not repository or not token:
            return None
        own = environment.get("GITHUB_RUN_ID", "")
        return cls(
            repository,
            token,
            branch,
            environment.get("GITHUB_API_URL") or cls.api,
            int(own) if own.isdigit() else 0,
        )

    def take_in(self, history: History, now: float) -> JobsSnapshot:
        """Add to the history the jobs and the records of the runs that it does not know."""
        look = JobsSnapshot()
        known = history.known_ci_runs()
        newest = history.newest_ci_job()
        since = max(now - FIRST_LOOK_SECONDS, newest - OVERLAP_SECONDS if newest else 0.0)
        fresh = [run for run in self._runs(since) if (run["id"], run["run_attempt"]) not in known]
        look.left_out = max(0, len(fresh) - MOST_RUNS)
        for run in fresh[:MOST_RUNS]:
            for artifact in self._artifacts(run):
                self._take_record(artifact, history, look)
            # last, so that a run whose artifacts could not be fetched is looked at again
            outcomes = list(self._jobs(run))
            history.keep_jobs(outcomes)
            look.jobs += len(outcomes)
        return look

    def _runs(self, since: float) -> Iterator[dict[str, Any]]:
        created = datetime.fromtimestamp(since, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        query = f"branch={quote(self.branch)}&created={quote(f'>={created}')}"
        for run in self._pages(f"/actions/runs?{query}", "workflow_runs"):
            # a pull request's run has the name of the branch that it comes from, which may be main in a fork
            own = run["id"] == self.own_run
            if not run["event"].startswith("pull_request") and (own or run["status"] == "completed"):
                yield run

    def _jobs(self, run: Mapping[str, Any]) -> Iterator[JobOutcome]:
        finished = [
            job for job in self._pages(f"/actions/runs/{run['id']}/jobs?filter=latest", "jobs") if job["conclusion"]
        ]
        for job in finished:
            yield _outcome(run, job["name"], job, job.get("started_at"), job.get("completed_at"))
        if not finished and run["conclusion"]:
            yield _outcome(run, "", run, run.get("run_started_at") or run["created_at"], run.get("updated_at"))

    def _artifacts(self, run: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        for artifact in self._pages(f"/actions/runs/{run['id']}/artifacts?", "artifacts"):
            if artifact["name"].startswith(RECORDS) and not artifact["expired"]:
                yield artifact

    def _take_record(self, artifact: Mapping[str, Any], history: History, look: JobsSnapshot) -> None:
        packed = self._get(f"/actions/artifacts/{artifact['id']}/zip")
        try:
            with zipfile.ZipFile(io.BytesIO(packed)) as archive, tempfile.TemporaryDirectory() as folder:
                names = [name for name in archive.namelist() if Path(name).name.startswith(RECORD)]
                for number, name in enumerate(names):
                    place = Path(folder) / str(number)
                    place.mkdir()
                    (place / Path(name).name).write_bytes(archive.read(name))
                intake = history.ingest_all(Path(folder))
        except zipfile.BadZipFile as error:
            look.refused.append(f"artifact {artifact['name']}: {error}")
            return
        look.records += len(intake.taken)
        look.refused += intake.refused

    def _pages(self, path: str, name: str) -> Iterator[dict[str, Any]]:
        number = 1
        while True:
            answer = json.loads(self._get(f"{path}&per_page={PAGE}&page={number}"))
            yield from answer[name]
            if len(answer[name]) < PAGE:
                return
            number += 1

    def _get(self, path: str) -> bytes:
        url = f"{self.api}/repos/{self.repository}{path}"
        request = urllib.request.Request(url, headers={"Accept": "application/vnd.github+json"})
        # an artifact is answered with a redirection to another host, which must not get the token
        request.add_unredirected_header("Authorization", f"Bearer {self.token}")
        return call(request, CALL_SECONDS, CiError, "; the job needs the permission `actions: read`")


def problems_of(jobs: Iterable[JobOutcome]) -> Iterator[Problem]:
    """Yield the jobs that failed when they were last run; `jobs` are those of the history, oldest first."""
    by_workflow: dict[str, list[JobOutcome]] = {}
    for outcome in jobs:
        by_workflow.setdefault(outcome.workflow, []).append(outcome)
    for workflow, outcomes in sorted(by_workflow.items()):
        # a job that the workflow has no more can't fail any more; a run that died early says nothing of the others
        newest = max(((one.run, one.attempt) for one in outcomes if one.job), default=(0, 0))
        for job in sorted({one.job for one in outcomes if (one.run, one.attempt) >= newest}):
            row = _row_of_failures(one for one in outcomes if one.job == job and one.judged)
            if not row:
                continue
            times = "its last run" if len(row) == 1 else f"its last {len(row)} runs"
            name = f"{workflow} / {job}" if job else f"{workflow} (died before its jobs began)"
            text = f"{name} failed in {times} since commit {row[0].commit[:10]}: {row[-1].conclusion}, {row[-1].link}"
            yield Problem(f"{SCOPE}{workflow}/{job}", f"CI: {name} fails", text)


def _row_of_failures(judged: Iterable[JobOutcome]) -> list[JobOutcome]:
    """Keep the failures that no later success has ended."""
    row: list[JobOutcome] = []
    for outcome in judged:
        row = [*row, outcome] if outcome.bad else []
    return row


def _outcome(
    run: Mapping[str, Any], name: str, of: Mapping[str, Any], started: str | None, ended: str | None
) -> JobOutcome:
    began, end = _time(started), _time(ended)
    return JobOutcome(
        run=run["id"],
        attempt=run["run_attempt"],
        workflow=run["name"],
        job=name,
        conclusion=of["conclusion"],
        started=began,
        seconds=max(0.0, end - began),
        commit=run["head_sha"],
        link=of["html_url"],
    )


def _time(stamp: str | None) -> float:
    return datetime.fromisoformat(stamp).timestamp() if stamp else 0.0
