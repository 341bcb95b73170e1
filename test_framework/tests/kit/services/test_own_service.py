"""A project adds a service by a driver; commands, healing, faults, fixtures and reports have it without a change."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from test_framework import reaper
from test_framework.services.process_table import started_at
from test_framework.services.stack import Stack
from test_framework.tests.kit.services.conftest import dev_stack
from test_framework.tests.kit.services.own_service import ProjectCopy
from test_framework.tests.kit.services.remains import Remains, gone_within
from test_framework.waiting import comes_true

DRIVER = '''
import sys
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

from test_framework.services.drivers import Driver, RunningServer
from test_framework.services.probes import NotReadyError, WrongServerError

SERVER = """
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
notes = []
class Notes(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def answer(self, text):
        body = (text or "").encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        self.answer(sys.argv[2] if self.path == "/" else " ".join(notes))
    def do_POST(self):
        self.answer(notes.append(self.path))
    def do_DELETE(self):
        self.answer(notes.clear())
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Notes).serve_forever()
"""


def ask(address, method="GET", path="/"):
    try:
        connection = HTTPConnection(address, timeout=1)
        connection.request(method, path)
        return connection.getresponse().read().decode()
    except (OSError, HTTPException) as reason:
        raise NotReadyError(str(reason)) from reason
    finally:
        connection.close()


class Notes(Driver):
    name = "notes"
    programs = (Path(sys.executable).resolve().name,)

    def find_bundled(self, spec):
        return Path(sys.executable)

    def options(self, address, data, stack):
        return ["-c", SERVER, str(address.port), stack]

    def check(self, server: RunningServer):
        said = ask(str(server.address))
        if server.stack and said != server.stack:
            raise WrongServerError(f"{server.address} is {said!r}, not {server.stack!r}")
        return said

    def fresh(self, url, *, private):
        if private:
            ask(urlsplit(url).netloc, "DELETE")
        return url
'''

TESTS = """
import os, signal
from urllib.parse import urlsplit

import pytest

from test_framework.waiting import comes_true
from tests.support.drivers import NotReadyError, ask


def netloc(url):
    return urlsplit(url).netloc


@pytest.mark.parametrize("turn", range(3))
def test_a_test_finds_it_empty(notes_url, turn):
    assert ask(netloc(notes_url), path="/all") == ""
    ask(netloc(notes_url), "POST", f"/{turn}")
    assert ask(netloc(notes_url), path="/all") == f"/{turn}"


def test_a_killed_one_is_healed_by_the_run(pool, notes_url):
    service = pool.get("notes")
    before = service.identity
    os.kill(int(before.split()[1]), signal.SIGKILL)
    comes_true(lambda: service.identity != before and str(service.observe()).startswith("healthy"), "it is healed")
    assert service.url == notes_url


def test_faults(notes, network):
    assert ask(netloc(notes.url))
    for fault in (notes.killed, notes.stopped, lambda: network.cut("notes")):
        with fault(), pytest.raises(NotReadyError):
            ask(netloc(notes.url))
        assert ask(netloc(notes.url))
    with notes.paused(), pytest.raises(NotReadyError, match="timed out"):
        ask(netloc(notes.url))
    assert ask(netloc(notes.url))
"""
WAITS = """
from pathlib import Path
from time import sleep

def test_it(pool, notes_url):
    Path("run").write_text(pool.run)
    sleep(60)
"""
FILE = "tests/integration/test_notes.py"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> ProjectCopy:
    """The project with a service that answers HTTP, which a driver of the project describes."""
    copy = ProjectCopy.at(tmp_path_factory.mktemp("project"), "tests.support.drivers:Notes")
    copy.file("tests/support/drivers.py", DRIVER)
    return copy


@pytest.fixture
def dev(project: ProjectCopy) -> Iterator[Stack]:
    """Its dev stack, down again after the test."""
    with dev_stack(project.root) as stack:
        yield stack
        project.invoke("services.down")


def records_of(project: ProjectCopy) -> set[Path]:
    return set(project.root.glob(".reports/*/record.jsonl"))


def status_of(project: ProjectCopy) -> dict[str, str]:
    """What `services.status` says of the service."""
    (found,) = json.loads(project.invoke("services.status", "--only", "notes", "--json"))
    return dict(found)


def pid_of(status: dict[str, str]) -> int:
    return int(status["identity"].removeprefix("process "))


def says(url: str) -> str:
    connection = HTTPConnection(urlsplit(url).netloc, timeout=1)
    try:
        connection.request("GET", "/")
        return connection.getresponse().read().decode()
    finally:
        connection.close()


@pytest.mark.timeout(180)
def test_a_run_starts_empties_heals_breaks_and_reports_it(project: ProjectCopy) -> None:
    project.file(FILE, TESTS)
    before = records_of(project)

    ended = project.run("--mode=integration", "-n0", FILE)

    assert ended.code == 0, ended.output
    assert "started notes in " in ended.said
    assert "healed notes 1 time, which no test had asked to pause or to end" in ended.said
    (record,) = records_of(project) - before
    assert '"notes"' in record.read_text(encoding="utf-8")
    assert [outcome.results for outcome in ended.outcomes.values() if outcome.results] == [["passed"]] * 5


@pytest.mark.timeout(180)
def test_a_run_that_is_killed_leaves_none_of_it(project: ProjectCopy) -> None:
    project.file(FILE, WAITS)
    (project.root / "run").unlink(missing_ok=True)

    with project.begun("--mode=integration", "-n0", FILE) as process:
        comes_true((project.root / "run").exists, "the test has begun", 30)
        remains = Remains(Stack.of_a_run((project.root / "run").read_text(), project.root))
        assert any("process" in found for found in remains.look(containers=False))
        process.kill()

    assert gone_within(10, lambda: remains.look(containers=False)) is not None, remains.found


@pytest.mark.timeout(180)
def test_commands_bring_it_up_heal_it_and_end_it(project: ProjectCopy, dev: Stack) -> None:
    project.invoke("services.up", "--only", "notes")
    first = status_of(project)
    pid = pid_of(first)
    reaper.register(
        project.root / "register", {"kind": "process", "pid": pid, "started": started_at(pid) or "", "signal": 9}
    )
    assert (first["state"], first["provider"]) == ("healthy", "bundled")
    assert says(first["url"]) == dev.name

    project.invoke("services.pause", "--only", "notes")
    assert status_of(project)["state"] == "paused"
    project.invoke("services.up", "--only", "notes")
    assert pid_of(status_of(project)) == pid

    os.kill(pid, signal.SIGKILL)
    project.invoke("services.up", "--only", "notes")
    healed = status_of(project)
    assert pid_of(healed) != pid
    assert healed["url"] == first["url"]

    assert "notes: bundled" in project.invoke("services.down")
    assert started_at(pid_of(healed)) is None
    assert status_of(project)["state"] == "absent"


def test_a_driver_that_can_not_be_had_stops_a_run_in_one_line(project: ProjectCopy) -> None:
    driver = project.root / "tests/support/drivers.py"
    driver.write_text("")

    try:
        ended = project.run("--mode=integration", "-n0", FILE)
        said = project.invoke("services.status", code=1)
    finally:
        driver.write_text(DRIVER)

    for output in (ended.output, said):
        assert "the driver tests.support.drivers:Notes can't be had: module" in output
        assert "next: correct drivers in [tool.test_framework] of pyproject.toml" in output
        assert "Traceback" not in output
