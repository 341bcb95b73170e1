"""Whatever way people stamp a project, it is the same project, and it is the live tree less a listed difference."""

from __future__ import annotations

import json
import re
import shutil
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.template.conftest import JUNK, PLANTED
from tests.template.workbench import ANSWERS, ROOT, File, Workbench, tree

LEFT_OUT = (
    ".ci/",
    ".github/workflows/ours.yml",
    "benchmarks/",
    "cookiecutter.json",
    "copier.yml",
    "cos_scaffold/",
    "docs/report.png",
    "commitstream/tests/",
    "docs/benchmarks.md",
    "docs/claims.md",
    "docs/stamping.md",
    "hooks/",
    "test_framework/errors/document.py",
    "test_framework/proving/",
    "test_framework/reporting/sample.py",
    "test_framework/running/planted.py",
    "test_framework/tests/",
    "tests/agents/mission_critical/mutants.md",
    "tests/agents/performance/baseline.json",
    "tests/template/",
    "{{cookiecutter.project_slug}}/",
)
WRITTEN = {".gitattributes", "LICENSE", "README.md", "pyproject.toml"}
OF_A_PROJECT = re.compile(r"(?<![\w/.-])(?:app|benchmarks|commitstream|test_framework|tests|docs|compose)/[\w/.-]*\w/?")
MADE_UP = {
    "app/audit.py",
    "app/orders/charges.py",
    "tests/agents/performance/baseline.json",
    "tests/conftest.py",
    "tests/integration/test_orders.py",
    "tests/orders/mission_critical/test_charges.py",
    "tests/support/drivers.py",
    "tests/unit/test_orders.py",
}
"""Files that a document gives as an example, and those that a user or a command writes."""
TRACE = re.compile(rb"cos.template|cos_scaffold|cookiecutter|cruft|template[ _-]only", re.IGNORECASE)


def by_path(workbench: Workbench, checkout: Path, into: Path) -> Path:
    return workbench.cookiecutter(str(checkout), into=into)


def in_place(workbench: Workbench, checkout: Path, into: Path) -> Path:
    return workbench.cookiecutter(".", into=into, cwd=checkout)


def by_relative_path(workbench: Workbench, checkout: Path, into: Path) -> Path:
    return workbench.cookiecutter(f"../{checkout.name}", into=into, cwd=checkout)


def by_zip(workbench: Workbench, checkout: Path, into: Path) -> Path:
    archive = workbench.folder / "cos-template.zip"
    command = ("git", "archive", "--format=zip", "--prefix=cos-template-main/", "-o", str(archive), "HEAD")
    workbench.succeed(*command, cwd=checkout)
    return workbench.cookiecutter(str(archive), into=into)


def by_replay(workbench: Workbench, checkout: Path, into: Path) -> Path:
    workbench.cookiecutter(str(checkout), into=into / "before")
    workbench.succeed("cookiecutter", "--replay", "-o", str(into), str(checkout))
    return into / ANSWERS["project_slug"]


WAYS = (by_path, in_place, by_relative_path, by_zip, by_replay)


@pytest.mark.parametrize("way", WAYS)
def test_every_local_way_gives_the_same_project(
    way: Callable[[Workbench, Path, Path], Path],
    workbench: Workbench,
    checkout: Path,
    project: Path,
    tmp_path: Path,
) -> None:
    made = way(workbench, checkout, tmp_path)

    assert tree(made) == tree(project)


@pytest.mark.parametrize(
    "address", ["file://…", "gh:org/cos-template", "cruft", "copier", "copier gh:org/cos-template"]
)
def test_every_published_way_gives_the_same_project(
    address: str, workbench: Workbench, published: str, project: Path, tmp_path: Path
) -> None:
    if address == "cruft":
        made = workbench.cruft_create(published, into=tmp_path)
    elif address.startswith("copier"):
        made = workbench.copier_copy(address.partition(" ")[2] or published, into=tmp_path)
    else:
        made = workbench.cookiecutter(address.replace("file://…", published), into=tmp_path)

    assert tree(made) == tree(project)


def test_a_project_is_the_live_tree_less_a_listed_difference(
    checkout: Path, project: Path, workbench: Workbench
) -> None:
    tracked = set(workbench.succeed("git", "ls-files", "-z", cwd=checkout).split("\0")) - {""}
    live = {name: file for name, file in tree(checkout).items() if name in tracked}

    made = tree(project)

    assert set(made) - set(live) <= WRITTEN
    assert {name for name in made if name.startswith(LEFT_OUT)} == set()
    missing = {name for name in set(live) - set(made) if not name.startswith(LEFT_OUT)}
    assert {name for name in missing if not live[name].content.startswith(b"# >>> template only")} == set()
    changed = {name for name in made if name not in WRITTEN and made[name] != live[name]}
    assert {name for name in changed if b"template only" not in live[name].content} == set()


