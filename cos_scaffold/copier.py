"""Make a project for copier, which calls this as its only task.

Copier renders a placeholder and nothing else, so that bad answers are refused before the first file is written, whether
or not the folder was there before. It runs this three times for an update: for the old version, for the new one, and for the new
one in the project's own folder, whose changes it then merges in again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment

from cos_scaffold.generate import generate, refuse_bad, write
from cos_scaffold.live_files import OVERLAY, live_files

PLACEHOLDER = ".copier-placeholder"
MARKDOWN = Environment(keep_trailing_newline=True, autoescape=False)  # noqa: S701 — Markdown, of answers that were checked
OWN = ("app", "tests")
"""The folders that belong to the project once it is made; pyproject.toml says the same to cruft."""


def stamp(root: Path, project: Path, request: Mapping[str, Any]) -> None:
    """Fill the project's folder, or all of it but the project's own folders when it is updated."""
    answers: Mapping[str, Any] = request["answers"]
    (project / PLACEHOLDER).unlink()
    refuse_bad(root, answers)
    if request["operation"] == "copy" and not request["overwrite"]:
        refuse_occupied(project)
    for name in live_files(root):
        if name.startswith(f"{OVERLAY}/"):
            text = (root / name).read_text(encoding="utf-8")
            made = MARKDOWN.from_string(text).render(cookiecutter=answers)
            write(project / name.removeprefix(f"{OVERLAY}/"), made.encode())
    generate(root, project, answers, without=OWN if request["operation"] == "update" else ())
    write(project / request["answers_file"], remembered(answers).encode())


def refuse_occupied(project: Path) -> None:
    """Exit when the folder holds anything but a repository: cookiecutter refuses it as well."""
    if held := sorted(path.name for path in project.iterdir() if path.name != ".git"):
        raise SystemExit(
            f"\n{project} is not empty: it holds {', '.join(held[:5])}. A new project would overwrite files of the same "
            "names. Name another folder, or allow it by `copier copy --overwrite`"
        )


def remembered(answers: Mapping[str, Any]) -> str:
    """Write copier's answers file; JSON strings are YAML too."""
    lines = (f"{name}: {json.dumps(value, ensure_ascii=False)}\n" for name, value in sorted(answers.items()))
    return "# Written by copier, which needs it for the next update. Don't edit it.\n" + "".join(lines)
