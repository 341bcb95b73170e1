"""Alerts: told once when new, now and then while they last, once when over; to a real server that writes down what it hears."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from test_framework.reporting import sample
from test_framework.reporting.alerts import (
    DAY_SECONDS,
    AlertError,
    GitHubIssues,
    Message,
    News,
    Problem,
    Webhook,
    problems_of,
    step,
)
from test_framework.reporting.history import digest
from test_framework.reporting.model import AlertState
from test_framework.reporting.summary import summarise
from test_framework.tests.unit.reporting.runs import part

SLOW = Problem("lightweight/gate/suite", "the suite is too slow", "700 s, limit 600 s")


class Run:
    """Alerts over several runs, a day apart."""

    def __init__(self) -> None:
        self.known: dict[str, AlertState] = {}

    def day(self, number: int, *problems: Problem) -> list[str]:
        messages = list(step(problems, list(self.known.values()), "lightweight/", number * DAY_SECONDS, 7))
        self.known |= {message.alert.key: message.alert for message in messages}
        return [message.news for message in messages]


def test_a_problem_is_new_once_repeated_weekly_and_over_once() -> None:
    run = Run()

    told = [run.day(number, SLOW) for number in range(16)] + [run.day(16), run.day(17)]

    assert {number: news for number, news in enumerate(told) if news} == {
        0: [News.NEW], 7: [News.STILL], 14: [News.STILL], 16: [News.RECOVERED],
    }  # fmt: skip


def test_a_problem_that_comes_back_is_new_again() -> None:
    run = Run()

    assert [run.day(0, SLOW), run.day(1), run.day(2, SLOW), run.day(3, SLOW)] == [["new"], ["recovered"], ["new"], []]


def test_a_run_of_another_mode_recovers_nothing_here() -> None:
    full = AlertState("full/gate/suite", "slow", News.NEW, 0.0, 0.0)

    assert not list(step([], [full], "lightweight/", DAY_SECONDS, 7))


def test_a_report_yields_gates_trends_flakes_and_broken_tests() -> None:
    keys = {problem.key.split("/")[1] for problem in problems_of(sample.demo())}

    assert keys == {"trend", "flaky", "broken"}


@pytest.mark.parametrize(("falls", "row"), [(4, "4"), (3, "3"), (2, None)])
def test_a_test_that_fails_three_times_in_a_row_is_reported(falls: int, row: str | None) -> None:
    letters = "." * 12 + "F" * falls
    past = [part(letter + "." * 50, f"run-{n}", started=1e6 + n, commit=f"c{n}") for n, letter in enumerate(letters)]

    found = list(problems_of(summarise(past[-1:], map(digest, past[:-1]))))

    assert [problem.title for problem in found] == (["tests/unit/test_a.py::t0 is broken"] if row else [])
    assert all(f"failed in its last {row} runs" in problem.text for problem in found)


def test_many_broken_tests_are_one_problem() -> None:
    past = [part("F" * 12 + "." * 50, f"run-{n}", started=1e6 + n, commit=f"c{n}") for n in range(4)]

    titles = [problem.title for problem in problems_of(summarise(past[-1:], map(digest, past[:-1])))]

    assert "lightweight: 12 tests are broken" in titles
    assert not [title for title in titles if title.endswith("is broken")]


def test_runs_in_which_most_tests_fail_are_reported_at_the_third() -> None:
    past = [part("F" * 30 + "." * 30, f"run-{n}", started=1e6 + n, commit=f"c{n}") for n in range(3)]

    def titles(count: int) -> list[str]:
        shown = past[:count]
        return [problem.title for problem in problems_of(summarise(shown[-1:], map(digest, shown[:-1])))]

    assert "lightweight: whole runs fail" in titles(3)
    assert "lightweight: whole runs fail" not in titles(2)


Told = tuple[str, str, dict[str, object]]


class Heard(BaseHTTPRequestHandler):
    heard: ClassVar[list[Told]]
    status = 201

    def answer(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.heard.append((self.command, self.path, body))
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(b'{"number": 42, "message": "said the server"}')

    do_POST = do_PATCH = answer  # noqa: N815

    def log_message(self, *_: object) -> None: ...


@contextmanager
def listening(status: int = 201) -> Iterator[tuple[str, list[Told]]]:
    """A server that writes down what it is told."""

    class Listening(Heard):
        heard: ClassVar[list[Told]] = []

    Listening.status = status
    server = ThreadingHTTPServer(("127.0.0.1", 0), Listening)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", Listening.heard
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def message(news: News, link: str = "") -> Message:
    return Message(news, "700 s", AlertState(SLOW.key, SLOW.title, news, 0.0, 0.0, link))


def test_an_issue_is_opened_commented_and_closed() -> None:
    with listening() as (url, heard):
        issues = GitHubIssues("org/project", "t", url)
        link = issues.send(message(News.NEW))
        issues.send(message(News.STILL, link))
        issues.send(message(News.RECOVERED, link))

    assert link == "42"
    assert [(method, path) for method, path, _ in heard] == [
        ("POST", "/repos/org/project/issues"),
        ("POST", "/repos/org/project/issues/42/comments"),
        ("POST", "/repos/org/project/issues/42/comments"),
        ("PATCH", "/repos/org/project/issues/42"),
    ]
    assert heard[-1][2]["state"] == "closed"


def test_a_webhook_gets_the_news_as_json() -> None:
    with listening() as (url, heard):
        Webhook(url).send(message(News.NEW))

    assert heard == [("POST", "/", {"news": "new", "key": SLOW.key, "title": SLOW.title, "text": "700 s"})]


def test_a_server_that_refuses_is_named_with_its_answer() -> None:
    with listening(403) as (url, _), pytest.raises(AlertError, match=r"answered 403: .*said the server"):
        GitHubIssues("org/project", "t", url).send(message(News.NEW))


def test_nobody_listening_is_named() -> None:
    with listening() as (url, _):
        pass

    with pytest.raises(AlertError, match="failed"):
        Webhook(url).send(message(News.NEW))


def test_issues_without_a_token_say_what_they_need() -> None:
    with pytest.raises(AlertError, match=r"GITHUB_TOKEN.*--webhook"):
        GitHubIssues.from_environment({"GITHUB_REPOSITORY": "org/project"})
