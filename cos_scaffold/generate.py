"""Make a project: the live files, less what makes this a template, under the identity its user chose.

The hooks of cookiecutter and cruft and copier's task call these functions. They run two or three times for each update,
in temporary folders: so they fetch nothing, start nothing, initialise no repository, and the same answers give the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from cos_scaffold.answers import Answers, faults
from cos_scaffold.identity import with_identity, with_pythons
from cos_scaffold.live_files import project_files, within
from cos_scaffold.markers import strip

DEV_LOCK = "requirements-dev.lock"
EXECUTABLE = 0o111
WORKFLOWS = ".github/workflows/"
ATTRIBUTES = ".gitattributes"
VENDORED = b"commitstream/** linguist-vendored\ntest_framework/** linguist-vendored\n"
"""The engine and the kit come by updates, so a review and the statistics of a project leave them out."""
EXAMPLE = ("app/agents", "tests/agents")
"""The domain that shows what the engine does; a project may begin without it."""
DOMAINS, EXAMPLE_LINE = "app/domains.py", b'    "app.agents",\n'


def refuse_bad(root: Path, context: Mapping[str, object]) -> None:
    """Leave with everything that is wrong with the answers, if anything is."""
    if found := faults(Answers.of(context), libraries(root)):
        raise SystemExit("\n".join(("", "These answers would break the project later:", *(f"  - {x}" for x in found))))


def generate(root: Path, project: Path, context: Mapping[str, object], without: tuple[str, ...] = ()) -> None:
    """Fill the project, which has the overlay already, but for the files in the folders of `without`."""
    answers = Answers.of(context)
    for name in project_files(root):
        if within(name, without) or (name.startswith(".github/") and answers.ci_provider != "github"):
            continue
        if answers.example == "none" and within(name, EXAMPLE):
            continue
        content = (root / name).read_bytes()
        if name == DOMAINS and answers.example == "none":
            content = content.replace(EXAMPLE_LINE, b"")
        made = stamped(name, content, answers)
        if made or not content:
            write(project / name, made)
    licence = (root / "cos_scaffold" / "licences" / f"{answers.license}.txt").read_text(encoding="utf-8")
    write(project / "LICENSE", licence.replace("<holder>", answers.author).encode())
    if "_output_dir" in context:  # a person is watching; cruft's own runs don't say where they write
        print(f"\nNext, in {answers.project_slug}: . ./activate && nox -s dev")


def stamped(name: str, content: bytes, answers: Answers) -> bytes:
    """Return what the project gets of a live file; nothing, when all of it is template-only."""
    if name == ATTRIBUTES:
        content += VENDORED
    is_identity = name == "pyproject.toml" or name.startswith(WORKFLOWS)
    if b"template only" not in content and not is_identity:
        return content
    text = strip(content.decode(errors="surrogateescape"), name)  # a picture may hold the words by chance
    if name == "pyproject.toml":
        text = with_identity(text, answers)
    if name.startswith(WORKFLOWS):
        text = with_pythons(text, answers)
    return text.encode(errors="surrogateescape") if text.strip() else b""


def write(path: Path, content: bytes) -> None:
    """Write a file of the project; a script stays executable even out of a zip, which has forgotten that it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    if content.startswith(b"#!"):
        path.chmod(path.stat().st_mode | EXECUTABLE)


def libraries(root: Path) -> list[str]:
    """Name every library that a project installs: nothing can depend on another thing of its own name."""
    return re.findall(r"^([A-Za-z0-9._-]+)==", (root / DEV_LOCK).read_text(encoding="utf-8"), flags=re.MULTILINE)
