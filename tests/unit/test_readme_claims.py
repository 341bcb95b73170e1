# >>> template only
"""Every sentence and command of the README stands in docs/claims.md, with a test that proves it."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from app.settings import ROOT

README = ROOT / "README.md"
CLAIMS = ROOT / "docs/claims.md"
NO_CLAIM = "no claim: "
LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
SEE_ALSO = re.compile(r"→\s*\[.*$", re.DOTALL)  # ends a paragraph
FENCE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
END_OF_SENTENCE = re.compile(r"(?<=[.!?:])(?:\*\*)?\s+(?=[^a-z])")


def plain(text: str) -> str:
    """A text without the marks of Markdown, its whitespace collapsed."""
    return " ".join(re.sub(r"[*`]", "", LINK.sub(r"\1", text)).split())


def statements(document: str) -> list[str]:
    """The sentences, table rows and commands of a document, in their order."""
    found = [line.strip()[2:] for line in document.splitlines() if line.lstrip().startswith("$ ")]
    prose = re.sub(r"^ {4}.*$", "", FENCE.sub("", document), flags=re.MULTILINE)
    for paragraph in re.split(r"\n\s*\n", prose):
        if paragraph.lstrip().startswith(("#", "!")):
            continue
        if paragraph.lstrip().startswith("|"):
            rows = paragraph.strip().splitlines()[2:]
            found += [" | ".join(cell.strip() for cell in row.strip("| ").split("|")) for row in rows]
        else:
            found += END_OF_SENTENCE.split(" ".join(SEE_ALSO.sub("", paragraph).split()))
    return [text for text in map(plain, found) if text]


def claims(document: str) -> dict[str, list[str]]:
    """Each claim of docs/claims.md with what stands below it: tests, or why it is no claim."""
    listed: dict[str, list[str]] = {}
    for line in document.splitlines():
        if line.startswith("- "):
            below = listed.setdefault(plain(line[2:]), [])
        elif line.startswith("  - "):
            below.append(line[4:].strip().strip("`"))
    return listed


@cache
def functions(path: Path) -> frozenset[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(
        node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ) | {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def faults(readme: str, document: str) -> list[str]:
    """What the README says without a claim, claims that it no longer makes, and tests that are not there."""
    said, listed = statements(readme), claims(document)
    found = [
        f"README.md says this, and docs/claims.md names no test for it: {text}" for text in said if text not in listed
    ]
    found += [
        f"docs/claims.md lists this, and README.md does not say it: {text}" for text in listed if text not in said
    ]
    for text, below in listed.items():
        if not below:
            found.append(f"docs/claims.md names no test below: {text}")
        for proof in below:
            if proof.startswith(NO_CLAIM):
                continue
            path, _, name = proof.partition("::")
            if not (ROOT / path).is_file() or name not in functions(ROOT / path):
                found.append(f"docs/claims.md names {proof}, which does not exist")
    return found


def test_every_statement_of_the_readme_names_a_test_that_exists() -> None:
    found = faults(README.read_text(encoding="utf-8"), CLAIMS.read_text(encoding="utf-8"))

    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("readme", "document", "fault"),
    [
        ("It flies. It swims.", "- It swims.\n  - no claim: planted\n", "names no test for it: It flies."),
        ("    $ nox -s fly", "", "names no test for it: nox -s fly"),
        ("| a | b |\n|---|---|\n| `fly` | it **flies** |", "", "names no test for it: fly | it flies"),
        ("It flies.", "- It flies.\n", "names no test below: It flies."),
        ("", "- It flies.\n  - no claim: planted\n", "README.md does not say it: It flies."),
        ("It flies.", "- It flies.\n  - `tests/unit/test_readme_claims.py::test_of_nothing`\n", "does not exist"),
        ("It flies.", "- It flies.\n  - `tests/unit/nowhere.py::test_it`\n", "does not exist"),
    ],
)
def test_a_planted_fault_of_the_list_is_named(readme: str, document: str, fault: str) -> None:
    assert [text for text in faults(readme, document) if fault in text]


def test_a_list_that_fits_its_readme_has_no_fault() -> None:
    this = "tests/unit/test_readme_claims.py::test_a_list_that_fits_its_readme_has_no_fault"

    assert faults("# Birds\n\nIt [flies](x).\n\n```\ncode\n```\n", f"- It flies.\n  - `{this}`\n") == []


# <<< template only
