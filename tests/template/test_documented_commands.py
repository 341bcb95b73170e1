"""The command lines on stamping and updating work as documented, typed on a terminal by a person."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.template.terminal import CLEAR_LINE, ENTER, on_terminal
from tests.template.workbench import ROOT, Workbench, tree

pytestmark = pytest.mark.timeout(300)

LABELS = [
    label if isinstance(label, str) else label["__prompt__"]
    for label in json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))["__prompts__"].values()
]
ENTER_AT_ALL = [(label, ENTER) for label in LABELS]
STAMPING = (ROOT / "docs/stamping.md").read_text(encoding="utf-8")
README = (ROOT / "{{cookiecutter.project_slug}}/README.md").read_text(encoding="utf-8")
KIT, FIXED = "test_framework/planted/text.txt", "app/agents/runs.py"


def commands(markdown: str, heading: str, block: int = 0) -> list[str]:
    """Return the command lines of a console block under a heading."""
    section = re.split(rf"(?m)^#+ {re.escape(heading)}$", markdown)[1]
    found = re.findall(r"(?s)```console\n(.*?)```", re.split(r"(?m)^#", section)[0] if not block else section)[block]
    return re.findall(r"(?m)^\$ (.*)$", found)


@pytest.fixture
def bench(checkout: Path, tmp_path: Path) -> Workbench:
    """A workbench where gh:org/cos-template is a template with one release, for one test to push to."""
    bench = Workbench.furnished(tmp_path / "bench")
    bare = bench.folder / "org" / "cos-template.git"
    bench.succeed("git", "clone", "--quiet", "--bare", str(checkout), str(bare))
    bench.succeed("git", "tag", "v1.0.0", cwd=bare)
    return bench


def typed(bench: Workbench, command: str, *, cwd: Path, dialogue: Sequence[tuple[str, str]] = (), code: int = 0) -> str:
    """Type a command, answer its prompts, and demand its exit code."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    ended, shown = on_terminal(command, cwd=cwd, env={**bench.environment(), "PATH": path}, dialogue=dialogue)
    assert ended == code, f"$ {command}\nended with {ended}:\n{shown}"
    return shown


def under_git(bench: Workbench, project: Path) -> Path:
    bench.succeed("git", "init", "--quiet", cwd=project)
    bench.commit(project, "a new project")
    return project


def release(bench: Workbench) -> None:
    """Change the kit and app/ of the template, and release it by the documented commands."""
    upstream = bench.folder / "upstream"
    bench.succeed("git", "clone", "--quiet", f"file://{bench.folder}/org/cos-template.git", str(upstream))
    (upstream / KIT).write_text("the second edition\n")
    (upstream / FIXED).write_text(f"# the fix\n{(upstream / FIXED).read_text()}")
    bench.commit(upstream, "a change of the template")
    bench.succeed("git", "push", "--quiet", "origin", "HEAD", cwd=upstream)
    for command in commands(STAMPING, "Release a version"):
        typed(bench, command, cwd=upstream)


def update(bench: Workbench, project: Path, lines: Sequence[str]) -> None:
    """Type the lines of an update, of which the last lists the fix that the update doesn't bring."""
    *others, last = lines
    for command in others:
        typed(bench, command, cwd=project)
    shown = typed(bench, last, cwd=project, code=1)
    assert FIXED in shown
    assert (project / KIT).read_text() == "the second edition\n"
    assert "# the fix" not in (project / FIXED).read_text()


def test_the_commands_of_all_tools_make_one_project(bench: Workbench, tmp_path: Path) -> None:
    made = []
    for number, command in enumerate(commands(STAMPING, "The three tools")):
        folder = tmp_path / str(number)
        folder.mkdir()
        typed(bench, command, cwd=folder, dialogue=ENTER_AT_ALL)
        made += [tree(project) for project in folder.iterdir()]

    assert len(made) == 3
    assert made[0] == made[1] == made[2]


def test_the_readmes_command_makes_a_project(bench: Workbench, tmp_path: Path) -> None:
    command = re.findall(r"(?m)^ +\$ pipx run (copier .*)$", (ROOT / "README.md").read_text(encoding="utf-8"))[0]
    name, *others = ENTER_AT_ALL

    typed(bench, command, cwd=tmp_path, dialogue=[(name[0], f"{CLEAR_LINE}Order Desk{ENTER}"), *others])

    project = tmp_path / command.split()[-1]
    assert (project / "README.md").read_text(encoding="utf-8").startswith("# Order Desk\n")
    assert 'name = "order-desk"' in (project / "pyproject.toml").read_text(encoding="utf-8")


def test_the_documented_update_brings_a_release(bench: Workbench) -> None:
    project = under_git(bench, bench.copier_copy("gh:org/cos-template", into=bench.folder / "made"))
    release(bench)

    update(bench, project, commands(README, "Update from the template"))


def test_a_project_of_cookiecutter_changes_to_copier_as_documented(bench: Workbench) -> None:
    project = under_git(bench, bench.cookiecutter("gh:org/cos-template", into=bench.folder / "made"))
    again, *others = commands(README, "A project made by cookiecutter or cruft")
    release(bench)

    typed(bench, again, cwd=project, dialogue=ENTER_AT_ALL)
    for command in others:
        typed(bench, command, cwd=project)

    assert bench.succeed("git", "show", "--stat", "--format=", cwd=project).split()[0] == ".copier-answers.yml"
    update(bench, project, commands(README, "Update from the template"))


def test_the_documented_update_by_cruft_brings_a_commit(bench: Workbench) -> None:
    project = under_git(bench, bench.cruft_create("https://github.com/org/cos-template", into=bench.folder / "made"))
    release(bench)

    update(bench, project, commands(README, "A project made by cookiecutter or cruft", 1))


def test_cruft_links_a_project_that_cookiecutter_made(bench: Workbench) -> None:
    project = under_git(bench, bench.cookiecutter("gh:org/cos-template", into=bench.folder / "made"))
    command = re.findall(r"`(cruft link .*?)`", README)[0]

    typed(bench, command, cwd=project, dialogue=[*ENTER_AT_ALL, ("Link to template at commit", ENTER)])

    assert json.loads((project / ".cruft.json").read_text())["commit"]
