"""copier asks what cookiecutter asks, makes the same project, and refuses the same answers."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from cos_scaffold.copier import OWN
from tests.template.test_answers import REFUSED, REFUSED_SLUGS, STAMPED  # judged in full there; these show the way
from tests.template.workbench import ANSWERS, ROOT, Outcome, Workbench, as_words, tree

COOKIECUTTER: dict[str, Any] = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))
COPIER: dict[str, Any] = yaml.safe_load((ROOT / "copier.yml").read_text(encoding="utf-8"))
LABELS = COOKIECUTTER["__prompts__"]
HOSTILE = (
    "double quotes",
    "new line",
    "null byte",
    "expression",
    "substitution",
    "TOML assignment",
    "half a character",
)
HOSTILE_SLUGS = ("up", "elsewhere", "root", "backslash", "new line", "expression", "library")
QUESTIONS = [name for name in COOKIECUTTER if not name.startswith("_")]


def ask(workbench: Workbench, template: Path, project: Path, **answers: str) -> Outcome:
    """Stamp a project by copier, with these answers and the defaults of the other questions."""
    file = project.with_name("answers.yml")
    file.write_text(json.dumps(answers), encoding="utf-8")
    return workbench.run(
        "copier", "copy", "--trust", "--defaults", "--data-file", str(file), str(template), str(project)
    )


def test_copier_asks_the_questions_of_cookiecutter_in_their_order() -> None:
    assert [name for name in COPIER if not name.startswith("_")] == QUESTIONS


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_question_has_one_label_and_one_set_of_choices(name: str) -> None:
    question, label, offered = COPIER[name], LABELS[name], COOKIECUTTER[name]
    prompt, labels = (label, {}) if isinstance(label, str) else (label["__prompt__"], label)

    assert question["help"] == prompt
    if isinstance(offered, list):
        choices = question["choices"]
        assert (list(choices.values()) if isinstance(choices, dict) else choices) == offered
        assert not isinstance(choices, dict) or list(choices) == [labels[choice] for choice in offered]
    else:
        assert "choices" not in question


@pytest.mark.parametrize("name", ["", "Order Desk", "Bestellbüro Zürich", "R&D (2nd try)", "x" * 38 + " yz"])
def test_defaults_are_those_of_cookiecutter(name: str, workbench: Workbench, checkout: Path, tmp_path: Path) -> None:
    named = {"project_name": name} if name else {}
    (tmp_path / "theirs").mkdir()

    asked = ask(workbench, checkout, tmp_path / "ours", **named)
    workbench.succeed("cookiecutter", "--no-input", "-o", str(tmp_path / "theirs"), str(checkout), *as_words(named))

    assert asked.code == 0, asked.said
    assert tree(tmp_path / "ours") == tree(next((tmp_path / "theirs").iterdir()))


def test_what_belongs_to_a_project_is_the_same_for_copier_and_cruft(project: Path) -> None:
    cruft = tomllib.loads((project / "pyproject.toml").read_text())["tool"]["cruft"]["skip"]

    assert COPIER["_skip_if_exists"] == [f"/{folder}" for folder in OWN]  # without the slash: folders of any depth
    assert cruft == list(OWN)


@pytest.mark.parametrize("name", HOSTILE)
def test_copier_refuses_a_hostile_text_and_leaves_no_file(
    name: str, workbench: Workbench, checkout: Path, tmp_path: Path
) -> None:
    answers = dict.fromkeys(("project_name", "description", "author"), REFUSED[name])

    ended = ask(workbench, checkout, tmp_path / "made", **answers)

    assert ended.code != 0
    assert [path.name for path in tmp_path.iterdir()] == ["answers.yml"]
    assert "These answers would break the project later" in ended.said
    assert "For example: Order Desk" in ended.said


def test_a_refusal_leaves_an_existing_folder_empty(workbench: Workbench, checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()

    ended = ask(workbench, checkout, tmp_path / "made", author='An "Author"')

    assert ended.code != 0
    assert list((tmp_path / "made").iterdir()) == []


@pytest.mark.parametrize("name", HOSTILE_SLUGS)
def test_copier_refuses_a_hostile_slug_and_leaves_no_file(
    name: str, workbench: Workbench, checkout: Path, tmp_path: Path
) -> None:
    ended = ask(workbench, checkout, tmp_path / "made", project_slug=REFUSED_SLUGS[name])

    assert ended.code != 0
    assert [path.name for path in tmp_path.iterdir()] == ["answers.yml"]
    assert "project_slug" in ended.said


@pytest.mark.parametrize("name", ["accents in two parts", "right to left", "YAML pair"])
def test_copier_keeps_an_odd_text_as_it_is(name: str, workbench: Workbench, checkout: Path, tmp_path: Path) -> None:
    text, made = STAMPED[name], tmp_path / "made"

    ended = ask(workbench, checkout, made, project_name=text, project_slug="desk", description=text, author=text)

    assert ended.code == 0, ended.said
    identity = tomllib.loads((made / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (identity["description"], identity["authors"]) == (text, [{"name": text}])
    assert (made / "README.md").read_text(encoding="utf-8").startswith(f"# {text}\n\n{text}\n")
    assert yaml.safe_load((made / ".copier-answers.yml").read_text(encoding="utf-8"))["author"] == text


def test_copier_leaves_an_occupied_folder_alone_unless_asked(
    workbench: Workbench, checkout: Path, tmp_path: Path
) -> None:
    made = tmp_path / ANSWERS["project_slug"]
    made.mkdir()
    (made / "README.md").write_text("mine")

    refused = ask(workbench, checkout, made, **ANSWERS)
    untouched = {path.name: path.read_text() for path in made.iterdir()}
    workbench.copier_copy(str(checkout), "--overwrite", into=tmp_path)

    assert refused.code != 0
    assert "is not empty: it holds README.md" in refused.said
    assert "copier copy --overwrite" in refused.said
    assert untouched == {"README.md": "mine"}
    assert "Order Desk" in (made / "README.md").read_text()


def test_copier_stamps_into_a_new_repository(workbench: Workbench, checkout: Path, tmp_path: Path) -> None:
    made = tmp_path / ANSWERS["project_slug"]
    workbench.succeed("git", "init", "--quiet", str(made))

    workbench.copier_copy(str(checkout), into=tmp_path)

    assert (made / "app/main.py").exists()
