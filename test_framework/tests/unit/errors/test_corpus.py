"""The corpus of real failures: what was really broken is what is said, also of what no rule was made from."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable

import pytest

from test_framework.error_reporter import ErrorReporter
from test_framework.errors.categories import Category
from test_framework.errors.diagnosis import Explanation
from test_framework.tests.corpus.scenarios import SCENARIOS
from test_framework.tests.corpus.store import FILE, Labelled, read

FEWEST, LARGEST = 120, 1_500_000
FOLDERS_OF_PEOPLE = ("home", "root", "Users", "tmp")
RIGHT, WRONG = 0.90, 0.05

Judged = list[tuple[Labelled, Explanation]]


@pytest.fixture(scope="module")
def judged() -> Judged:
    """Every stored failure beside what is said of it; those that were seen together are explained together."""
    families: dict[str, list[Labelled]] = defaultdict(list)
    for labelled in read():
        families[labelled.family].append(labelled)
    reporter = ErrorReporter()
    return [
        pair
        for members in families.values()
        for pair in zip(members, reporter.explain([one.failure for one in members]).failures, strict=True)
    ]


def of_part(judged: Judged, *, held_out: bool) -> Judged:
    return [(labelled, said) for labelled, said in judged if labelled.held_out is held_out]


def test_the_corpus_is_large_enough_to_prove_something_and_small_enough_to_keep(judged: Judged) -> None:
    assert len(judged) >= FEWEST
    assert FILE.stat().st_size < LARGEST
    assert {labelled.category for labelled, _ in judged} == set(Category)


@pytest.mark.parametrize("held_out", [True, False], ids=["held out", "known"])
def test_what_was_broken_is_what_is_said(judged: Judged, held_out: bool) -> None:
    part = of_part(judged, held_out=held_out)

    right = [pair for pair in part if pair[1].category is pair[0].category]
    wrong = [pair for pair in part if pair[1].category not in {pair[0].category, Category.UNKNOWN}]

    assert len(right) >= RIGHT * len(part), confusion(part)
    assert len(wrong) <= WRONG * len(part), confusion(part)


@pytest.mark.parametrize("held_out", [True, False], ids=["held out", "known"])
def test_whose_fault_it_is_is_said(judged: Judged, held_out: bool) -> None:
    part = of_part(judged, held_out=held_out)

    right = [pair for pair in part if pair[1].fault is pair[0].fault]

    assert len(right) >= RIGHT * len(part), confusion(part)


def test_no_line_of_the_corpus_names_a_machine_or_a_secret() -> None:
    text = FILE.read_text(encoding="utf-8")

    assert re.findall(rf"/(?:{'|'.join(FOLDERS_OF_PEOPLE)})/[^\s\"]*", text) == []
    assert re.findall(r"://[^\s:/@\"]*:(?!\*\*\*)[^\s/@\"]+@", text) == []


def test_the_corpus_is_made_of_the_scenarios(judged: Judged) -> None:
    labels = {scenario.family: (scenario.category, scenario.fault) for scenario in SCENARIOS}

    assert {one.family for one, _ in judged} <= set(labels)
    assert all(labels[one.family] == (one.category, one.fault) for one, _ in judged)


def confusion(part: Judged) -> str:
    """Show what was taken for what, the most frequent first."""
    mistaken = Counter((str(one.category), str(said.category), str(one.fault), str(said.fault)) for one, said in part)
    lines = [
        f"{count:>3} {' → '.join(pair[:2]):<34} {' → '.join(pair[2:])}"
        for pair, count in mistaken.most_common()
        if is_wrong(pair)
    ]
    families = sorted({one.family for one, said in part if (one.category, one.fault) != (said.category, said.fault)})
    return "\n".join([f"of {len(part)}:", *lines, *families])


def is_wrong(pair: Iterable[str]) -> bool:
    category, said, fault, said_fault = pair
    return category != said or fault != said_fault
