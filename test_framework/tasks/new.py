"""Skeletons to begin from: a domain with its table, events, routes and tests."""

from __future__ import annotations

import keyword
import re
import secrets
from datetime import UTC, datetime
from pathlib import Path
from string import Template

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

from test_framework import CHECKOUT

SKELETON = Path(__file__).parent / "skeleton"
DOMAINS = "app/domains.py"
LIST = re.compile(r"(?ms)^DOMAINS: tuple\[str, \.\.\.\] = \(\n(.*?)^\)")
NAME = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*")
LONGEST = 30


@task(
    positional=["name"], help={"name": "the package, as orders", "item": "one of them, as order; guessed unless given"}
)
def domain(context: Context, name: str, item: str = "") -> None:
    """Write a domain: app/<name>, its migration, its tests, and its line in app/domains.py."""
    item = item or (name[:-1] if name.endswith("s") else f"{name}_item")
    for word in (name, item):
        if not NAME.fullmatch(word) or keyword.iskeyword(word) or len(word) > LONGEST:
            raise Exit(
                f"{word!r} is no name for a domain: write up to {LONGEST} of a-z, 0-9 and _, as in: invoke new.domain orders",
                1,
            )
    package = CHECKOUT / "app" / name
    if package.exists() or package.with_suffix(".py").exists():
        raise Exit(f"app/{name} is there already: choose another name, or delete it first", 1)
    listed = LIST.search(text := (CHECKOUT / DOMAINS).read_text(encoding="utf-8"))
    if listed is None:
        raise Exit(f"{DOMAINS} has no list DOMAINS to add {name} to: restore it as the template has it", 1)
    revision, before = secrets.token_hex(6), _newest_revision()
    words = {
        "package": name,
        "item": item,
        "Package": _title(name),
        "Item": _title(item),
        "revision": revision,
        "down_revision": "None" if before is None else f'"{before}"',
    }
    migration = f"app/{name}/migrations/{datetime.now(UTC):%Y%m%d}_{revision}_{name}.py"
    for source, target in (
        ("init", f"app/{name}/__init__.py"),
        ("domain", f"app/{name}/domain.py"),
        ("events", f"app/{name}/events.py"),
        ("routes", f"app/{name}/routes.py"),
        ("tables", f"app/{name}/tables.py"),
        ("migration", migration),
        ("test", f"tests/{name}/mission_critical/test_{name}.py"),
    ):
        _write(
            CHECKOUT / target, Template((SKELETON / f"{source}.py.txt").read_text(encoding="utf-8")).substitute(words)
        )
        print(f"wrote {target}")
    lines = f'{listed[1]}    "app.{name}",\n'
    (CHECKOUT / DOMAINS).write_text(text[: listed.start(1)] + lines + text[listed.end(1) :], encoding="utf-8")
    print(f"added app.{name} to {DOMAINS}; next: nox -s lightweight")


def _title(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))


def _newest_revision() -> str | None:
    from test_framework.project import project
    from test_framework.tasks.db import migrations_of_project

    try:
        return migrations_of_project().newest_own_revision()
    except project().refusals as error:
        raise Exit(str(error), 1) from None


def _write(file: Path, text: str) -> None:
    from test_framework.tasks.db import format_file

    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    format_file(file)
