"""What each format promises beyond the numbers."""

from __future__ import annotations

import csv
import io
import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import jsonschema
import pytest

from test_framework.reporting import sample
from test_framework.reporting.facts import RunPart, TestResult
from test_framework.reporting.model import GateState
from test_framework.reporting.outcome import Outcome
from test_framework.reporting.summary import summarise
from test_framework.reporting.views import ctrf, junit, markdown, table, terminal
from test_framework.tests.unit.reporting.runs import part, result


def of(*results: TestResult) -> RunPart:
    return replace(part(""), results=results)


def case(report_of: RunPart, name: str) -> ET.Element:
    found = ET.fromstring(junit.write(summarise([report_of]))).find(f".//testcase[@name='{name}']")
    assert found is not None
    return found


def test_a_pass_after_a_retry_is_a_flaky_failure_and_no_failure() -> None:
    found = case(part({"tests/unit/test_a.py::TestB::t": "R"}), "t")

    assert [child.tag for child in found] == ["flakyFailure"]
    assert found.get("classname") == "tests.unit.test_a.TestB"
    assert found.findtext("flakyFailure/stackTrace") == "a traceback"


def test_a_failure_after_retries_shows_every_attempt() -> None:
    fell = result("f.py::t", "F")

    found = case(of(replace(fell, attempts=fell.attempts * 3)), "t")

    assert [child.tag for child in found] == ["failure", "rerunFailure", "rerunFailure"]


def test_a_quarantined_fall_is_skipped_in_junit_and_still_told() -> None:
    found = case(part({"f.py::t": "Q"}), "t")

    assert [child.tag for child in found] == ["skipped", "flakyFailure"]
    assert "quarantined" in str(found[0].get("message"))


def test_letters_that_xml_has_not_are_replaced() -> None:
    odd = result("f.py::t[\x00\ud800\x1b]", "F")
    fell = replace(odd.attempts[0], message="\x07 <b> & \ufffe", detail="]]> \x0b")

    found = ET.fromstring(junit.write(summarise([of(replace(odd, attempts=(fell,)))])).encode("utf-8"))

    assert found.find(".//failure") is not None


def test_parameters_stay_with_the_name_even_where_they_look_like_a_path() -> None:
    found = ET.fromstring(junit.write(summarise([part({"f.py::C::t[a::b]": "."})]))).find(".//testcase")

    assert found is not None
    assert (found.get("classname"), found.get("name")) == ("f.C", "t[a::b]")


def test_ctrf_keeps_attempts_and_what_its_words_do_not_know() -> None:
    document = json.loads(ctrf.write(summarise([part({"f.py::a": "R", "f.py::b": "Q", "f.py::c": "-"})])))

    retried, quarantined, unheard = document["results"]["tests"]
    assert (retried["status"], retried["flaky"], [a["status"] for a in retried["retryAttempts"]]) == (
        "passed", True, ["failed", "passed"],
    )  # fmt: skip
    assert (quarantined["status"], quarantined["rawStatus"]) == ("other", "quarantined")
    assert unheard["status"] == "pending"


def test_the_schema_refuses_what_ctrf_does_not_know() -> None:
    schema = json.loads(ctrf.SCHEMA.read_text(encoding="utf-8"))
    document = ctrf.document(sample.demo())
    jsonschema.validate(document, schema)

    for broken in (
        document | {"more": 1},
        {key: value for key, value in document.items() if key != "reportFormat"},
        document | {"results": document["results"] | {"summary": {}}},
        document | {"results": document["results"] | {"tests": [{"name": "t", "status": "flaky", "duration": 1}]}},
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, schema)


def test_a_table_starts_no_calculation_in_a_spreadsheet() -> None:
    text = table.write(summarise([of(replace(result("f.py::t", "s"), reason='=cmd|" /C calc"!A0'))]))

    (row,) = csv.DictReader(io.StringIO(text))
    assert row["reason"].startswith("'=cmd")


def test_a_page_that_would_be_too_long_is_cut_with_a_note_and_stays_well_formed() -> None:
    falls = [result(f"f.py::t{n}", "F") for n in range(400)]
    long = [replace(fell, attempts=(replace(fell.attempts[0], detail="é\n" * 5000),)) for fell in falls]

    text = markdown.write(summarise([of(*long)]))

    assert len(text.encode()) <= markdown.MOST_BYTES < 1024 * 1024
    assert "The rest was cut" in text
    assert text.count("<details>") == text.count("</details>")


def test_a_page_lets_no_test_write_its_markup() -> None:
    text = markdown.write(summarise([part({"f.py::t[<img src=x>|`a`]": "F"})]))

    assert "<img" not in re.sub("`[^`]*`", "", text)
    assert "&lt;img src=x&gt;" in text


def test_the_terminal_is_short_however_much_went_wrong() -> None:
    shown = list(terminal.lines(sample.demo(1, sample.Size(2000, 40))))

    assert 3 <= len(shown) <= 25
    assert shown[0].text.startswith("RED: ")


def test_a_green_run_takes_few_lines() -> None:
    shown = list(terminal.lines(summarise([part("....")], record=".reports/x")))

    assert [line.text.split()[0] for line in shown] == ["ALL", "tests", "record"]


def test_a_gate_without_a_unit_has_no_space_before_its_comma() -> None:
    report = summarise([part("....")])
    gates = [
        replace(gate, value=2.0, limit=0.0, state=GateState.BROKEN)
        for gate in report.gates
        if gate.name in {"leaks", "flaky"}
    ]

    said = "\n".join(line.text for line in terminal.lines(replace(report, gates=tuple(gates))))

    assert "gate      leaks: 2, limit 0\n" in said
    assert re.search(r"^gate      .*: 2 %, limit 0$", said, re.MULTILINE)


def test_every_outcome_on_the_terminal_adds_up() -> None:
    said = terminal.counts(summarise([part(".RFEQsxX-")]))

    total, _, parts_ = said.partition(" = ")
    assert int(total) == sum(int(words.split()[0]) for words in parts_.split(" + ")) == len(Outcome)
