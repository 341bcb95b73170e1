"""A hostile answer is refused and leaves nothing behind, whoever refuses it; an odd one makes a sound project."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tests.template.test_answers import REFUSED, REFUSED_SLUGS, STAMPED
from tests.template.workbench import ANSWERS, Workbench

ALREADY_THERE = {"", ".", ".."}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_a_hostile_text_makes_no_project(text: str, workbench: Workbench, checkout: Path, tmp_path: Path) -> None:
    answers = dict.fromkeys(("project_name", "description", "author"), text)

    ended = workbench.typed(answers, template=checkout, into=tmp_path / "made")

    assert ended.code != 0
    assert list((tmp_path / "made").iterdir()) == []
    assert "These answers would break the project later" in ended.said
    assert "For example: Order Desk" in ended.said


@pytest.mark.parametrize(
    "slug", [slug for slug in REFUSED_SLUGS.values() if slug not in ALREADY_THERE and "/" not in slug]
)
def test_a_hostile_slug_makes_no_project(slug: str, workbench: Workbench, checkout: Path, tmp_path: Path) -> None:
    ended = workbench.typed({"project_slug": slug}, template=checkout, into=tmp_path / "made")

    assert ended.code != 0
    assert list((tmp_path / "made").iterdir()) == []
    assert "project_slug" in ended.said


@pytest.mark.parametrize("slug", sorted(ALREADY_THERE))
def test_a_slug_that_names_a_folder_in_use_leaves_it_alone(
    slug: str, workbench: Workbench, checkout: Path, tmp_path: Path
) -> None:
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "mine").write_text("mine")

    ended = workbench.typed({"project_slug": slug}, template=checkout, into=tmp_path / "made")

    assert ended.code != 0
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["mine"]


def test_a_slug_that_leads_elsewhere_leaves_nothing_there(workbench: Workbench, checkout: Path, tmp_path: Path) -> None:
    ended = workbench.typed({"project_slug": "../elsewhere"}, template=checkout, into=tmp_path / "made")

    assert ended.code != 0
    assert not (tmp_path / "elsewhere").exists()
    assert list((tmp_path / "made").iterdir()) == []


@pytest.mark.parametrize("text", STAMPED.values(), ids=STAMPED)
def test_an_odd_text_makes_a_project_that_says_just_that(
    text: str, workbench: Workbench, checkout: Path, tmp_path: Path
) -> None:
    answers = dict.fromkeys(("project_name", "description", "author"), text)

    ended = workbench.typed(answers, template=checkout, into=tmp_path / "made")

    assert ended.code == 0, ended.said
    project = tmp_path / "made" / ANSWERS["project_slug"]
    identity = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert identity["name"] == ANSWERS["project_slug"]
    assert identity["description"] == text
    assert identity["authors"] == [{"name": text}]
    assert (project / "README.md").read_text(encoding="utf-8").startswith(f"# {text}\n\n{text}\n")
    assert f"Copyright (c) {text}\n" in (project / "LICENSE").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "slug"),
    [("Order Desk", "order-desk"), ("Bestellbüro Zürich", "bestellburo-zurich"), ("R&D (2nd try)", "r-d-2nd-try")],
)
def test_the_slug_follows_from_the_name(
    name: str, slug: str, workbench: Workbench, checkout: Path, tmp_path: Path
) -> None:
    workbench.succeed("cookiecutter", "--no-input", "-o", str(tmp_path), str(checkout), f"project_name={name}")

    assert [path.name for path in tmp_path.iterdir()] == [slug]
