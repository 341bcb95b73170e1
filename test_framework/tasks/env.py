"""The settings and the .env files they come from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from test_framework import CHECKOUT

if TYPE_CHECKING:
    from pydantic_settings import BaseSettings


@task
def init(context: Context) -> None:
    """Make .env.local with new secrets; keep what is set."""
    from test_framework.environment.env_local import make_local

    for sentence in make_local(CHECKOUT) or ["nothing to do: .env.local is complete"]:
        print(sentence)


@task
def check(context: Context) -> None:
    """Check every key and value in the .env files."""
    from test_framework.environment.env_files import LOCAL, TRACKED, check_tree

    findings = check_tree(CHECKOUT)
    for finding in findings:
        print(finding)
    if findings:
        raise Exit(f"{len(findings)} lines to correct; then run: invoke env.check", 1)
    files = [name for name in (*TRACKED, LOCAL) if (CHECKOUT / name).exists()]
    print(f"every key is known and every value valid in {', '.join(files)}")


@task
def show(context: Context) -> None:
    """Show the settings that count, and who set them."""
    from test_framework.project import project

    try:
        settings = project().load_settings(CHECKOUT / ".env.local")
    except project().refusals as error:
        raise Exit(str(error), 1) from None
    table = Table("setting", "value", "from", box=None, pad_edge=False)
    for row in effective(settings, CHECKOUT, dict(os.environ)):
        table.add_row(*(escape(cell) for cell in row))
    Console().print(table)


def effective(settings: BaseSettings, root: Path, environment: dict[str, str]) -> list[tuple[str, str, str]]:
    """List every setting: its name, its value as it may be shown, and which source won."""
    from pydantic import SecretStr

    from test_framework.environment.env_files import LOCAL, masked, read_entries
    from test_framework.settings import variable

    local = root / LOCAL
    in_file = {entry.key.upper() for entry in read_entries(local)} if local.exists() else set()
    in_environment = {name.upper() for name in environment}
    rows = []
    for field in type(settings).model_fields:
        name, value = variable(type(settings), field), getattr(settings, field)
        plain = value.get_secret_value() if isinstance(value, SecretStr) else value
        text = ",".join(plain) if isinstance(plain, tuple) else str(plain)
        source = "the environment" if name in in_environment else LOCAL if name in in_file else "default"
        rows.append((name, masked(name, text), source))
    return rows
