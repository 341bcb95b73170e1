"""The runner of mutants, on a project of three lines: it reports what was caught, and a survivor as a failure."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from test_framework.mutants.__main__ import LIST, run

pytestmark = pytest.mark.timeout(150)  # a trial starts pytest up to five times

SERVICE = "def add(a, b):\n    return a + b\n\n\ndef half(a):\n    return a // 2\n"
TESTS = "from service import add, half\n\n\ndef test_it_adds():\n    assert add(1, 2) == 3\n"
CAUGHT = "## subtract\n\nNoticed by `tests/test_it.py`.\n\n```diff\n--- service.py\n-    return a + b\n+    return a - b\n```\n"
SURVIVOR = "## round up\n\nNoticed by `tests/test_it.py`.\n\n```diff\n--- service.py\n-    return a // 2\n+    return (a + 1) // 2\n```\n"
ENDLESS = "## turn for ever\n\nNoticed by `tests/test_it.py`.\n\n```diff\n--- service.py\n-    return a + b\n+    while True: ...\n```\n"
STALE = "## multiply\n\nNoticed by `tests/test_it.py`.\n\n```diff\n--- service.py\n-    return a ** b\n+    return a * b\n```\n"
SYNTAX = "## say nonsense\n\nNoticed by `tests/test_it.py`.\n\n```diff\n--- service.py\n-    return a + b\n+    return return\n```\n"
DOCSTRING = """\
## rewrite a docstring

Noticed by `tests/test_it.py`.

```diff
--- service.py
 def half(a):
-    \"""Halve a number.\"""
+    \"""Half a number.\"""
```
"""
LINE_OF_A_DOCSTRING = """\
## rewrite a line of a docstring

Noticed by `tests/test_it.py`.

```diff
--- service.py
-    The rest is lost.
+    The rest is dropped.
```
"""
NAMED_NOWHERE = CAUGHT.replace("tests/test_it.py", "tests/test_half.py")
JUDGE = """
from pathlib import Path

import pytest

@pytest.mark.parametrize("line", ["return a + b", '\"""Halve a number.\"""', "The rest is lost."])
def test_the_source_is_as_it_was_written(line):
    lines = Path(__file__).parents[1].joinpath("service.py").read_text().splitlines()
    assert line in [each.strip() for each in lines]
"""
DOCUMENTED = '''def add(a, b):
    return a + b


def half(a):
    """Halve a number."""
    return a // 2


def quarter(a):
    """
    Quarter a number.

    The rest is lost.
    """
    return a // 4
'''


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "service.py").write_text(SERVICE, encoding="utf-8")
    (tmp_path / "pyproject.toml").write_text('[tool.pytest.ini_options]\npythonpath = ["."]\n', encoding="utf-8")
    (tmp_path / "tests" / LIST).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "tests" / "test_it.py").write_text(TESTS, encoding="utf-8")
    return tmp_path


async def tried(project: Path, *entries: str, words: tuple[str, ...] = ()) -> tuple[int, str]:
    (project / "tests" / LIST).write_text("\n".join(entries), encoding="utf-8")
    told: list[str] = []
    code = await run(project, words, 2, told.append)
    return code, "\n".join(told)


async def test_a_mutant_that_is_noticed_is_told_with_the_test_that_did(project: Path) -> None:
    code, told = await tried(project, CAUGHT)

    assert code == 0
    assert "caught" in told
    assert "subtract: tests/test_it.py::test_it_adds" in told
    assert "1 of 1 ways to break the service were noticed, 0 of them elsewhere, 0 not tried" in told


async def test_a_survivor_is_reported_and_fails_the_run(project: Path) -> None:
    code, told = await tried(project, CAUGHT, SURVIVOR)

    assert code == 1
    assert "round up: no test of behaviour failed" in told
    assert "1 of 2 ways to break the service were noticed" in told
    assert "survived: round up: write the test that notices it" in told


@pytest.mark.parametrize(
    ("entry", "said"),
    [(STALE, "service.py holds this 0 times"), (SYNTAX, "pytest ended with 2")],
    ids=["stale", "no code"],
)
async def test_a_mutant_that_proves_nothing_fails_the_run(project: Path, entry: str, said: str) -> None:
    code, told = await tried(project, CAUGHT, entry)

    assert code == 1
    assert said in told
    assert f"correct it in {LIST}" in told


async def test_a_suite_that_is_red_by_itself_says_nothing_about_mutants(project: Path) -> None:
    (project / "tests" / "test_it.py").write_text(TESTS.replace("== 3", "== 4"), encoding="utf-8")

    code, told = await tried(project, CAUGHT)

    assert code == 2
    assert "the named tests fail where nothing is broken" in told
    assert "tests/test_it.py::test_it_adds" in told


async def test_a_mutant_that_never_ends_is_ended_and_counts_as_noticed(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("test_framework.mutants.__main__.TRIAL_SECONDS", 3.0)

    code, told = await tried(project, ENDLESS)

    assert code == 0
    assert "turn for ever: the tests did not end within 3 s" in told


async def test_only_those_whose_name_holds_a_word_are_tried(project: Path) -> None:
    code, told = await tried(project, CAUGHT, SURVIVOR, words=("subtract",))
    assert (code, "round up" in told) == (0, False)

    code, told = await tried(project, CAUGHT, words=("no such thing",))
    assert code == 2
    assert "is called so: no such thing" in told


async def test_the_project_itself_is_left_as_it_is(project: Path) -> None:
    await tried(project, CAUGHT, SURVIVOR)

    assert (project / "service.py").read_text(encoding="utf-8") == SERVICE


@pytest.fixture
def judged(project: Path) -> Path:
    """The project with a test that reads the source, as the test of a mutant list does."""
    (project / "service.py").write_text(DOCUMENTED, encoding="utf-8")
    (project / "tests" / "test_source.py").write_text(JUDGE, encoding="utf-8")
    half = "from service import half\n\n\ndef test_it_halves():\n    assert half(4) == 2\n"
    (project / "tests" / "test_half.py").write_text(half, encoding="utf-8")
    return project


def command(project: Path, *entries: str) -> tuple[int, str]:
    """Run the command as a process; return its exit code and output."""
    (project / "tests" / LIST).write_text("\n".join(entries), encoding="utf-8")
    arguments = [sys.executable, "-m", "test_framework.mutants", "--root", str(project)]
    ended = subprocess.run(arguments, capture_output=True, text=True, timeout=140, check=False)
    return ended.returncode, ended.stdout + ended.stderr


@pytest.mark.parametrize("entry", [DOCSTRING, LINE_OF_A_DOCSTRING], ids=["whole", "one line"])
def test_a_changed_docstring_survives_a_test_that_reads_the_source(judged: Path, entry: str) -> None:
    code, said = command(judged, CAUGHT, entry)

    assert code == 1, said
    assert "1 of 2 ways to break the service were noticed, 0 of them elsewhere" in said
    assert "docstring: no test of behaviour failed" in said


def test_a_catch_by_a_test_not_named_is_counted_as_elsewhere(judged: Path) -> None:
    code, said = command(judged, NAMED_NOWHERE)

    assert code == 0, said
    assert "1 of 1 ways to break the service were noticed, 1 of them elsewhere" in said
    assert "subtract: tests/test_it.py::test_it_adds" in said
    assert f"caught elsewhere: subtract: name that test in {LIST}" in said


def test_a_named_test_that_reads_the_source_is_refused(judged: Path) -> None:
    code, said = command(judged, CAUGHT.replace("test_it.py", "test_source.py"))

    assert code == 2, said
    assert "tests/test_source.py::test_the_source_is_as_it_was_written" in said
