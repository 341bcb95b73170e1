"""The wheel of the kit, installed far from this checkout, tests an application that knows nothing of this template."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from test_framework import CHECKOUT
from test_framework.running.planted import Ended, Planted, outcomes_in
from test_framework.services.stack import Stack
from test_framework.tests.notes import OF_PYTEST, plant_notes
from test_framework.tests.wheels import BUILD_SECONDS, INSTALL_SECONDS, build, environment, installed

RUN_SECONDS = 100
CLEAN = "tests/mission_critical"
WITHOUT = ("-p", "no:test_framework")
PLAIN = """
    import sys

    SMALL = {"test_framework", "test_framework.configuration", "test_framework.entry_point"}


    def test_of_the_kit_nothing_more_is_loaded():
        assert {name for name in sys.modules if name.partition(".")[0] == "test_framework"} == SMALL
"""

pytestmark = [
    pytest.mark.needs("package_index", "posix"),
    pytest.mark.timeout(BUILD_SECONDS + INSTALL_SECONDS + 3 * RUN_SECONDS),
]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(CHECKOUT / "test_framework", tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return installed(wheel, CHECKOUT / "requirements-dev.lock", tmp_path_factory.mktemp("elsewhere"))


@pytest.fixture
def notes(tmp_path: Path) -> Planted:
    return plant_notes(tmp_path / "notes")


def ran(python: Path, project: Planted, *words: str) -> Ended:
    """Run a module of the virtual environment in a project, with services from wheels."""
    done = subprocess.run(
        [str(python), "-m", *words],
        cwd=project.root,
        env=environment(SERVICES="bundled", COLUMNS="200"),
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr, outcomes_in(project.log))


def pytest_in(python: Path, project: Planted, *words: str) -> Ended:
    return ran(python, project, "pytest", f"--report-log={project.log}", *words)


def test_the_same_files_give_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    compiled = shutil.ignore_patterns("__pycache__")
    for folder in ("test_framework", "compose"):  # other times, other modes
        shutil.copytree(CHECKOUT / folder, tmp_path / "copied" / folder, ignore=compiled, copy_function=shutil.copyfile)

    again = build(tmp_path / "copied" / "test_framework", tmp_path / "dist")

    assert again.name == wheel.name == "test_framework_kit-0.1.0-py3-none-any.whl"
    assert again.read_bytes() == wheel.read_bytes()


def test_the_wheel_holds_the_kit_without_its_tests_and_proofs(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    here = CHECKOUT / "test_framework"
    files = {file.relative_to(CHECKOUT).as_posix() for file in here.rglob("*") if file.is_file()}
    left_out = tuple(
        f"test_framework/{name}"
        for name in ("tests/", "proving/", "running/planted.py", "errors/document.py", "pyproject.toml")
    )
    compose = {f"test_framework/{file.relative_to(CHECKOUT)}" for file in (CHECKOUT / "compose").glob("*.yml")}

    assert names == compose | {
        name for name in files if not name.startswith(left_out) and "__pycache__" not in name
    }  # py.typed among them


def test_the_wheel_asks_for_what_the_repository_asks_for_and_sets_no_upper_bound() -> None:
    root, engine, kit = (
        tomllib.loads((CHECKOUT / folder / "pyproject.toml").read_text(encoding="utf-8"))
        for folder in ("", "commitstream", "test_framework")
    )
    asked = kit["project"]["dependencies"]

    assert {operator for text in asked for operator in re.findall("[<>=~!]+", str(Requirement(text).specifier))} == {
        ">="
    }
    assert set(asked) <= {*root["dependency-groups"]["dev"], *engine["project"]["dependencies"]}


@pytest.mark.parametrize("reality", ["lightweight", "integration"])
def test_a_foreign_project_is_isolated_and_reported(python: Path, notes: Planted, reality: str) -> None:
    ended = pytest_in(python, notes, f"--mode={reality}", CLEAN)

    names = [f"test_the_same_row_is_written[{turn}]" for turn in (1, 2)]
    for name in [*names, "test_nothing_of_the_template_is_there"]:
        assert ended.of(name).results == ["passed"], ended.output
    assert ended.code == pytest.ExitCode.OK, ended.output
    assert "3 passed" in ended.line("tests ", "3 = ")
    assert (notes.root / ended.line("record ", "record.jsonl").split()[-1]).is_file()
    assert ("started postgres in" in ended.said) == (reality == "integration")


def test_what_a_foreign_test_leaves_behind_is_named(python: Path, notes: Planted) -> None:
    light = pytest_in(python, notes, "--mode=lightweight", "tests/unit")
    assert light.of("test_a_thread_is_left").results == ["passed", "error"], light.output
    assert "'planted thread'" in light.of("test_a_thread_is_left").words

    real = pytest_in(python, notes, "--mode=integration", "tests/integration")
    assert real.of("test_a_key_is_left").results == ["passed", "error"], real.output
    assert "key planted-key" in real.of("test_a_key_is_left").words


def test_a_foreign_project_has_the_commands(python: Path, notes: Planted) -> None:
    try:
        up = ran(python, notes, "test_framework", "services.up")
        assert up.code == 0, up.output
        status = ran(python, notes, "test_framework", "services.status")
    finally:
        ended = ran(python, notes, "test_framework", "services.down")
        shutil.rmtree(Stack.dev(notes.root).data, ignore_errors=True)

    for service in ("postgres", "redis"):
        assert status.line(service, "healthy", "bundled")
    assert ended.code == 0, ended.output


def test_a_project_without_the_table_runs_as_with_plain_pytest(python: Path, tmp_path: Path) -> None:
    project = Planted(tmp_path / "plain")
    project.file("pyproject.toml", OF_PYTEST)
    project.file("tests/test_plain.py", PLAIN)

    ended = pytest_in(python, project)
    assert ended.of("test_of_the_kit_nothing_more_is_loaded").results == ["passed"], ended.output
    for listing in ("--fixtures", "--markers"):  # -qq, or it would say how long it took
        said = [pytest_in(python, project, listing, "-qq", "-p", "no:randomly", *words).said for words in ((), WITHOUT)]
        assert said[0] == said[1]
    assert not (project.root / ".reports").exists()
