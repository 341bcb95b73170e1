"""Passwords that somebody generated: the dev stack's stand in `.env.local`, a run's live in its folder and die with it."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path

from test_framework.services.drivers import drivers
from test_framework.services.stack import Stack, cache_root, own_directory

APP_PORT = "APP_PORT"


def password_names() -> list[str]:
    """Return the variables in compose/compose.yml that hold passwords."""
    return [driver.password_variable for driver in drivers().values() if driver.password_variable]


def passwords(stack: Stack) -> dict[str, str]:
    """Return this stack's passwords, and generate those that are missing."""
    return of_the_checkout(stack.checkout) if stack.lasting else of_a_run(stack)


def of_a_run(stack: Stack) -> dict[str, str]:
    file = own_directory(stack.directory) / "passwords.json"
    if not file.exists():
        draft = file.with_name(f".passwords.{os.getpid()}")
        write_privately(draft, json.dumps({name: secrets.token_hex(24) for name in password_names()}))
        try:
            os.link(draft, file)  # whoever is first wins, and nobody reads half a file
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    found: dict[str, str] = json.loads(file.read_text())
    return found


def of_the_checkout(checkout: Path) -> dict[str, str]:
    found = values_in(checkout / ".env.local")
    names = password_names()
    if not all(found.get(name) for name in names):
        from filelock import FileLock

        from test_framework.environment.env_local import make_local

        with FileLock(cache_root() / "env.lock"):
            make_local(checkout)
        found = values_in(checkout / ".env.local")
    return {name: found[name] for name in names}


def pinned_ports(stack: Stack) -> dict[str, str]:
    """Return the ports that a checkout asks for; a run never asks, since two runs would.

    The APP_PORT that `.env.local` is made with is where the service itself begins to look for a port, and pins nothing.
    """
    chosen = values_in(stack.checkout / ".env.local") if stack.lasting else {}
    if chosen.get(APP_PORT) == values_in(stack.checkout / ".env.example").get(APP_PORT):
        chosen.pop(APP_PORT, None)
    names = [*(driver.port_variable for driver in drivers().values()), APP_PORT]
    return {name: chosen.get(name, "") for name in names}


def values_in(env_file: Path) -> dict[str, str]:
    if not env_file.exists():
        return {}
    lines = (line.partition("=") for line in env_file.read_text(encoding="utf-8").splitlines())
    return {name.strip(): value.strip().strip("'\"") for name, _, value in lines if name.strip() and "#" not in name}


def write_privately(file: Path, text: str) -> None:
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as handle:
        handle.write(text)
