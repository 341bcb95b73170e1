"""The health monitor as a process, beside a stand-in for GitHub's API: what it reports, once, and when it says that it is over."""

from __future__ import annotations

import io
import json
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from test_framework.tests.kit.reporting.suites import Suite, report_task

pytestmark = pytest.mark.timeout(150)  # each starts separate Pythons, on a machine that may be busy

REPOSITORY = "org/project"
TOKEN = "a-token"
GREEN = {"lint": "success", "types": "success", "template": "success"}


@dataclass
class GitHub:
    """The parts of GitHub's API that the monitor uses, in the form that its documentation gives."""

    runs: list[dict[str, Any]] = field(default_factory=list)
    jobs: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    artifacts: dict[int, list[tuple[str, bytes]]] = field(default_factory=dict)
    written: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    tokens_elsewhere: list[str] = field(default_factory=list)
    url: str = ""

    def run(
        self,
        number: int,
        jobs: dict[str, str],
        *,
        workflow: str = "test",
        event: str = "push",
        conclusion: str = "",
        records: dict[str, bytes] | None = None,
    ) -> None:
        """Add one completed run of a workflow, a few minutes after the one before."""
        began = datetime.now(UTC) - timedelta(hours=5) + timedelta(minutes=10 * number)
        stamp = began.strftime("%Y-%m-%dT%H:%M:%SZ")
        ended = (began + timedelta(minutes=3)).strftime("%Y-%m-%dT%H:%M:%SZ")
        link = f"https://example.org/runs/{number}"
        whole = conclusion or ("success" if set(jobs.values()) <= {"success", "skipped"} else "failure")
        self.runs.insert(
            0,
            {
                "id": number,
                "name": workflow,
                "head_branch": "main",
                "head_sha": f"{number:040x}",
                "run_attempt": 1,
                "event": event,
                "status": "completed",
                "conclusion": whole,
                "html_url": link,
                "created_at": stamp,
                "run_started_at": stamp,
                "updated_at": ended,
            },
        )
        self.jobs[number] = [
            {
                "name": name,
                "status": "completed",
                "conclusion": word,
                "started_at": stamp,
                "completed_at": ended,
                "html_url": f"{link}/{name}",
            }
            for name, word in jobs.items()
        ]
        self.artifacts[number] = list((records or {}).items())

    def answer(self, path: str, query: dict[str, list[str]]) -> dict[str, Any]:
        if path == "/actions/runs":
            assert query["branch"] == ["main"]
            since = query["created"][0].removeprefix(">=")
            return paged("workflow_runs", [run for run in self.runs if run["created_at"] >= since], query)
        number = int(path.split("/")[3])
        if path.endswith("/jobs"):
            return paged("jobs", self.jobs[number], query)
        listed = [
            {"id": number * 100 + place, "name": name, "expired": False}
            for place, (name, _) in enumerate(self.artifacts[number])
        ]
        return paged("artifacts", listed, query)

    @property
    def issues(self) -> list[str]:
        return [body["title"] for method, path, body in self.written if (method, path) == ("POST", "/issues")]

    @property
    def closed(self) -> int:
        return sum(method == "PATCH" and body["state"] == "closed" for method, _, body in self.written)


def paged(name: str, things: list[dict[str, Any]], query: dict[str, list[str]]) -> dict[str, Any]:
    size, page = int(query["per_page"][0]), int(query["page"][0])
    return {"total_count": len(things), name: things[(page - 1) * size : page * size]}


