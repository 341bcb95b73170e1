"""A file that does not say what its author wrote is found; ruff finds what is no Python for the oldest version."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from test_framework import CHECKOUT
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


def refused_by_ruff(folder: Path, code: Mapping[str, str]) -> set[str]:
    """Let ruff, configured as in this repository, read each text as a file; return the names of those that are no Python."""
    for number, text in enumerate(code.values()):
        (folder / f"{number}.py").write_text(f"{text}\n", encoding="utf-8")
    command = [
        *(sys.executable, "-m", "ruff", "check", "--config", str(CHECKOUT / "pyproject.toml"), "--no-cache"),
        *("--output-format=json", str(folder)),
    ]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, timeout=25, check=False).stdout)
    names = dict(enumerate(code))
    return {names[int(Path(one["filename"]).stem)] for one in found if one["code"] == "invalid-syntax"}


def test_ruff_refuses_what_the_oldest_python_refuses(tmp_path: Path) -> None:
    assert refused_by_ruff(tmp_path, NOT_FOR_THE_OLDEST_PYTHON) == set(NOT_FOR_THE_OLDEST_PYTHON)


def test_ruff_takes_what_every_python_reads(tmp_path: Path) -> None:
    assert refused_by_ruff(tmp_path, READ_BY_EVERY_PYTHON) == set()


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