def test_git_marks_the_engine_and_the_kit_as_vendored(project: Path, workbench: Workbench, tmp_path: Path) -> None:
    shutil.copy2(project / ".gitattributes", tmp_path)
    workbench.succeed("git", "init", "--quiet", cwd=tmp_path)
    files = ("commitstream/hub.py", "test_framework/guards/mocks.py", "app/main.py", "tests/mutants.md")

    marked = workbench.succeed("git", "check-attr", "linguist-vendored", *files, cwd=tmp_path)

    assert [line.rpartition(": ")[2] for line in marked.splitlines()] == ["set", "set", "unspecified", "unspecified"]


def test_nothing_planted_is_lost_or_changed_on_the_way(project: Path) -> None:
    made = tree(project)

    for name, content in PLANTED.items():
        if not name.startswith(LEFT_OUT) and name != "docs/Größe & Maß.md":
            assert made[name].content == content, name
    assert made["docs/Größe & Maß.md"].content == b"A name with accents and blanks.\n\n"
    assert made["test_framework/planted/run.sh"].executable
    assert not made["app/planted/picture.png"].executable


def test_nothing_of_this_machine_is_in_a_project(project: Path) -> None:
    made = tree(project)

    assert made.keys().isdisjoint(JUNK)
    assert not [name for name in made if "__pycache__" in name]
    assert not (project / ".git").exists()


def test_a_project_gets_no_figures_of_this_repository(project: Path) -> None:
    assert not (project / "tests/agents/performance/baseline.json").exists()
    assert not (project / "docs/report.png").exists()


def test_nothing_in_a_project_ends_its_lines_as_windows_does(project: Path) -> None:
    with_carriage_returns = [name for name, file in tree(project).items() if b"\r\n" in file.content]

    assert with_carriage_returns == ["app/planted/picture.png"]


def test_a_project_does_not_know_that_it_was_stamped(project: Path) -> None:
    about_the_template = {*PLANTED, "README.md", "test_framework/tasks/template.py"}
    made = {name: file for name, file in tree(project).items() if name not in about_the_template}
    identity = made["pyproject.toml"].content
    made["pyproject.toml"] = File(identity[: identity.index(b"\n# These are yours: `cruft")], executable=False)

    traces = [
        f"{name}: {line.decode()}"
        for name, file in made.items()
        for line in file.content.splitlines()
        if TRACE.search(line)
    ]

    assert traces == []


def test_only_the_last_section_of_the_readme_speaks_of_the_template(project: Path) -> None:
    readme = (project / "README.md").read_bytes()

    before, update = readme.split(b"## Update from the template")

    assert readme.startswith(b"# Order Desk\n\nTakes orders, and says where they are\n")
    assert not TRACE.search(before)
    assert b"git diff --check" in update
    assert b"*.rej" in update
    assert b"--accept-hooks no" in update


def test_the_identity_is_the_answered_one(project: Path) -> None:
    written = tomllib.loads((project / "pyproject.toml").read_text())
    live = tomllib.loads((ROOT / "pyproject.toml").read_text())

    assert written["project"] == {
        **live["project"],
        "name": "order-desk",
        "description": "Takes orders, and says where they are",
        "version": "0.1.0",
        "requires-python": ">=3.11",
        "license": "MIT",
        "authors": [{"name": "Zoë Müller-Østergård"}],
    }
    groups = live["dependency-groups"]
    assert written["dependency-groups"] == {name: groups[name] for name in ("tools", "dev")}
    assert written["tool"]["cruft"] == {"skip": ["app", "tests"]}


def test_answers_reach_three_files_and_the_workflows(
    workbench: Workbench, checkout: Path, project: Path, tmp_path: Path
) -> None:
    other = {
        "project_name": "Ampel",
        "project_slug": "ampel_2",
        "description": "Shows red",
        "author": "Ann O'Brien",
        "license": "Apache-2.0",
        "lowest_python": "3.13",
        "ci_provider": "none",
        "example": "agents",
    }

    ended = workbench.typed(other, template=checkout, into=tmp_path / "other")

    assert ended.code == 0, ended.said
    here, there = tree(project), tree(tmp_path / "other" / "ampel_2")
    assert {name for name in there if there[name] != here[name]} == {"LICENSE", "README.md", "pyproject.toml"}
    assert {name.partition("/")[0] for name in here.keys() - there.keys()} == {".github"}
    written = tomllib.loads(there["pyproject.toml"].content.decode())
    assert written["project"]["requires-python"] == ">=3.13"
    assert written["tool"]["ruff"]["target-version"] == "py313"
    assert written["tool"]["mypy"]["python_version"] == "3.13"
    assert written["project"]["authors"] == [{"name": "Ann O'Brien"}]


