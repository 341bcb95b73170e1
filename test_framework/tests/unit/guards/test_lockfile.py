"""Locks, pyproject.toml and what is installed are held against each other, on a small world of four distributions."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from packaging.requirements import Requirement

from test_framework.guards import lockfile
from test_framework.guards.installed import Distribution, Lookup
from test_framework.guards.pins import read_lock
from test_framework.guards.source import Finding, Source

Plant = Callable[[str, str], Source]
Judge = Callable[..., list[Finding]]

HASH = " \\\n    --hash=sha256:00 \\\n    --hash=sha256:11\n"
PYPROJECT = """\
[project]
name = "our-service"
dependencies = ["web[fast]>=2", "windows-only>=1; sys_platform == 'nowhere'"]

[dependency-groups]
dev = ["checker>=1", {include-group = "more"}]
more = ["Extra_Tool"]
unlocked = ["baker"]
"""
ENGINE = """\
[project]
name = "our-engine"
dependencies = ["speedups>=3"]
"""
RUNTIME = (
    f"# made by: nox -s lock\nspeedups==3.1{HASH}web==2.4{HASH}windows-only==1.0 ; sys_platform == 'nowhere'{HASH}"
)
DEV = f"checker==1.5{HASH}extra-tool==0.1{HASH}{RUNTIME}"
INSTALLED = {
    "web": Distribution("2.4", (Requirement("speedups>=3; extra == 'fast'"), Requirement("slow; extra == 'docs'"))),
    "speedups": Distribution("3.1"),
    "checker": Distribution("1.5", (Requirement("old-typing; python_version < '3'"),)),
    "extra-tool": Distribution("0.1", (Requirement("checker"),)),
}


@pytest.fixture
def judge(plant: Plant) -> Judge:
    """Judge the small world, with what a test changes in it."""

    def check(
        pyproject: str = PYPROJECT,
        engine: str = ENGINE,
        runtime: str = RUNTIME,
        dev: str = DEV,
        installed: dict[str, Distribution] = INSTALLED,
    ) -> list[Finding]:
        files = [
            plant("pyproject.toml", pyproject),
            plant("commitstream/pyproject.toml", engine),
            plant("requirements.lock", runtime),
            plant("requirements-dev.lock", dev),
        ]
        lookup: Lookup = installed.get
        return lockfile.check(files, lookup)

    return check


def test_a_world_in_order_passes(judge: Judge) -> None:
    assert judge() == []


def test_a_dependency_that_was_never_locked_is_named(judge: Judge) -> None:
    findings = judge(pyproject=PYPROJECT.replace('"web', '"queue>=1", "web'))

    assert {finding.path for finding in findings} == {"requirements.lock", "requirements-dev.lock"}
    assert any("queue>=1" in finding.message and "nox -s lock" in finding.message for finding in findings)


def test_an_unlocked_dependency_of_the_engine_is_named(judge: Judge) -> None:
    findings = judge(engine=ENGINE.replace('"speed', '"queue>=1", "speed'))

    assert {finding.path for finding in findings} == {"requirements.lock", "requirements-dev.lock"}
    assert all("commitstream/pyproject.toml asks for queue>=1" in finding.message for finding in findings)


def test_a_tool_belongs_into_the_dev_lock_alone(judge: Judge) -> None:
    findings = judge(pyproject=PYPROJECT.replace('"checker>=1"', '"checker>=1", "linter"'))

    assert {finding.path for finding in findings} == {"requirements-dev.lock"}


def test_an_included_group_is_locked_too(judge: Judge) -> None:
    (finding, *_) = judge(dev=DEV.replace(f"extra-tool==0.1{HASH}", ""))

    assert "Extra_Tool" in finding.message


def test_a_pin_that_its_specifier_refuses_is_named_with_its_line(judge: Judge) -> None:
    findings = judge(pyproject=PYPROJECT.replace("web[fast]>=2", "web[fast]>=3"))

    assert ("requirements.lock", 5) in {(finding.path, finding.line) for finding in findings}


def test_a_requirement_for_another_platform_is_judged_too(judge: Judge) -> None:
    findings = judge(pyproject=PYPROJECT.replace("windows-only>=1", "windows-only>=2"))

    assert all("windows-only>=2" in finding.message for finding in findings)
    assert findings


def test_a_pin_without_a_hash_is_refused(judge: Judge) -> None:
    (finding,) = judge(runtime=RUNTIME.replace(f"web==2.4{HASH}", "web==2.4\n"))

    assert "no hash" in finding.message


def test_two_locks_that_pin_differently_are_refused(judge: Judge) -> None:
    findings = judge(dev=DEV.replace("speedups==3.1", "speedups==3.2"))

    assert any("tests run other code" in finding.message for finding in findings)


def test_a_runtime_pin_that_the_dev_lock_lacks_is_refused(judge: Judge) -> None:
    findings = judge(dev=DEV.replace(f"web==2.4{HASH}", ""))

    assert any("no pin at all" in finding.message for finding in findings)


def test_a_need_of_an_extra_must_be_pinned(judge: Judge) -> None:
    findings = judge(runtime=RUNTIME.replace(f"speedups==3.1{HASH}", ""), dev=DEV.replace(f"speedups==3.1{HASH}", ""))

    assert any("no pin for speedups>=3, which web needs" in finding.message for finding in findings)


def test_a_pin_that_someone_elses_need_refuses_is_named(judge: Judge) -> None:
    needy = {**INSTALLED, "checker": Distribution("1.5", (Requirement("speedups<3"),))}

    (finding,) = judge(installed=needy)

    assert "does not satisfy speedups<3, which checker needs" in finding.message


def test_an_installed_version_other_than_the_pin_is_named(judge: Judge) -> None:
    findings = judge(installed={**INSTALLED, "speedups": Distribution("3.0")})

    assert all("3.0 is installed" in finding.message for finding in findings)
    assert findings


def test_what_is_not_installed_is_named(judge: Judge) -> None:
    without = {name: distribution for name, distribution in INSTALLED.items() if name != "checker"}

    (finding,) = judge(installed=without)

    assert "checker==1.5 is not installed" in finding.message
    assert "nox -s setup" in finding.message


def test_an_orphan_is_named(judge: Judge) -> None:
    (finding,) = judge(dev=f"{DEV}leftover==9{HASH}")

    assert "leftover==9 is an orphan" in finding.message


def test_a_pin_for_another_platform_is_no_orphan(judge: Judge) -> None:
    assert judge(dev=f"{DEV}wincon==9 ; sys_platform == 'nowhere'{HASH}") == []


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https://packages.example/simple",
        "--extra-index-url=https://packages.example/simple",
        "--find-links ./wheels",
        "web @ https://files.example/web.whl",
        "-e .",
        "web>=2",
    ],
)
def test_a_line_that_is_no_pin_is_refused(judge: Judge, line: str) -> None:
    findings = judge(runtime=f"{line}\n{RUNTIME}")

    assert ("requirements.lock", 1) in {(finding.path, finding.line) for finding in findings}


def test_the_project_itself_is_never_pinned(judge: Judge) -> None:
    findings = judge(dev=f"{DEV}our-service==0.1{HASH}")

    assert any("the project itself" in finding.message for finding in findings)


def test_a_missing_lock_is_named(plant: Plant) -> None:
    findings = lockfile.check([plant("pyproject.toml", PYPROJECT), plant("commitstream/pyproject.toml", ENGINE)])

    assert [finding.path for finding in findings] == ["requirements.lock", "requirements-dev.lock"]


def test_a_pin_is_read_with_its_extras_its_marker_and_its_line() -> None:
    (pin, other), rest = read_lock(f"# a comment\nWeb.Kit[a,b]==1.0+local ; python_version < '3'{HASH}x==2\n")

    assert (pin.name, pin.version, pin.hashed, pin.holds_here, pin.line) == ("web-kit", "1.0+local", True, False, 2)
    assert (other.hashed, other.line) == (False, 5)
    assert rest == []
