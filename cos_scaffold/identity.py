"""Write a project's identity into its pyproject.toml and workflows, line by line, so that every other line stays as it was.

A TOML library would do, but the hooks run wherever cookiecutter is installed and may import nothing it doesn't bring.
"""

from __future__ import annotations

import json
import re

from cos_scaffold.answers import Answers

TABLE = re.compile(r"\[+\s*([^\[\]]+?)\s*\]+\s*(?:#.*)?")
WHOLE_VALUE = r"""(?:"(?:[^"\\]|\\.)*"|\[.*\])"""

CRUFT = """
# These are yours: `cruft update` leaves them alone, as `copier update` does.
[tool.cruft]
skip = ["app", "tests"]
"""


def with_identity(pyproject: str, answers: Answers) -> str:
    """Return the pyproject.toml of the answered project, made from the live one."""
    licence = "LicenseRef-Proprietary" if answers.license == "Proprietary" else answers.license
    python = answers.lowest_python
    values = {
        ("project", "name"): quoted(answers.project_slug),
        ("project", "description"): quoted(answers.description),
        ("project", "version"): quoted("0.1.0"),
        ("project", "requires-python"): quoted(f">={python}"),
        ("project", "license"): quoted(licence),
        ("project", "authors"): f"[{{ name = {quoted(answers.author)} }}]",
        ("tool.ruff", "target-version"): quoted(f"py{python.replace('.', '')}"),
        ("tool.mypy", "python_version"): quoted(python),
    }
    for (table, key), value in values.items():
        pyproject = replaced(pyproject, table, key, value)
    return pyproject.rstrip("\n") + "\n" + CRUFT


def with_pythons(workflow: str, answers: Answers) -> str:
    """Return a workflow whose matrix begins with the project's lowest Python."""

    def raised(found: re.Match[str]) -> str:
        versions = (max(version, answers.lowest_python, key=_numbers) for version in re.findall(r"\d+\.\d+", found[2]))
        return f"{found[1]}[{', '.join(map(quoted, dict.fromkeys(versions)))}]"

    return re.sub(r"(?m)^(\s*python: )\[([^\]]*)\]", raised, workflow)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def quoted(text: str) -> str:
    """Write a text as a TOML string."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def replaced(toml: str, table: str, key: str, value: str) -> str:
    """Replace one single-line value of a table; what stands behind it, a comment perhaps, stays."""
    assignment = re.compile(rf"(\s*{re.escape(key)}\s*=\s*){WHOLE_VALUE}(\s*(?:#.*)?)")
    lines = toml.split("\n")
    here = ""
    for number, line in enumerate(lines):
        if header := TABLE.fullmatch(line):
            here = header[1]
        elif here == table and (found := assignment.fullmatch(line)):
            lines[number] = f"{found[1]}{value}{found[2]}"
            return "\n".join(lines)
    raise LookupError(f"pyproject.toml has no one-line value for {key} in [{table}]: cos_scaffold/identity.py sets it")