@pytest.mark.parametrize(
    ("answer", "spdx", "words"),
    [
        ("MIT", "MIT", "Copyright (c) Zoë Müller-Østergård"),
        ("Apache-2.0", "Apache-2.0", "Apache License"),
        ("BSD-3-Clause", "BSD-3-Clause", "Copyright (c) Zoë Müller-Østergård"),
        ("Proprietary", "LicenseRef-Proprietary", "Copyright (c) Zoë Müller-Østergård. All rights reserved."),
    ],
)
def test_the_licence_is_the_answered_one(
    answer: str, spdx: str, words: str, workbench: Workbench, checkout: Path, tmp_path: Path
) -> None:
    ended = workbench.typed({"license": answer}, template=checkout, into=tmp_path / "made")

    assert ended.code == 0, ended.said
    project = tmp_path / "made" / "order-desk"
    assert words in (project / "LICENSE").read_text(encoding="utf-8")
    assert "<holder>" not in (project / "LICENSE").read_text(encoding="utf-8")
    assert tomllib.loads((project / "pyproject.toml").read_text())["project"]["license"] == spdx


def test_enter_at_every_question_makes_a_project(workbench: Workbench, checkout: Path, tmp_path: Path) -> None:
    questions = json.loads((checkout / "cookiecutter.json").read_text())

    ended = workbench.run(
        "cookiecutter", "-o", str(tmp_path), str(checkout), stdin="\n" * len(questions["__prompts__"])
    )

    assert ended.code == 0, ended.said
    assert "Next, in my-realtime-service: . ./activate && nox -s dev" in ended.said
    for label in questions["__prompts__"].values():
        assert (label if isinstance(label, str) else label["__prompt__"]) in ended.said


def test_a_refusal_of_hooks_is_explained_where_people_look(
    workbench: Workbench, checkout: Path, tmp_path: Path
) -> None:
    made = workbench.cookiecutter(str(checkout), "--accept-hooks", "no", into=tmp_path)

    assert [path.name for path in made.iterdir()] == ["README.md"]
    assert "--accept-hooks no" in (made / "README.md").read_text()


def test_a_hook_compiles_nothing_that_the_next_commit_of_the_template_could_meet(
    workbench: Workbench, checkout: Path, tmp_path: Path
) -> None:
    """`cruft update` runs the hooks of two commits within a second, too fast for Python to notice a new source."""
    workbench.cookiecutter(str(checkout), into=tmp_path)

    compiled = {path.name.partition(".")[0] for path in checkout.glob("cos_scaffold/**/*.pyc")}
    assert compiled <= {"__init__", "root"}


def test_a_project_is_stamped_while_you_wait(workbench: Workbench, checkout: Path, tmp_path: Path) -> None:
    started = time.monotonic()

    workbench.cookiecutter(str(checkout), into=tmp_path)

    took = time.monotonic() - started
    print(f"stamped in {took:.2f} s")
    assert took < 20


def test_the_documents_name_only_sessions_that_exist(workbench: Workbench, checkout: Path, tmp_path: Path) -> None:
    made = workbench.cookiecutter(str(checkout), into=tmp_path)

    listed = set(
        re.findall(r"^[*-] (\S+?)(?:-3\.\d+)?(?: |$)", workbench.succeed("nox", "-l", cwd=made), flags=re.MULTILINE)
    )
    named = {session for text in documents(made).values() for session in re.findall(r"nox -s (\w+)", text)}

    assert {"dev", "tests", "lightweight"} <= named <= listed
    assert listed.isdisjoint({"bench", "kit", "rehearse", "repeat", "soak", "template"})


def test_the_documents_name_only_files_that_exist(project: Path) -> None:
    named = {path for text in documents(project).values() for path in OF_A_PROJECT.findall(text)}

    assert "test_framework/errors/rules/" in named
    assert {path for path in named if not (project / path).exists()} == MADE_UP


def documents(project: Path) -> dict[Path, str]:
    """Read the documents that a project's user reads, but for the one that is planted."""
    files = (
        file for pattern in ("*.md", "docs/*.md", "compose/*.md", "tests/**/*.md") for file in project.glob(pattern)
    )
    return {
        file: file.read_text(encoding="utf-8") for file in files if file.relative_to(project).as_posix() not in PLANTED
    }


def test_a_checkout_may_lie_anywhere(workbench: Workbench, checkout: Path, project: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "it's a dépôt, 100% $HOME"
    shutil.copytree(checkout, elsewhere)

    made = workbench.cookiecutter(str(elsewhere), into=tmp_path / "made")

    assert tree(made) == tree(project)
