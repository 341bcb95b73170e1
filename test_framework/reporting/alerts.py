"""Alerts: what has become bad is told once, repeated while it lasts, and told once more when it is over.

What is told is written down only after it was sent: a sender that fails is tried again at the next run.
"""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Protocol

from test_framework.reporting.flakes import BROKEN_RUNS
from test_framework.reporting.model import AlertState, GateState, Report, Steadiness
from test_framework.reporting.outcome import ABSENT, OF_LETTER
from test_framework.reporting.web import call

SEND_SECONDS = 20.0
DAY_SECONDS = 86_400.0
MOST_ALONE = 10
"""How many broken tests are reported one by one; more of them have one cause more often than not."""


class News(StrEnum):
    NEW = "new"
    STILL = "still"
    RECOVERED = "recovered"


@dataclass(frozen=True)
class Problem:
    """Something that is bad now. `key` stays the same as long as it is the same problem."""

    key: str
    title: str
    text: str


@dataclass(frozen=True)
class Message:
    """What is to be told about one problem; `alert` is how it stands once that is told."""

    news: News
    text: str
    alert: AlertState


class AlertError(Exception):
    """An alert could not be sent: to whom, and why."""


class Sender(Protocol):
    def send(self, message: Message) -> str:
        """Tell it, and return where that can be seen."""


def problems_of(report: Report) -> Iterator[Problem]:
    """Yield what a report shows to be bad for good; one red test is the red run's business."""
    mode = report.run.mode
    system, python = report.run.system.partition(" ")[0], report.run.python
    of = f"in {mode} on {system or 'an unknown system'}, Python {python or 'unknown'}, run {report.run.run}"
    for gate in report.gates:
        if gate.state is GateState.BROKEN:
            text = (
                f"{gate.title}: {gate.value:.3g} {gate.unit}, limit {gate.limit:g} {gate.unit} ({gate.distance}) {of}"
            )
            yield Problem(f"{mode}/gate/{gate.name}", f"{mode}: {gate.title} breaks its gate", text)
    for trend in report.trends:
        if trend.worse:
            yield Problem(
                f"{mode}/trend/{trend.name}", f"{mode}: {trend.title} is getting worse", f"{trend.reason} {of}"
            )
    for test in report.flaky:
        if test.steadiness is Steadiness.FLAKY:
            text = f"fell in {test.falls} of {test.runs} runs, {test.retried} times rescued by a retry; {of}"
            yield Problem(f"{mode}/flaky/{test.test}", f"{test.test} is flaky", text)
    broken = [test for test in report.flaky if test.steadiness is Steadiness.BROKEN and not test.owner]
    if len(broken) > MOST_ALONE:
        names = "\n".join(f"- {test.test}" for test in broken)
        yield Problem(
            f"{mode}/broken", f"{mode}: {len(broken)} tests are broken", f"{len(broken)} tests {of}:\n{names}"
        )
    for test in broken if len(broken) <= MOST_ALONE else ():
        text = f"it failed in its last {_failures_in_a_row(test.history)} runs; {of}"
        yield Problem(f"{mode}/broken/{test.test}", f"{test.test} is broken", text)
    last = report.matrix.runs[-BROKEN_RUNS:]
    if len(last) == BROKEN_RUNS and all(run.infrastructure for run in last):
        text = (
            f"in each of the last {BROKEN_RUNS} runs so many tests failed at once that the machine is suspected; {of}"
        )
        yield Problem(f"{mode}/infrastructure", f"{mode}: whole runs fail", text)


def together(problems: Iterable[Problem]) -> Iterator[Problem]:
    """Make one problem of those that several systems or Pythons have in common."""
    found: dict[str, list[Problem]] = {}
    for problem in problems:
        found.setdefault(problem.key, []).append(problem)
    for same in found.values():
        yield replace(same[0], text="\n".join(problem.text for problem in same))


def _failures_in_a_row(history: str) -> int:
    row = 0
    for letter in reversed(history.replace(ABSENT, "")):
        if not OF_LETTER[letter].fell:
            break
        row += 1
    return row


def step(
    problems: Iterable[Problem], known: Sequence[AlertState], scope: str, now: float, reminder_days: float
) -> Iterator[Message]:
    """Yield what is to be told now. `scope` is the beginning of the keys that were looked at: others keep their state."""
    before = {alert.key: alert for alert in known}
    there = {problem.key: problem for problem in problems}
    for key, problem in there.items():
        old = before.get(key)
        if old is None or old.state == News.RECOVERED:
            yield Message(News.NEW, problem.text, AlertState(key, problem.title, News.NEW, now, now))
        elif now - old.told >= reminder_days * DAY_SECONDS:
            days = (now - old.since) / DAY_SECONDS
            text = f"for {days:.0f} days now: {problem.text}"
            yield Message(News.STILL, text, replace(old, state=News.STILL, told=now))
    for alert in known:
        if alert.key.startswith(scope) and alert.key not in there and alert.state != News.RECOVERED:
            days = (now - alert.since) / DAY_SECONDS
            yield Message(News.RECOVERED, f"over after {days:.1f} days", replace(alert, state=News.RECOVERED, told=now))


@dataclass(frozen=True)
class Webhook:
    """Posts each message as JSON."""

    url: str

    def send(self, message: Message) -> str:
        alert = message.alert
        body = {"news": message.news, "key": alert.key, "title": alert.title, "text": message.text}
        _post("POST", self.url, body, {})
        return alert.link


@dataclass(frozen=True)
class GitHubIssues:
    """Keeps an issue for each problem: opened when it is new, commented while it lasts, closed when it is over."""

    repository: str
    token: str
    api: str = "https://api.github.com"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> GitHubIssues:
        """Take repository and token from where CI puts them."""
        repository, token = environment.get("GITHUB_REPOSITORY", ""), environment.get("GITHUB_TOKEN", "")
        if not repository or not token:
            raise AlertError(
                "issues need GITHUB_REPOSITORY and GITHUB_TOKEN (with `issues: write`): set them, or use --webhook"
            )
        return cls(repository, token, environment.get("GITHUB_API_URL") or cls.api)

    def send(self, message: Message) -> str:
        alert = message.alert
        if message.news is News.NEW or not alert.link:
            if message.news is News.RECOVERED:
                return ""
            body = f"{message.text}\n\n<!-- {alert.key} -->"
            made = self._call("POST", "/issues", {"title": alert.title, "body": body})
            return str(made["number"])
        self._call("POST", f"/issues/{alert.link}/comments", {"body": f"{message.news}: {message.text}"})
        if message.news is News.RECOVERED:
            self._call("PATCH", f"/issues/{alert.link}", {"state": "closed", "state_reason": "completed"})
        return alert.link

    def _call(self, method: str, path: str, body: Mapping[str, object]) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.token}", "Accept": "application/vnd.github+json"}
        found: dict[str, Any] = json.loads(_post(method, f"{self.api}/repos/{self.repository}{path}", body, headers))
        return found


def _post(method: str, url: str, body: Mapping[str, object], headers: Mapping[str, str]) -> bytes:
    if not url.startswith(("https://", "http://")):
        raise AlertError(f"{url} is no web address")
    request = urllib.request.Request(
        url,
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json", **headers},
        method=method,
    )
    return call(request, SEND_SECONDS, AlertError)
