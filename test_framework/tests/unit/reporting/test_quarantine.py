"""The quarantine's file: kept to the letter, or refused with every fault named."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from test_framework.reporting.quarantine import Quarantine, QuarantineError, load, load_even_if_expired

TODAY = date(2030, 1, 15)
GOOD = '[[quarantined]]\ntest = "tests/test_a.py::{test}"\nowner = "@ada"\nreason = "races"\nexpires = {expires}\n'
TESTS = "def test_one(): ...\nclass TestSome:\n    async def test_two(self): ...\n"


def read(root: Path, text: str) -> Quarantine:
    (root / "tests").mkdir(exist_ok=True)
    (root / "tests/test_a.py").write_text(TESTS)
    file = root / "quarantine.toml"
    file.write_text(text)
    return load(file, root, TODAY, 90)


@pytest.mark.parametrize("test", ["test_one", "test_one[3-x]", "TestSome::test_two"])
def test_an_entry_covers_its_test(tmp_path: Path, test: str) -> None:
    (entry,) = read(tmp_path, GOOD.format(test=test, expires="2030-01-15")).entries

    assert entry.covers(f"tests/test_a.py::{test}")
    assert entry.days_left(TODAY) == 0


def test_a_function_covers_all_its_parameters_and_nothing_that_begins_alike(tmp_path: Path) -> None:
    quarantine = read(tmp_path, GOOD.format(test="test_one", expires="2030-02-01"))

    assert quarantine.of("tests/test_a.py::test_one[a]")
    assert quarantine.of("tests/test_a.py::test_one_more") is None


def test_no_file_is_an_empty_quarantine(tmp_path: Path) -> None:
    assert load(tmp_path / "none.toml", tmp_path, TODAY, 90) == Quarantine()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD.format(test="test_one", expires="2030-01-14"), "expired on 2030-01-14: @ada"),
        (GOOD.format(test="test_one", expires="2031-01-14"), "364 days, and 90 are the most"),
        (GOOD.format(test="test_none", expires="2030-01-20"), "names no test"),
        (GOOD.format(test="TestSome::test_one", expires="2030-01-20"), "names no test"),
        (GOOD.format(test="test_one", expires="2030-01-20") * 2, "is entered twice"),
        (GOOD.format(test="test_one", expires='"2030-01-20"'), "entry 1: needs expires, a day without quotes"),
        (GOOD.format(test="test_one", expires="2030-01-20").replace("@ada", " "), "entry 1: needs owner"),
        (GOOD.format(test="test_one", expires="2030-01-20") + "why = 3\n", "has what nobody knows: why"),
        ("[[quarantined]]\n", "needs test, a text"),
        ("quarantined = 3\n", "holds more than entries"),
        ("tests = []\n", "holds more than entries (tests)"),
        ("[[quarantined", "no TOML"),
    ],
)
def test_a_fault_is_refused_and_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(QuarantineError) as refused:
        read(tmp_path, text)

    assert said in str(refused.value)


def test_all_faults_are_named_at_once(tmp_path: Path) -> None:
    text = GOOD.format(test="test_none", expires="2030-01-14") + GOOD.format(test="test_one", expires="2040-01-01")

    with pytest.raises(QuarantineError) as refused:
        read(tmp_path, text)

    assert len(str(refused.value).splitlines()) == 3


def test_parameters_that_no_test_has_are_refused_where_its_others_were_collected(tmp_path: Path) -> None:
    quarantine = read(tmp_path, GOOD.format(test="test_one[b]", expires="2030-02-01"))

    quarantine.check_collected(["tests/test_a.py::test_one[b]"])
    quarantine.check_collected(["tests/test_b.py::test_else"])
    with pytest.raises(QuarantineError, match="no such parameters"):
        quarantine.check_collected(["tests/test_a.py::test_one[a]"])


def test_a_report_shows_an_expired_entry(tmp_path: Path) -> None:
    file = tmp_path / "quarantine.toml"
    file.write_text(GOOD.format(test="test_one", expires="2020-01-01"))

    assert [entry.owner for entry in load_even_if_expired(file)] == ["@ada"]
