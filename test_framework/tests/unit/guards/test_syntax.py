"""A file that does not say what its author wrote is found, on the oldest Python as on the newest."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from test_framework.guards import syntax
from test_framework.guards.source import Source

Plant = Callable[[str, str | bytes], Source]

NOT_FOR_THE_OLDEST_PYTHON = {
    "the same quote inside": 'x = f"{d["a"]}"',
    "the same single quote inside": "x = f'{d['a']}'",
    "an f-string in an f-string": 'x = f"{f"{a}"}"',
    "a backslash inside": "x = f\"{'\\n'.join(a)}\"",
    "a comment inside": 'x = f"""{\n    a  # why\n}"""',
    "a line break inside": 'x = f"{\n    a}"',
    "a quote in the format": 'x = f"{a:>{w["k"]}}"',
    "three quotes inside three": 'x = f"""{"""a"""}"""',
    "type parameters": "def first[T](a: list[T]) -> T: ...",
    "a type statement": "type Name = str",
    "a plain error": "def f(:",
    "an open bracket": "x = (1,\n",
}

READ_BY_EVERY_PYTHON = {
    "the other quote inside": "x = f\"{d['a']}\"",
    "three quotes around": 'x = f"""{d["a"]}"""',
    "a line break within three quotes": 'x = f"""{\n    a\n}"""',
    "a backslash beside the braces": 'x = f"a\\n{a}\\n"',
    "two strings in a row": 'x = f"{a}" "b" + d["a"]',
    "a quote after it": 'x = g("a", f"{a}", "b")',
    "a nested width": 'x = f"{a:>{w}}" f"{a!r:>10}"',
    "doubled braces": 'x = f"{{{a}}}" + f"{{a}}"',
    "match and except*": "try:\n    pass\nexcept* OSError:\n    pass\nmatch a:\n    case 1: ...",
    "a raw one": 'x = rf"\\d{a}"',
}


def allow(plant: Plant, lowest: str) -> None:
    """Say in the planted project's pyproject.toml which Pythons it runs on."""
    plant("pyproject.toml", f'[project]\nrequires-python = ">={lowest}"\n')


@pytest.mark.parametrize("code", NOT_FOR_THE_OLDEST_PYTHON.values(), ids=NOT_FOR_THE_OLDEST_PYTHON)
def test_what_the_oldest_python_refuses_is_refused_on_all(plant: Plant, code: str) -> None:
    allow(plant, "3.11")

    findings = syntax.check([plant("app/a.py", code + "\n")])

    assert findings
    assert "is no Python 3.11" in findings[0].message


def test_what_a_newer_lowest_python_reads_passes(plant: Plant) -> None:
    allow(plant, "3.12")

    findings = syntax.check([plant("app/a.py", 'x = f"{d["a"]}"\ntype Name = str\n')])

    assert bool(findings) == (sys.version_info < (3, 12)), "only a parser that is older itself refuses it"


def test_what_a_newer_lowest_python_refuses_names_that_python(plant: Plant) -> None:
    allow(plant, "3.12")

    (finding,) = syntax.check([plant("app/a.py", "def f(:\n")])

    judge = min((3, 12), sys.version_info[:2])
    assert f"is no Python {judge[0]}.{judge[1]}: " in finding.message


@pytest.mark.parametrize("code", READ_BY_EVERY_PYTHON.values(), ids=READ_BY_EVERY_PYTHON)
def test_what_every_python_reads_passes(plant: Plant, code: str) -> None:
    assert syntax.check([plant("app/a.py", code + "\n")]) == []


DAMAGE = {
    "a byte order mark": (b"\xef\xbb\xbfx = 1\n", "byte order mark", 1),
    "a null byte": (b"x = 1\ny = '\0'\n", "null byte", 2),
    "our side of a merge": (b"x = 1\n<<<<<<< HEAD\n", "merge marker", 2),
    "their side of a merge": (b"# a\n\n>>>>>>> theirs\n", "merge marker", 3),
    "another encoding": ("x = 1\n# café\n".encode("latin-1"), "not UTF-8", 2),
}


@pytest.mark.parametrize(("content", "what", "line"), DAMAGE.values(), ids=DAMAGE)
def test_damage_is_named_with_its_line(plant: Plant, content: bytes, what: str, line: int) -> None:
    findings = syntax.check([plant("README.md", content)])

    assert any(what in finding.message and finding.line == line for finding in findings)


def test_headings_underlined_with_equals_signs_are_no_merge(plant: Plant) -> None:
    assert syntax.check([plant("README.md", "Title\n=======\n\n<<< see >>>\n")]) == []


@pytest.mark.parametrize("encoding", ["cp1252", "mac_roman"])
@pytest.mark.parametrize("meant", ["—", "’", "é", "ü", "→", "…", "✓"])  # noqa: RUF001
def test_text_saved_in_the_wrong_encoding_is_found(plant: Plant, encoding: str, meant: str) -> None:
    wrong = "".join(syntax.MISREAD_AS[encoding][byte] for byte in meant.encode())
    source = plant("docs/a.md", f"fine\nit is {wrong} here\n")

    (finding,) = syntax.check([source])

    assert finding.line == 2
    assert repr(meant) in finding.message


def test_correct_text_in_many_languages_passes(plant: Plant) -> None:
    text = "It’s “fine” — naïve café… CAFÉ… ÉTÉ», Größe, „Ärger“, ‚Ähre‘, São, Ångström, 你好, привет, √2 ±1, ✓ ✗ – → ≤ 😀\n"  # noqa: RUF001

    assert syntax.check([plant("docs/a.md", text)]) == []


BROKEN_DATA = {
    "compose.yml": ("services:\n  redis: {image: redis\n", "YAML"),
    "settings.toml": ("[a]\nb = \n", "TOML"),
    "answers.json": ('{"a": 1,}\n', "JSON"),
}


@pytest.mark.parametrize("path", BROKEN_DATA)
def test_data_that_does_not_parse_is_refused(plant: Plant, path: str) -> None:
    content, language = BROKEN_DATA[path]

    (finding,) = syntax.check([plant(path, content)])

    assert f"no {language}" in finding.message


def test_compose_may_bring_its_own_tags_and_several_documents(plant: Plant) -> None:
    assert syntax.check([plant("compose/compose.yml", "ports: !reset []\n---\nx: !override {a: 1}\n")]) == []


def test_a_file_with_placeholders_in_its_path_is_read_as_text_only(plant: Plant) -> None:
    assert syntax.check([plant("{{placeholder}}/a.json", "{{ placeholder.slug }}\n")]) == []


@pytest.mark.parametrize(
    ("path", "expected"), [("a.py", True), (".env.example", True), ("a.png", False), ("LICENSE", False)]
)
def test_only_text_is_concerned(plant: Plant, path: str, expected: bool) -> None:
    assert syntax.concerns(plant(path, "").pure_path) is expected
