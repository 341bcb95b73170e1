"""What a user may answer, and what is refused before it can break anything."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cos_scaffold.answers import CHOICES, LONGEST, Answers, faults
from cos_scaffold.generate import libraries, refuse_bad
from tests.template.workbench import ANSWERS, ROOT

GOOD = Answers.of(ANSWERS)

REFUSED = {
    "empty": "",
    "blanks": "   ",
    "blank in front": " Order Desk",
    "blank behind": "Order Desk ",
    "double quotes": 'The "Desk"',
    "three quotes": 'a"""b',
    "backslash": "Order\\nDesk",
    "new line": "Order\nDesk",
    "carriage return": "Order\rDesk",
    "tab": "Order\tDesk",
    "null byte": "Order\0Desk",
    "escape sequence": "Order \x1b[31mDesk",
    "delete": "Order\x7fDesk",
    "expression": "{{ 7 * 7 }}",
    "statement": "Order {% raw %}",
    "comment": "Order {# gone #}",
    "substitution": "Order $(id)",
    "backticks": "Order `id`",
    "variable": "Order ${HOME}",
    "workflow expression": "Order ${{ secrets.TOKEN }}",
    "markup": "Order</script><script>",
    "link": "[Order](https://desk.example)",
    "table": "Order | Desk",
    "redirection": "Order > desk",
    "heading": "# Order",
    "list": "- Order",
    "front matter": "--- Order",
    "quotation": "> Order",
    "option": "--help",
    "YAML anchor": "&order desk",
    "YAML tag": "!!python/object desk",
    "TOML assignment": 'x"\nversion = "9',
    "line separator": "Order\u2028Desk",
    "paragraph separator": "Order\u2029Desk",
    "next line": "Order\x85Desk",
    "no-break space": "Order\u00a0Desk",
    "zero width": "Order\u200bDesk",
    "byte order mark": "\ufeffOrder",
    "turned around": "Order\u202eDesk",
    "emoji": "Order \U0001f680",
    "emoji of marks": "1\ufe0f\u20e3 Order",
    "half a character": "Order \ud83d",
    "private use": "Order \ue000",
    "long": "Order " * 40,
}
STAMPED = {
    "accents": "Zoë Müller-Østergård",
    "accents in two parts": "Jose\u0301 Nu\u0301n\u0303ez",
    "apostrophe": "Conan O'Brien",
    "printer's apostrophe": "Conan O\u2019Brien",
    "other letters": "注文デスク",
    "right to left": "دفتر الطلبات",
    "company": "Müller & Söhne (Bern), Ltd.",
    "digits": "42: the 2nd try",
    "hash": "C# and F# @ work",
    "slashes": "TCP/IP, 100% up - always_on!",
    "YAML word": "no",
    "YAML pair": "key: value # not a comment",
}
REFUSED_SLUGS = {
    "empty": "",
    "upper case": "Order-Desk",
    "blank": "order desk",
    "accent": "bestell-b\u00fcro",
    "digit in front": "3d-desk",
    "only digits": "123",
    "dash in front": "-order",
    "underscore in front": "_order",
    "dash behind": "order-",
    "dot": "order.desk",
    "two joints": "order--desk",
    "mixed joints": "order-_desk",
    "up": "..",
    "here": ".",
    "elsewhere": "../order",
    "root": "/tmp/order",
    "backslash": "order\\desk",
    "new line": "order\n",
    "substitution": "order$(id)",
    "expression": "{{order}}",
    "keyword": "class",
    "constant": "none",
    "standard library": "queue",
    "ours": "app",
    "ours, spelt with a dash": "test-framework",
    "tests": "tests",
    "YAML word": "yes",
    "Windows device": "com1",
    "library": "fastapi",
    "library, spelt with an underscore": "pydantic_settings",
    "long": "order-desk-" * 4 + "x",
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("field", ["project_name", "description", "author"])
def test_a_text_that_would_break_something_is_refused(field: str, text: str) -> None:
    answers = replace(GOOD, **{field: text})

    found = faults(answers)

    assert found
    assert all(fault.startswith(f"{field} {text[:60]!a}: ") for fault in found)
    assert all("For example: " in fault for fault in found)


@pytest.mark.parametrize("text", STAMPED.values(), ids=STAMPED)
@pytest.mark.parametrize("field", ["project_name", "description", "author"])
def test_a_text_that_people_are_called_by_is_taken(field: str, text: str) -> None:
    answers = replace(GOOD, **{field: text})

    assert faults(answers) == []


@pytest.mark.parametrize("field", ["project_name", "description", "author"])
def test_the_limit_of_a_text_is_part_of_it(field: str) -> None:
    longest = "x" * LONGEST[field]

    assert faults(replace(GOOD, **{field: longest})) == []
    assert len(faults(replace(GOOD, **{field: longest + "x"}))) == 1


@pytest.mark.parametrize("slug", REFUSED_SLUGS.values(), ids=REFUSED_SLUGS)
def test_a_slug_that_names_no_distribution_or_no_container_is_refused(slug: str) -> None:
    found = faults(replace(GOOD, project_slug=slug), libraries(ROOT))

    assert found
    assert all(fault.startswith(f"project_slug {slug[:60]!a}: ") for fault in found)
    assert all("For example: order-desk" in fault for fault in found)


@pytest.mark.parametrize("slug", ["order-desk", "order_desk", "o", "desk2", "order-desk-2_b", "my-class", "x" * 40])
def test_a_slug_of_plain_words_is_taken(slug: str) -> None:
    assert faults(replace(GOOD, project_slug=slug), libraries(ROOT)) == []


@pytest.mark.parametrize("field", CHOICES)
def test_a_choice_that_is_not_offered_is_refused(field: str) -> None:
    assert "it is one of" in faults(replace(GOOD, **{field: "another"}))[0]


def test_every_fault_is_told_at_once() -> None:
    answers = replace(GOOD, project_name="", author=" x", license="")

    assert [fault.partition(" ")[0] for fault in faults(answers)] == ["project_name", "author", "license"]


def test_bad_answers_end_the_run_and_good_ones_do_not() -> None:
    refuse_bad(ROOT, ANSWERS)

    with pytest.raises(SystemExit, match="author '': it is empty"):
        refuse_bad(ROOT, {**ANSWERS, "author": ""})


def test_libraries_are_those_of_the_lock(tmp_path: Path) -> None:
    (tmp_path / "requirements-dev.lock").write_text("# nox==9\nfastapi==1.0 \\\n    --hash=sha256:0\nredis==2.0\n")

    assert libraries(tmp_path) == ["fastapi", "redis"]