@contextmanager
def serving(github: GitHub) -> Iterator[GitHub]:
    root = f"/repos/{REPOSITORY}"

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            if parts.path.startswith("/storage/"):
                github.tokens_elsewhere += [self.headers["Authorization"]] if self.headers["Authorization"] else []
                number, place = divmod(int(parts.path.split("/")[2]), 100)
                self.reply(200, github.artifacts[number][place][1])
            elif self.headers["Authorization"] != f"Bearer {TOKEN}":
                self.reply(401, b'{"message": "Bad credentials"}')
            elif parts.path.endswith("/zip"):
                self.reply(302, b"", Location=f"{github.url}/storage/{parts.path.split('/')[-2]}")
            else:
                found = github.answer(parts.path.removeprefix(root), parse_qs(parts.query))
                self.reply(200, json.dumps(found).encode())

        def write(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            github.written.append((self.command, self.path.removeprefix(root), body))
            self.reply(201, json.dumps({"number": len(github.written)}).encode())

        do_POST = do_PATCH = write  # noqa: N815

        def reply(self, status: int, body: bytes, **headers: str) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    github.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield github
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def github() -> Iterator[GitHub]:
    with serving(GitHub()) as made:
        yield made


@pytest.fixture
def project(tmp_path: Path) -> Suite:
    return Suite.of(tmp_path, "def test_good(): ...\n")


def look(project: Suite, github: GitHub, token: str = TOKEN) -> str:
    """Let the monitor look once."""
    asked = {"GITHUB_REPOSITORY": REPOSITORY, "GITHUB_TOKEN": token, "GITHUB_API_URL": github.url}
    done = report_task(project, "watch(Context())", **asked)
    assert done.returncode == 0, done
    return done.stdout


@pytest.mark.parametrize(("workflow", "job"), [("test", "lint"), ("template", "template"), ("weekly", "mutants")])
def test_a_job_without_records_that_fails_is_reported_until_it_passes(
    project: Suite, github: GitHub, workflow: str, job: str
) -> None:
    jobs = {"first": "success", "second": "success", job: "success"}
    github.run(1, jobs, workflow=workflow)
    github.run(2, {**jobs, job: "failure"}, workflow=workflow)

    first, second = look(project, github), look(project, github)
    github.run(3, jobs, workflow=workflow)
    third = look(project, github)

    assert github.issues == [f"CI: {workflow} / {job} fails"]
    assert "3 jobs" not in second.splitlines()[0], "what is known is not fetched again"
    assert "6 jobs" in first.splitlines()[0]
    assert github.closed == 1
    assert "recovered" in third


def test_jobs_that_pass_report_nothing(project: Suite, github: GitHub) -> None:
    for number in range(1, 4):
        github.run(number, {**GREEN, "optional": "skipped"})

    said = look(project, github)

    assert not github.written
    assert "nothing new to report" in said


def test_a_run_that_dies_before_its_jobs_begin_is_reported(project: Suite, github: GitHub) -> None:
    github.run(1, GREEN)
    github.run(2, {}, conclusion="startup_failure")

    look(project, github)

    assert github.issues == ["CI: test (died before its jobs began) fails"]


def test_a_pull_requests_jobs_and_cancelled_ones_report_nothing(project: Suite, github: GitHub) -> None:
    github.run(1, GREEN)
    github.run(2, {**GREEN, "lint": "failure"}, event="pull_request")
    github.run(3, {**GREEN, "lint": "cancelled"}, conclusion="cancelled")

    look(project, github)

    assert not github.written


def test_a_failure_behind_a_cancelled_run_is_still_reported(project: Suite, github: GitHub) -> None:
    github.run(1, {**GREEN, "lint": "failure"})
    github.run(2, {**GREEN, "lint": "cancelled"}, conclusion="cancelled")

    look(project, github)

    assert github.issues == ["CI: test / lint fails"]


def record_of(place: Path, number: int, tests: str) -> bytes:
    """Run a suite as CI would, and pack its record as an artifact."""
    suite = Suite.of(place, tests)
    suite.run(GITHUB_RUN_ID=str(number), GITHUB_JOB="lightweight", GITHUB_REF_NAME="main")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        (record,) = suite.records
        archive.write(record, f"{record.parent.name}/{record.name}")
    return packed.getvalue()


@pytest.mark.parametrize(("tests", "issues"), [("assert False", 1), ("pass", 0)], ids=["broken", "whole"])
def test_a_lightweight_test_that_is_broken_for_four_runs_is_reported(
    project: Suite, github: GitHub, tmp_path_factory: pytest.TempPathFactory, tests: str, issues: int
) -> None:
    good = "".join(f"def test_good_{n}(): ...\n" for n in range(9))
    for number in range(1, 5):
        record = record_of(tmp_path_factory.mktemp("job"), number, f"{good}def test_it():\n    {tests}\n")
        github.run(number, {"lightweight": "success"}, records={"records-lightweight": record, "page": b"no archive"})

    said = look(project, github)

    assert "4 records are new" in said
    assert [title for title in github.issues if "test_it is broken" in title] == (
        ["tests/unit/test_a.py::test_it is broken"] * issues
    )
    assert not github.tokens_elsewhere, "the token went to the storage of the artifacts"


def test_without_a_token_the_rest_is_watched_and_the_lack_is_named(project: Suite) -> None:
    project.run()

    done = report_task(project, "watch(Context())")

    assert done.returncode == 0, done
    assert "CI was not looked at: GITHUB_REPOSITORY and GITHUB_TOKEN" in done.stdout
    assert "lightweight: nothing new to report" in done.stdout


def test_a_refused_token_ends_the_look_with_an_error(project: Suite, github: GitHub) -> None:
    github.run(1, GREEN)
    asked = {"GITHUB_REPOSITORY": REPOSITORY, "GITHUB_TOKEN": "wrong", "GITHUB_API_URL": github.url}

    done = report_task(project, "watch(Context())", **asked)

    assert done.returncode == 1
    assert "was answered 401" in done.stdout
    assert "actions: read" in done.stdout
